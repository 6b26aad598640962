package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/quash-auth/quash/internal/natstest"
)

// TestWarmStart_killedWithItsBroker: broker and node are killed together; the node comes back alone, serves from its snapshot, and
// lets nothing in that was revoked. Once the snapshot is too old it answers 503.
func TestWarmStart_killedWithItsBroker(t *testing.T) {
	t.Parallel()
	broker := natstest.StartProcess(t, t.TempDir(), 0)
	pub := publisher(t, broker.URL())
	api := newForeignAPI(t, broker.URL())
	api.process.kill()
	file := filepath.Join(t.TempDir(), "snapshot")
	api.flags = []string{"--snapshot", file, "--max-staleness", "20s"}
	api.start()
	revoked, living := api.token("a"), api.token("b")
	api.expect(http.StatusOK, "/secure", revoked)
	revoke(t, pub, "a")
	api.expect(http.StatusUnauthorized, "/secure", revoked)
	// The next mark comes after it: the file grows by no more than marks now.
	grown := func(after int64) int64 {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		var size int64
		if err := poll(ctx, func() error {
			info, err := os.Stat(file)
			if err != nil {
				return err
			}
			if size = info.Size(); size <= after {
				return os.ErrDeadlineExceeded
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return size
	}
	grown(grown(grown(0)))

	broker.Kill()
	api.process.kill()
	thief := startThief("http://"+api.address+"/secure", []string{revoked})
	api.start()
	api.expect(http.StatusOK, "/secure", living)
	api.expect(http.StatusOK, "/readyz", "")
	api.expect(http.StatusUnauthorized, "/secure", revoked)
	api.expect(http.StatusServiceUnavailable, "/secure", living) // once the file is older than the bound
	_ = thief.task.stop()                                        // it has no error of its own
	if thief.accepted > 0 || thief.refused == 0 {
		t.Fatalf("of %d calls with a revoked token %d were accepted, %d refused", thief.calls.Load(), thief.accepted, thief.refused)
	}
	broker.Restart(t)
	api.expect(http.StatusOK, "/secure", living)
	api.expect(http.StatusUnauthorized, "/secure", revoked)
}
