package verifier_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
)

// calledBy reports whether a function of this name is among the nearest callers.
func calledBy(name string) bool {
	pcs := make([]uintptr, 8)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, name) {
			return true
		}
		if !more {
			return false
		}
	}
}

// TestMarksDuringACompaction: a compaction of a large file takes seconds. A node that is killed meanwhile must not find its last mark as old.
func TestMarksDuringACompaction(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "snapshot")
	begun, release := make(chan struct{}), make(chan struct{})
	halt := sync.OnceFunc(func() { close(begun); <-release })
	let := sync.OnceFunc(func() { close(release) })
	r := newRig(t, func(c *verifier.Config, _ *memFeed) {
		c.Snapshot = file
		now := c.Now
		c.Now = func() time.Time {
			if calledBy("(*Verifier).alive") {
				halt()
			}
			return now()
		}
	})
	t.Cleanup(let)
	size := func() int64 {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	for n := 0; size() < 5<<20; n++ {
		r.revoke(t, events.Revocation{Scope: events.Session, Key: fmt.Sprintf("%0500d", n)})
	}
	<-begun
	for range 2 {
		before := size()
		r.clock.Advance(time.Second)
		eventually(t, "a mark beside the compaction", func() bool { return size() > before })
	}
	let()
	eventually(t, "the compaction", func() bool { _, err := os.Stat(file + ".next"); return os.IsNotExist(err) })
	r.stop()
	warm := restart(t, file, r.clock, &logBuffer{}, nil)
	if err := warm.Ready(); err != nil {
		t.Errorf("the next node: %v", err)
	}
}
