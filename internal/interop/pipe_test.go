package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// pipe is a script that stays: one line in, one line out.
type pipe struct {
	mu  sync.Mutex // one question at a time
	in  *json.Encoder
	out *bufio.Scanner
}

func startPipe(t testing.TB, command func(testing.TB) (string, []string)) *pipe {
	t.Helper()
	program, args := command(t)
	cmd := exec.Command(program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
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
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(args[len(args)-1]), stderr.String())
		}
	})
	p := &pipe{in: json.NewEncoder(in), out: bufio.NewScanner(out)}
	p.out.Buffer(nil, 1<<20)
	return p
}

// ask writes a line of JSON and reads one.
func (p *pipe) ask(question, answer any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.in.Encode(question); err != nil {
		return err
	}
	if !p.out.Scan() {
		return errors.Join(errors.New("the script has ended"), p.out.Err())
	}
	return json.Unmarshal(p.out.Bytes(), answer)
}

// startFollower starts a script that judges tokens as they come.
func startFollower(t testing.TB, command func(testing.TB) (string, []string), q question) verifies {
	t.Helper()
	p := startPipe(t, command)
	if err := p.ask(q, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	return func(_ context.Context, raw string) (string, error) {
		var v verdict
		if err := p.ask(raw, &v); err != nil {
			return "", err
		}
		if v.Error != "" {
			return "", errors.New(v.Error)
		}
		return v.Sub, nil
	}
}
