package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestConfirm(t *testing.T) {
	t.Parallel()
	key, other := "web", "Web"
	for _, tt := range []struct {
		what     string
		wide     bool
		terminal bool
		typed    string
		given    *string
		want     string // of the error; empty: none
	}{
		{"wide, no terminal", true, false, "web\n", nil, "--confirm: is missing: x concerns more than one user, so say it twice: --confirm web"},
		{"wide, given", true, false, "", &key, ""},
		{"wide, given wrong", true, true, "web\n", &other, "nothing was done"},
		{"wide, typed", true, true, "web\n", nil, ""},
		{"wide, typed by somebody on Windows", true, true, "web\r\n", nil, ""},
		{"wide, typed wrong", true, true, "y\n", nil, "nothing was done"},
		{"wide, nothing typed", true, true, "", nil, "nothing was done"},
		{"narrow, no terminal", false, false, "", nil, ""},
		{"narrow, yes", false, true, "y\n", nil, ""},
		{"narrow, YES", false, true, "YES\n", nil, ""},
		{"narrow, no", false, true, "n\n", nil, "nothing was done"},
		{"narrow, return", false, true, "\n", nil, "nothing was done"},
		{"narrow, end of input", false, true, "", nil, "nothing was done"},
		{"narrow, given", false, true, "", &key, ""},
		{"narrow, given wrong", false, false, "", &other, "nothing was done"},
	} {
		var asked bytes.Buffer
		p := &program{stderr: &asked, stdin: strings.NewReader(tt.typed), terminal: func() bool { return tt.terminal }}
		var err error
		if tt.wide {
			err = p.confirmWide("x", key, tt.given)
		} else {
			err = p.confirmNarrow("End this?", key, tt.given)
		}
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.what, err, tt.want)
		}
		if usage := (*usageError)(nil); err != nil && errors.As(err, &usage) != (tt.given != nil || !tt.terminal) {
			t.Errorf("%s: got %v, want a usage error exactly if nobody was asked", tt.what, err)
		}
		if asked.Len() > 0 != (tt.terminal && tt.given == nil) {
			t.Errorf("%s: asked %q", tt.what, asked.String())
		}
	}
}
