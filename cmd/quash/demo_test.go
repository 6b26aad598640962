package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quash-auth/quash/internal/leaks"
)

// TestDemo_leavesNothing runs the demo in this process: everything that it starts,
// it waits for, and its directory is gone. Not parallel: it counts goroutines.
func TestDemo_leavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	var stdout, stderr bytes.Buffer
	if code := execute([]string{"quash", "demo", "--nodes", "2", "--max-staleness", "8s", "--json"}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d\n%s\n%s", code, stdout.String(), stderr.String())
	}
	var report demoReport
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	if !report.OK || report.Nodes != 2 || len(report.Steps) != len(demoSteps()) || report.Propagation == nil || len(report.Propagation.NodesMS) != 2 {
		t.Errorf("the report: %s", stdout.String())
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := leaks.Find(before); err != nil {
		t.Error(err)
	}
}

// TestDemo_differs: the first step that differs from its claim ends the demo, and
// its error says which.
func TestDemo_differs(t *testing.T) {
	t.Parallel()
	d, ran := &demo{}, 0
	give := func(err error) step {
		return step{"a step", "a claim", func(context.Context, *demo) (found, error) {
			ran++
			return found{"something", time.Millisecond}, err
		}}
	}
	wrong := errors.New("api-1 answered 200 instead of 401")
	var out bytes.Buffer
	err := d.perform(t.Context(), []step{give(nil), give(wrong), give(nil)}, &demoTable{out: &out})
	if !errors.Is(err, wrong) || ran != 2 {
		t.Errorf("ended with %v after %d steps", err, ran)
	}
	if lines := strings.Split(out.String(), "\n"); !strings.HasPrefix(lines[0], "ok ") || !strings.HasPrefix(lines[1], "FAIL ") {
		t.Errorf("the table:\n%s", out.String())
	}
	if len(d.report.Steps) != 2 || !d.report.Steps[0].OK || d.report.Steps[1].OK {
		t.Errorf("the report: %+v", d.report.Steps)
	}
}
