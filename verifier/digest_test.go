package verifier_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/verifier"
)

// TestNodesAgreeOnTheDigest: one node saw every statement live, the other reads what is stored, and the fleet's answers say
// that they hold the same.
func TestNodesAgreeOnTheDigest(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	nc := server.Connect(t)
	ensure(t, nc, events.Layout{})
	p := publisher(t, nc)
	early, _ := node(t, server.URL(), nil)
	eventually(t, "the first node to be ready", func() bool { return early.Ready() == nil })
	until := time.Now().Add(30 * time.Minute)
	var batch []events.Revocation
	for i := range 500 {
		r := events.Revocation{Issuer: issA, Scope: events.Scope(1 + i%5), Key: fmt.Sprint("k", i%100)}
		if r.Scope == events.Subject {
			r.Gen = uint64(i)
		}
		r.Until = until.Add(time.Duration(i%7) * time.Minute)
		batch = append(batch, r)
	}
	publishAll(t, p, batch)
	late, _ := node(t, server.URL(), nil)
	eventually(t, "two equal digests of the same sequence", func() bool {
		a, b := settled(early), settled(late)
		if a.Disagree(b) || b.Disagree(a) {
			t.Fatalf("%+v and %+v", a, b)
		}
		return a.Synced && b.Synced && a.Sequence == b.Sequence && a.Sequence >= 500 && a.Digest == b.Digest && a.Digest != 0 &&
			a.DigestFrom.Equal(b.DigestFrom)
	})
}

// settled is a report that nothing was applied during.
func settled(v *verifier.Verifier) events.Report {
	for {
		a, b := v.Report(), v.Report()
		if a.Sequence == b.Sequence && a.Digest == b.Digest && a.DigestFrom.Equal(b.DigestFrom) {
			return a
		}
	}
}
