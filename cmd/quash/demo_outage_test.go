package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"
)

// slow holds the first request until the node that it goes to has become too old.
type slow struct {
	http.RoundTripper
	once sync.Once
	held bool
}

func (s *slow) RoundTrip(req *http.Request) (*http.Response, error) {
	s.once.Do(func() {
		for {
			resp, err := s.RoundTripper.RoundTrip(req.Clone(req.Context()))
			if err != nil {
				return
			}
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusServiceUnavailable {
				s.held = true
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	return s.RoundTripper.RoundTrip(req)
}

// TestDemo_tooSlowForTheOutage: a machine that needs longer to ask the nodes than they may decide from memory has proven nothing, and the demo
// tries again; nodes that answer anything else than "not now" fail it.
func TestDemo_tooSlowForTheOutage(t *testing.T) {
	t.Parallel()
	w := newDemoWorld(t.TempDir(), 2, 5*time.Second, slog.New(slog.DiscardHandler))
	defer w.close()
	d := &demo{world: w, waits: &waits{most: patience}}
	wire := &slow{}
	ready := step{"hold one back", "", func(ctx context.Context, d *demo) (found, error) {
		d.revoked = []string{d.other.Access + "x"} // refused for another reason, which does not matter here
		d.latest = d.first
		d.client.http.Timeout, wire.RoundTripper = patience, d.client.http.Transport
		d.client.http.Transport = wire
		_, err := d.stopNATS(ctx)
		return found{}, err
	}}
	var out bytes.Buffer
	if err := d.perform(t.Context(), []step{{"start", "", stepStart}, {"log in", "", stepLogin}, {"call", "", stepCall}, ready}, &demoTable{out: &out}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	defer d.client.close()
	if !wire.held {
		t.Error("no node became too old: this test shows nothing")
	}
	late := fmt.Errorf("%w: api-1 answered 503", errNotNow)
	for _, err := range []error{nil, errors.New("x"), errors.Join(late, errors.New("api-2 answered 200 instead of 401"))} {
		if notNow(err) {
			t.Errorf("%v counts as too late", err)
		}
	}
	if !notNow(errors.Join(late, late)) {
		t.Error("503 everywhere does not count as too late")
	}
}
