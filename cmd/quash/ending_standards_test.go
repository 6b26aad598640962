package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/quash-auth/quash/events"
)

// TestM3_RevokeOneSession: two sessions of one user; of the one that is revoked everything ends, on every node and replica,
// and the other lives.
func TestM3_RevokeOneSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withReplicas(2), withNode(), withNode())
	gone, kept := w.login("ann"), w.on(1).login("ann")
	older := gone
	gone = w.refresh(gone)
	if r := w.on(1).json("POST", "/admin/revocations", w.admin(), `{"scope":"session","key":"`+gone.Sid+`"}`); r.status != 200 {
		t.Fatal(r)
	}
	for k := range 2 {
		w.wants(k, gone.Access, 401)
		w.wants(k, older.Access, 401)
		if r := w.call(k, kept.Access); r.status != 200 {
			t.Errorf("the other session at node %d: got %s, want 200", k, r)
		}
		if r := w.on(k).tryRefresh(gone.Refresh); r.status != 400 || r.code() != "invalid_grant" {
			t.Errorf("refresh at replica %d: got %s, want 400 invalid_grant", k, r)
		}
	}
	kept = w.refresh(kept)
	w.wants(0, kept.Access, 200)
}

// TestM5_RefreshRacesRevoke: of everything that a client refreshed while its session was being revoked, nothing lives.
func TestM5_RefreshRacesRevoke(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withReplicas(2))
	sub := claimOf(t, w.login("ann").Access, "sub")
	for round := range 12 {
		s := w.login("ann")
		scope, key := "session", s.Sid
		if round%2 == 1 {
			scope, key = "subject", sub
		}
		all := []string{s.Access}
		begun, over := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(over)
			for n := 0; ; n++ {
				r := w.on(n % 2).tryRefresh(s.Refresh)
				if n == round%4 {
					close(begun)
				}
				if r.status != 200 {
					if r.code() != "invalid_grant" {
						t.Errorf("round %d: refresh got %s, want 400 invalid_grant", round, r)
					}
					if n < round%4 {
						close(begun)
					}
					return
				}
				s = r.session()
				all = append(all, s.Access)
			}
		}()
		<-begun
		if r := w.on((round/2)%2).json("POST", "/admin/revocations", w.admin(), `{"scope":"`+scope+`","key":"`+key+`"}`); r.status != 200 {
			t.Fatalf("revoke: %s", r)
		}
		<-over
		for n, access := range all {
			w.wants(0, access, 401)
			if t.Failed() {
				t.Fatalf("round %d: token %d of %d", round, n, len(all))
			}
		}
		if r := w.tryRefresh(s.Refresh); r.status != 400 || r.code() != "invalid_grant" {
			t.Errorf("round %d: the last refresh token: got %s, want 400 invalid_grant", round, r)
		}
	}
}

// TestM18_AuditTrail: who ended what, when and why is on the stream and in quash watch, and one txn leads from the call to the
// issuer's log and to every node's. What is nobody's business there is not in it; that no secret is in any log or
// message is looked at when the world closes.
func TestM18_AuditTrail(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withReplicas(2), withNode(), withNode())
	cmd := quashCommand("watch", "--json", "--all")
	cmd.Env = append(cmd.Environ(), "QUASH_NATS="+w.nats)
	watch, err := startProcess(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.kill()
	root := claimOf(t, w.admin(), "sub")
	s := w.login("ann")
	sub := claimOf(t, s.Access, "sub")
	txns := map[string]watched{
		"case-session": {Scope: "session", Key: s.Sid, By: "admin", Actor: root, Reason: "stolen"},
		"case-subject": {Scope: "subject", Key: sub, By: "admin", Actor: root, Reason: "fraud"},
		"case-client":  {Scope: "client", Key: "web", By: "admin", Actor: root, Reason: "leak"},
		"case-token":   {Scope: "token", Key: claimOf(t, s.Access, "jti"), By: "admin", Actor: root, Reason: "pasted into a chat"},
	}
	for txn, want := range txns {
		body, err := json.Marshal(map[string]string{"scope": want.Scope, "key": want.Key, "reason": want.Reason, "txn": txn, "confirm": want.Key})
		if err != nil {
			t.Fatal(err)
		}
		r := w.json("POST", "/admin/revocations", w.admin(), string(body))
		if r.status != 200 || r.text("txn") != txn {
			t.Fatalf("%s: got %s %s, want 200 and the txn", txn, r, r.raw)
		}
		want.ID, want.Sequence = r.text("id"), uint64(r.seconds("sequence"))
		txns[txn] = want
	}
	random := w.json("POST", "/admin/revocations", w.admin(), `{"scope":"session","key":"AAAAAAAAAAAAAAAAAAAAAA"}`).text("txn")
	if random == "" {
		t.Error("without a txn: got none, want a random one")
	}
	for txn, want := range txns {
		if err := watch.waitLine(`"id":"` + want.ID + `"`); err != nil {
			t.Fatal(err)
		}
		lines, _ := watch.snapshot()
		for _, line := range lines {
			var got watched
			if !strings.Contains(line, want.ID) {
				continue
			}
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatal(err)
			}
			if got.By != want.By || got.Actor != want.Actor || got.Reason != want.Reason || got.Txn != txn || got.Scope != want.Scope || got.Key != want.Key ||
				got.Sequence != want.Sequence || got.Time.IsZero() {
				t.Errorf("%s: quash watch says %s, want %+v", txn, line, want)
			}
		}
		// The call's txn is in the log of the replica that was asked, and of every node.
		if err := w.issuers[0].process.waitLine(`msg=revoked .*id=` + want.ID + ` .*reason=.* txn=` + txn + `$`); err != nil {
			t.Error(err)
		}
		for _, n := range w.nodes {
			if err := n.process.waitLine(fmt.Sprintf(`revocation in force.* id=%s sequence=%d scope=%s txn=%s$`, want.ID, want.Sequence, want.Scope, txn)); err != nil {
				t.Error(err)
			}
			for what, text := range map[string]string{"reason": "reason=" + want.Reason, "actor": root, "subject": sub} {
				if strings.Contains(n.output(), text) {
					t.Errorf("a node's log holds the %s, which is for the audit trail only", what)
				}
			}
		}
	}
	onStream := map[string]events.Revocation{}
	for _, x := range w.statements() {
		onStream[x.Txn] = x
		if x.By == "" || x.Reason == "" && x.Txn != random || x.At.IsZero() {
			t.Errorf("got %+v on the stream, want by, reason and time", x)
		}
	}
	for txn := range txns {
		if _, ok := onStream[txn]; !ok {
			t.Errorf("no statement with txn %s on the stream", txn)
		}
	}
}
