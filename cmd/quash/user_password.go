package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// passwordFlags say where a new password comes from. Never from the command line: other users of the machine can read it.
type passwordFlags struct {
	PasswordStdin bool `env:"-" help:"Read the password from standard input, up to the first line end. Else QUASH_NEW_PASSWORD is used, or you are asked on a terminal."`
}

const newPasswordVariable = "QUASH_NEW_PASSWORD"

func (f *passwordFlags) password(p *program) (string, error) {
	if f.PasswordStdin {
		line, err := bufio.NewReader(io.LimitReader(p.stdin, 4096)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		return checkPassword("--password-stdin", strings.TrimRight(line, "\r\n"))
	}
	if text, ok := os.LookupEnv(newPasswordVariable); ok {
		return checkPassword(newPasswordVariable, text)
	}
	file, ok := p.stdin.(*os.File)
	if !ok || !p.terminal() {
		return "", usagef("--password-stdin", "is missing: there is no terminal to ask for the password, so pipe it in, or set %s", newPasswordVariable)
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(p.stderr, prompt)
		text, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(p.stderr)
		if err != nil {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		return string(text), nil
	}
	first, err := ask("New password: ")
	if err != nil {
		return "", err
	}
	second, err := ask("The same again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passwords differ, nothing was done: try again")
	}
	return checkPassword("the password", first)
}

func checkPassword(where, text string) (string, error) {
	if text == "" || len(text) > 1024 {
		return "", usagef(where, "a password has 1 to 1024 bytes")
	}
	return text, nil
}
