package main

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/internal/ports"
)

// TestReceipt_frozenNode: a node that is stopped in its tracks is named by a publisher that heard of it a moment before, and by
// the commands that are told of it; one that wakes up in time is waited for.
func TestReceipt_frozenNode(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	pub, conn := publisher(t, server.URL()), server.Connect(t)
	first := newForeignAPI(t, server.URL())
	frozen := &foreignAPI{t: t, idp: first.idp, jwks: first.jwks, nats: first.nats, flags: []string{"--node", "frozen"}}
	var err error
	if frozen.address, err = ports.Address(); err != nil {
		t.Fatal(err)
	}
	frozen.start()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	statement := events.Revocation{Issuer: foreignIssuer, Scope: events.Session, Key: "s"}
	receipt := func(wait time.Duration) events.Receipt {
		t.Helper()
		r, err := events.RevokeAndWait(ctx, conn, pub, statement, wait)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, api := range []*foreignAPI{first, frozen} {
		api.expect(200, "/readyz", "")
	}
	for len(receipt(patience).Answered) < 2 {
		if ctx.Err() != nil {
			t.Fatal("the nodes were never counted")
		}
	}

	natstest.Freeze(t, frozen.process.cmd.Process)
	r := receipt(2 * time.Second)
	at := slices.IndexFunc(r.Silent, func(s events.Silent) bool { return s.Node == "frozen" })
	if at < 0 || r.Complete() || !strings.Contains(r.String(), "no confirmation from frozen, which denies by ") {
		t.Fatalf("a frozen node that was heard of: got %v", r)
	}
	if by := r.Stored.Add(r.Silent[at].MaxStaleness); r.Silent[at].MaxStaleness == 0 || !r.Silent[at].DeniesBy.Equal(by) {
		t.Errorf("it denies by %v, want %v", r.Silent[at].DeniesBy, by)
	}
	for _, c := range []struct{ args, want []string }{
		{[]string{"revoke", "session", "s", "--iss", foreignIssuer, "--wait", "1s", "--expect", "frozen"},
			[]string{"no confirmation from frozen, which was not heard of", "not confirmed within 1s by frozen"}},
		{[]string{"status", "--expect", "frozen"}, []string{"no answer from frozen: "}},
	} {
		for { // again, if the other node was too busy to answer, and is named as well
			out, err := quashCommand(append(c.args, "--nats", server.URL())...).CombinedOutput()
			if err != nil && !slices.ContainsFunc(c.want, func(w string) bool { return !strings.Contains(string(out), w) }) {
				break
			}
			if err == nil || ctx.Err() != nil {
				t.Fatalf("quash %v: got %v, %s, want a failure that says %q", c.args, err, out, c.want)
			}
		}
	}

	// It wakes up when the census of those who answer at once is long over.
	wake := time.AfterFunc(time.Second, func() {
		if err := frozen.process.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	})
	defer wake.Stop()
	if r := receipt(patience); !slices.ContainsFunc(r.Answered, func(a events.Answer) bool { return a.Node == "frozen" }) || !r.Complete() {
		t.Errorf("a node that wakes up in time: got %v", r)
	}
}
