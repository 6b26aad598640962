package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"testing"
)

// pipe is a script that stays: one token a line in, one verdict a line out.
type pipe struct {
	mu  sync.Mutex // one question at a time
	in  io.Writer
	out *bufio.Scanner
}

// startPipe runs a script of scripts with the question's tokens left out.
func startPipe(t testing.TB, command func(testing.TB) (string, []string), q question) verifies {
	t.Helper()
	program, args := command(t)
	cmd := exec.Command(program, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // its end of input is its end
		_ = cmd.Wait()
	})
	p := &pipe{in: in, out: bufio.NewScanner(out)}
	if err := json.NewEncoder(in).Encode(q); err != nil {
		t.Fatal(err)
	}
	return p.verify
}

func (p *pipe) verify(_ context.Context, raw string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := fmt.Fprintln(p.in, raw); err != nil {
		return "", err
	}
	if !p.out.Scan() {
		return "", errors.Join(errors.New("the script has ended"), p.out.Err())
	}
	var v verdict
	if err := json.Unmarshal(p.out.Bytes(), &v); err != nil {
		return "", err
	}
	if v.Error != "" {
		return "", errors.New(v.Error)
	}
	return v.Sub, nil
}
