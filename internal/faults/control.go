package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/quash-auth/quash/verifier"
)

// vitals is what a node's process holds.
type vitals struct {
	Goroutines int
	Files      int
	Heap       uint64 // bytes that live
	Entries    int    // statements in its denylist
	Unreadable int    // events that it could not read and the stream may still hold
}

// held is what this process holds. Looking at the heap takes a collection.
func held(collect bool) vitals {
	now := vitals{Goroutines: runtime.NumGoroutine()}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		now.Files = len(files)
	}
	if collect {
		runtime.GC()
		runtime.GC() // what the first one finalised
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	now.Heap = memory.HeapAlloc
	return now
}

// controls is the node's side of the control socket.
func controls(wall *clock, v *verifier.Verifier) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /clock", func(w http.ResponseWriter, r *http.Request) {
		off, err := time.ParseDuration(r.FormValue("off"))
		rate, bad := strconv.ParseFloat(r.FormValue("rate"), 64)
		if err != nil || bad != nil {
			http.Error(w, "off is a duration, rate a number", http.StatusBadRequest)
			return
		}
		wall.set(off, rate)
	})
	mux.HandleFunc("GET /clock", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(wall.now()) // the driver has gone: nobody is left to tell
	})
	mux.HandleFunc("GET /vitals", func(w http.ResponseWriter, _ *http.Request) {
		now, st := held(true), v.Status()
		now.Entries, now.Unreadable = st.Denylist.Entries, int(st.Feed.Undecodable+st.Feed.Foreign)
		_ = json.NewEncoder(w).Encode(now) // the driver has gone: nobody is left to tell
	})
	return mux
}

// setClock moves a node's wall clock to an offset, and lets it drift from there.
func (n *node) setClock(ctx context.Context, off time.Duration, rate float64) error {
	q := url.Values{"off": {off.String()}, "rate": {strconv.FormatFloat(rate, 'g', -1, 64)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+n.Control+"/clock?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return fmt.Errorf("set the clock of %s: %w", n.Name, err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("set the clock of %s: %s", n.Name, resp.Status)
	}
	return nil
}

// wrong wants a node's clock to be off as it was told to be, or to have drifted a good piece.
func (n *node) wrong(ctx context.Context, off time.Duration, rate float64) (string, error) {
	asked := time.Now()
	var says time.Time
	if err := n.get(ctx, "http://"+n.Control+"/clock", &says); err != nil {
		return "", err
	}
	is := says.Sub(asked.Round(0))
	if rate == 0 && (is-off).Abs() > time.Minute || rate > 0 && is < 300*time.Millisecond || rate < 0 && is > -300*time.Millisecond {
		return "", fmt.Errorf("the clock of %s is off by %v", n.Name, is)
	}
	return fmt.Sprintf("clock off by %+.1f s", is.Seconds()), nil
}

// vitals asks a node what its process holds.
func (n *node) vitals(ctx context.Context) (v vitals, err error) {
	err = n.get(ctx, "http://"+n.Control+"/vitals", &v)
	return v, err
}

// get reads JSON, whatever the status.
func (n *node) get(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	return json.NewDecoder(resp.Body).Decode(into)
}
