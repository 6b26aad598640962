package main

import (
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
)

// writeJSON writes v as one line. What could move the cursor or hide text is escaped: encoding/json leaves C1 and direction marks
// as they are, and the line may end on a terminal.
func writeJSON(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	line := make([]byte, 0, len(text)+1)
	for _, r := range string(text) {
		if unicode.IsPrint(r) {
			line = append(line, string(r)...)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			line = fmt.Appendf(line, "\\u%04x", unit)
		}
	}
	_, err = w.Write(append(line, '\n'))
	return err
}
