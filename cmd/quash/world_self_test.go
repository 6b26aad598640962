package main

import (
	"testing"

	"github.com/quash-auth/quash/internal/natstest"
)

// TestWorld: both shapes come up, serve, are looked through and stop; and a world
// in which something leaks fails.
func TestWorld(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]worldOption{
		"apart": {withNATS(natstest.Start(t).URL()), withReplicas(2), withIssuer("--access-life", "5m"), withUser("eve"),
			withNode(), withNode("--audience", "other")},
		"up": {withUp(2)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := &quiet{TB: t}
			w := newWorld(t, options...)
			s := w.login("ann")
			w.wants(0, s.Access, 200)
			if name == "apart" {
				w.wants(1, s.Access, 401)
				if s = w.on(1).refresh(s); s.seconds("expires_in") != 300 {
					t.Errorf("expires_in: got %d, want that of --access-life", s.seconds("expires_in"))
				}
				w.setPassword("eve", w.password("eve")) // as after a change
				w.on(1).login("eve")
				w.nodes[0].kill()
				w.nodes[0].start()
				w.nodes[0].ready()
			}
			if r := w.formAs("nobody", "no-such-secret", "/token", "grant_type", "refresh_token"); r.status != 401 || r.code() != "invalid_client" {
				t.Errorf("an unknown client: %s", r)
			}
			if r := w.json("POST", "/admin/revocations", w.admin(), `{"scope":"session","key":"`+s.Sid+`"}`); r.status != 200 {
				t.Fatalf("revoke: %s", r)
			}
			w.wants(0, s.Access, 401)
			if all := w.statements(); len(all) != 1 || all[0].Key != s.Sid {
				t.Errorf("statements: %v", all)
			}
			if out, err := w.quash("stream", "check"); err != nil {
				t.Errorf("quash stream check: %v\n%s", err, out)
			}
			leak := &world{t: q, conn: w.conn, secrets: map[string]secret{}}
			leak.secret("a session's ID", s.Sid) // as if it were one: it is in the log and in the streams
			leak.scanStreams()
			if len(q.errors) == 0 {
				t.Error("a secret in the streams is not found")
			}
			w.eventually("the session's end is logged", func() bool {
				return len(leak.scan(w.issuers[0].output()+w.issuers[len(w.issuers)-1].output())) > 0
			})
		})
	}
}
