package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/quash-auth/quash/internal/natstest"
)

// serves waits until the node is ready and judges both tokens, and is false if that did not happen until its view was too old.
func (f *foreignAPI) serves(until time.Time, living, revoked string) bool {
	f.t.Helper()
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	url := "http://" + f.address
	return poll(ctx, func() error {
		return errors.Join(askStatus(ctx, url+"/secure", living, http.StatusOK), askStatus(ctx, url+"/readyz", "", http.StatusOK),
			askStatus(ctx, url+"/secure", revoked, http.StatusUnauthorized))
	}) == nil
}

// TestWarmStart_killedWithItsBroker: broker and node are killed together; the node comes back alone, serves from its snapshot, and
// lets nothing in that was revoked. Once the snapshot is too old it answers 503.
func TestWarmStart_killedWithItsBroker(t *testing.T) {
	t.Parallel()
	broker := natstest.StartProcess(t, t.TempDir(), 0)
	pub := publisher(t, broker.URL())
	api := newForeignAPI(t, broker.URL())
	api.process.kill()
	file := filepath.Join(t.TempDir(), "snapshot")
	const bound = 20 * time.Second
	api.flags = []string{"--snapshot", file, "--max-staleness", bound.String()}
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
	var thief *thief
	for try := 1; ; try++ {
		grown(grown(grown(0)))
		killed := time.Now()
		broker.Kill()
		api.process.kill()
		thief = startThief("http://"+api.address+"/secure", []string{revoked})
		api.start()
		if api.serves(killed.Add(bound), living, revoked) {
			break
		}
		_ = thief.task.stop() // it has no error of its own
		if try == 5 || thief.accepted > 0 {
			t.Fatalf("%v after the end of both it does not serve, and has accepted %d revoked tokens", time.Since(killed), thief.accepted)
		}
		broker.Restart(t) // this machine was too slow for a view of that age: once more
		api.expect(http.StatusOK, "/secure", living)
	}
	api.expect(http.StatusServiceUnavailable, "/secure", living) // once the file is older than the bound
	_ = thief.task.stop()                                        // it has no error of its own
	if thief.accepted > 0 || thief.refused == 0 {
		t.Fatalf("of %d calls with a revoked token %d were accepted, %d refused", thief.calls.Load(), thief.accepted, thief.refused)
	}
	broker.Restart(t)
	api.expect(http.StatusOK, "/secure", living)
	api.expect(http.StatusUnauthorized, "/secure", revoked)
}
