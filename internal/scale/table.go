package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"time"
)

// table is Markdown.
type table struct {
	head []string
	rows [][]string
}

func (t table) String() string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(t.head)
	b.WriteString(strings.Repeat("|---", len(t.head)) + "|\n")
	for _, r := range t.rows {
		line(r)
	}
	return b.String()
}

func us(d time.Duration) string { return strconv.FormatFloat(float64(d.Nanoseconds())/1e3, 'f', 1, 64) }
func kib(n int64) string        { return strconv.FormatFloat(float64(n)/1024, 'f', 1, 64) }

// appendJSON adds one line to a file; an empty name is none.
func appendJSON(name string, v any) error {
	if name == "" {
		return nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if bad := f.Close(); err == nil {
		err = bad
	}
	return err
}

// secs writes durations in seconds.
func secs(ds ...time.Duration) string {
	var all []string
	for _, d := range ds {
		all = append(all, strconv.FormatFloat(d.Seconds(), 'f', 2, 64))
	}
	return strings.Join(all, " / ")
}

// group writes a number with a comma after every three digits.
func group(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
