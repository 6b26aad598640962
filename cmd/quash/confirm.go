package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

var errNotConfirmed = errors.New("not confirmed: nothing was done")

// ask puts a question on standard error and reads one line.
func (p *program) ask(question string) (string, error) {
	fmt.Fprintf(p.stderr, "%s ", question)
	line, err := bufio.NewReader(io.LimitReader(p.stdin, 4096)).ReadString('\n')
	if err != nil && line == "" {
		return "", errNotConfirmed
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// confirmWide makes sure that what ends more than one user's sessions is meant: key must have been given a second time with
// --confirm, or is asked for on a terminal.
func (p *program) confirmWide(what, key string, given *string) error {
	switch {
	case given != nil && *given == key:
		return nil
	case given != nil:
		return usagef("--confirm", "is %s, and this concerns %s: nothing was done", printable(*given), printable(key))
	case !p.terminal():
		return usagef("--confirm", "is missing: %s concerns more than one user, so say it twice: --confirm %s", what, shellQuote(key))
	}
	line, err := p.ask(fmt.Sprintf("%s concerns more than one user. Type %s to go on:", what, printable(key)))
	if err == nil && line != key {
		err = errNotConfirmed
	}
	return err
}

// confirmNarrow asks only on a terminal.
func (p *program) confirmNarrow(question string, key string, given *string) error {
	if given != nil && *given != key {
		return usagef("--confirm", "is %s, and this concerns %s: nothing was done", printable(*given), printable(key))
	}
	if given != nil || !p.terminal() {
		return nil
	}
	line, err := p.ask(question + " [y/N]")
	if answer := strings.ToLower(strings.TrimSpace(line)); err == nil && answer != "y" && answer != "yes" {
		err = errNotConfirmed
	}
	return err
}
