package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
)

// child is a process of this program in another role. It is asked one thing at a
// time, by a line of JSON on its standard input, and ends when that is closed: with
// its parent, however that ends.
type child struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	mu   sync.Mutex
}

type question struct {
	Do  string
	Arg json.RawMessage `json:",omitempty"`
}

type answer struct {
	Err    string          `json:",omitempty"`
	Result json.RawMessage `json:",omitempty"`
}

// spawn starts a child. nice is by how much it yields to the others, 0 to 19.
func spawn(name, role string, nice int) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	args := []string{self, "child", role}
	if nice > 0 {
		args = append([]string{"nice", "-n", fmt.Sprint(nice)}, args...)
	}
	c := &child{name: name, cmd: exec.Command(args[0], args[1:]...)}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReaderSize(out, 1<<16)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return c, nil
}

// call asks for something and waits for the answer. into may be nil.
func (c *child) call(do string, arg, into any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	text, err := json.Marshal(arg)
	if err != nil {
		return err
	}
	if text, err = json.Marshal(question{Do: do, Arg: text}); err != nil {
		return err
	}
	if _, err := c.in.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("%s has ended: %w", c.name, err)
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s has ended at %s: %w", c.name, do, err)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return fmt.Errorf("%s answered %s with something else: %w", c.name, do, err)
	}
	if a.Err != "" {
		return fmt.Errorf("%s: %s: %s", c.name, do, a.Err)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(a.Result, into)
}

// kill is SIGKILL.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended
	_ = c.in.Close()
	_ = c.cmd.Wait() // says only that it was killed
}

// all asks several children the same, at once.
func all[T any](children []*child, do string, arg any) ([]T, error) {
	results := make([]T, len(children))
	errs := make([]error, len(children))
	var wg sync.WaitGroup
	for n, c := range children {
		wg.Go(func() { errs[n] = c.call(do, arg, &results[n]) })
	}
	wg.Wait()
	return results, errors.Join(errs...)
}

func endAll(children []*child) error {
	var errs []error
	for _, c := range children {
		_ = c.in.Close() // all end at once
	}
	for _, c := range children {
		if err := c.cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.name, err))
		}
	}
	return errors.Join(errs...)
}

// handlers is what a child can be asked for.
type handlers map[string]func(json.RawMessage) (any, error)

// handle makes a handler of a function with a typed argument.
func handle[A, R any](f func(A) (R, error)) func(json.RawMessage) (any, error) {
	return func(text json.RawMessage) (any, error) {
		var arg A
		if err := json.Unmarshal(text, &arg); err != nil {
			return nil, fmt.Errorf("read the argument: %w", err)
		}
		return f(arg)
	}
}

// serve answers until in ends.
func (h handlers) serve(in io.Reader, out io.Writer) error {
	h["vitals"] = handle(readVitals)
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<16), 1<<26)
	to := json.NewEncoder(out)
	for lines.Scan() {
		var q question
		var a answer
		err := json.Unmarshal(lines.Bytes(), &q)
		if err == nil {
			err = h.answer(q, &a)
		}
		if err != nil {
			a.Err = err.Error()
		}
		if err := to.Encode(a); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (h handlers) answer(q question, a *answer) error {
	do, ok := h[q.Do]
	if !ok {
		return errors.New("nobody here knows how to do that")
	}
	result, err := do(q.Arg)
	if err != nil {
		return err
	}
	a.Result, err = json.Marshal(result)
	return err
}
