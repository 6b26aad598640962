package issuer_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// TestLedgerGivesBackOddStatements: nodes enforce them, whatever a publisher may write.
func TestLedgerGivesBackOddStatements(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.Ledger = filepath.Join(t.TempDir(), "ledger") })
	for what, o := range oddTexts {
		r.odd("session", `"key":"`+what+`"`, o.by, o.actor)
	}
	r.odd("subject", fmt.Sprintf(`"key":"gen","before":%d,"gen":%d`, time.Now().Unix(), uint64(1)<<60), `,"by":"admin"`, "x")
	r.odd("key", fmt.Sprintf(`"key":"far","until":%d`, time.Now().Add(10*365*24*time.Hour).Unix()), `,"by":"admin"`, "x")
	want := r.statements()
	for _, s := range want {
		until(t, "it is applied", func() bool { return issuer.Holds(r.Issuer, s) })
	}
	wipe(t, r, true)
	until(t, "the stream has its statements again", func() bool {
		got := map[string]events.Revocation{}
		for _, s := range r.statements() {
			got[s.Key] = s
		}
		for _, w := range want {
			if g, ok := got[w.Key]; !ok || g.Scope != w.Scope || g.Before != w.Before || g.At != w.At || g.Gen != min(w.Gen, events.MaxGen) {
				return false
			}
		}
		return true
	})
	until(t, "it is said to be whole", func() bool { return issuer.Compared(r.Issuer) })
}

// TestLedgerLeavesOutWhatNobodyMayPublish, and gives back the rest.
func TestLedgerLeavesOutWhatNobodyMayPublish(t *testing.T) {
	t.Parallel()
	l := &logs{}
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.Logger = l.logger() })
	lost := make([]events.Revocation, 600)
	for n := range lost {
		lost[n] = events.Revocation{ID: events.NewID(), Issuer: iss, Scope: events.Session, Key: fmt.Sprint("s", n), Until: time.Now().Add(time.Hour), By: "policy"}
	}
	bad := lost[300].ID
	lost[300].Key = ""
	if err := issuer.PublishLost(within(t), r.Issuer, lost); err != nil {
		t.Error(err)
	}
	if got := len(r.statements()); got != len(lost)-1 {
		t.Errorf("got %d statements back, want all but one of %d", got, len(lost))
	}
	if !strings.Contains(l.String(), bad) {
		t.Errorf("the log does not name the statement:\n%s", l)
	}
}
