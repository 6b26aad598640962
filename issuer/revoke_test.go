package issuer_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

var errCrash = errors.New("crashed here")

func ok(a answer) error {
	if a.status != 200 {
		return fmt.Errorf("got %d %s %v, want 200", a.status, a.raw, a.networkError)
	}
	return nil
}

// TestM19_CrashBetweenTheSteps: after a crash anywhere, what was answered 200 holds, and what was begun is finished by a
// replica that starts later.
func TestM19_CrashBetweenTheSteps(t *testing.T) {
	t.Parallel()
	nats := server(t)
	l := &logs{}
	// The one that crashed can repair nothing: what fails goes on failing until it is stopped. No second begins while something is
	// revoked: it would be said once more, if a repair was faster.
	c := &stopped{at: time.Now().Truncate(time.Second)}
	r := start(t, nats.URL(), func(cfg *issuer.Config) {
		cfg.RepairInterval, cfg.Logger, cfg.Now, cfg.MaxStaleness = time.Second, l.logger(), c.now, time.Hour
	})
	defer func() {
		if t.Failed() {
			t.Log(l)
		}
	}()
	u := r.user("ann")
	for _, scope := range []events.Scope{events.Session, events.Subject, events.Client, events.Issuer, events.Key} {
		for _, step := range []string{"ending", "publish", "published"} {
			c.set(c.now().Add(time.Second)) // since the last cutoff
			s := r.login("ann")
			key := map[events.Scope]string{events.Session: s.Sid, events.Subject: u.Sub, events.Client: "quash", events.Issuer: "",
				events.Key: issuer.KeyID(r.Issuer, s.Access)}[scope]
			before := r.published(scope, key)
			var crashed atomic.Bool
			issuer.SetFault(r.Issuer, func(at string) error {
				if at == step || crashed.Load() {
					crashed.Store(true)
					return errCrash
				}
				return nil
			})
			if _, err := r.Revoke(within(t), events.Revocation{Scope: scope, Key: key}); !errors.Is(err, errCrash) {
				t.Fatalf("%v at %s: got %v, want the crash", scope, step, err)
			}
			r.stop() // whatever was in memory is gone
			r = startWith(t, nats.URL(), r.cfg)
			name := fmt.Sprintf("%v at %s", scope, step)
			until(t, name+": repaired", func() bool {
				n, err := issuer.Pointers(t.Context(), r.Issuer)
				return err == nil && n == 0
			})
			if n := r.published(scope, key); n != before+1 {
				t.Errorf("%s: got %d new statements, want 1", name, n-before)
			}
			until(t, name+": refused", func() bool { return issuer.Verify(r.Issuer, s.Access) != nil })
			if scope != events.Key {
				r.want(name+": refresh", r.refresh(s.Refresh), 400, "invalid_grant")
			}
			if scope == events.Session {
				if state, err := issuer.SessionState(within(t), r.Issuer, s.Sid); err != nil || state != "ended" {
					t.Errorf("%s: got state %q %v, want ended", name, state, err)
				}
			}
			c.set(c.now().Add(time.Second))
			r.alive(name+": a login after it", r.login("ann").Access)
		}
	}
}

// TestM19_RepairOfARunningIssuer: not only a restart finds what was left behind.
func TestM19_RepairOfARunningIssuer(t *testing.T) {
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.RepairInterval = 20 * time.Millisecond })
	r.user("ann")
	s := r.login("ann")
	first := true
	crashed := make(chan struct{})
	issuer.SetFault(r.Issuer, func(at string) error {
		if at == "ending" && first {
			first = false
			close(crashed)
			return errCrash
		}
		return nil
	})
	if _, err := r.Revoke(within(t), events.Revocation{Scope: events.Session, Key: s.Sid}); !errors.Is(err, errCrash) {
		t.Fatalf("got %v, want the crash", err)
	}
	<-crashed
	until(t, "the statement is published", func() bool { return r.published(events.Session, s.Sid) == 1 })
	r.dead("the access token", s.Access)
}

// TestForeignStatements: what anybody publishes ends the refresh side here, for good, not only until the statement is forgotten.
func TestForeignStatements(t *testing.T) {
	t.Parallel()
	srv := server(t)
	r := start(t, srv.URL())
	u := r.user("ann")
	nc := srv.Connect(t)
	p, err := events.NewPublisher(events.PublisherConfig{Conn: nc})
	if err != nil {
		t.Fatal(err)
	}
	for _, scope := range []events.Scope{events.Session, events.Subject, events.Client, events.Issuer} {
		s := r.login("ann")
		st := events.Revocation{Issuer: iss, Scope: scope}
		st.Key = map[events.Scope]string{events.Session: s.Sid, events.Subject: u.Sub, events.Client: "quash", events.Issuer: ""}[scope]
		publishForSeconds(t, nc, p, st)
		until(t, fmt.Sprintf("%v: refused", scope), func() bool { return issuer.Verify(r.Issuer, s.Access) != nil })
		r.want(fmt.Sprintf("%v: refresh", scope), r.refresh(s.Refresh), 400, "invalid_grant")
		if scope == events.Session {
			until(t, "the record says ended", func() bool {
				state, err := issuer.SessionState(t.Context(), r.Issuer, s.Sid)
				return err == nil && state == "ended"
			})
		}
		// Another replica whose stream has forgotten the statement still knows.
		until(t, "the statement has left the stream", func() bool { return r.published(scope, st.Key) == 0 })
		fresh := startWith(t, srv.URL(), r.cfg)
		fresh.want(fmt.Sprintf("%v: refresh after the statement was forgotten", scope), fresh.refresh(s.Refresh), 400, "invalid_grant")
		fresh.stop()
		r.alive("a login after it", r.login("ann").Access)
	}
	// A generation from elsewhere must not lock the user out.
	if _, err := p.Publish(within(t), events.Revocation{Issuer: iss, Scope: events.Subject, Key: u.Sub, Gen: 1000}); err != nil {
		t.Fatal(err)
	}
	until(t, "a login gets a generation above the foreign one", func() bool {
		return claimNumber(t, r.login("ann").Access, "gen") >= 1000
	})
	// Another issuer's statements are none of ours.
	s := r.login("ann")
	ack, err := p.Publish(within(t), events.Revocation{Issuer: "https://other.example", Scope: events.Session, Key: s.Sid})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the other issuer's statement was seen", func() bool { return r.Report().Sequence >= ack.Sequence })
	if a := r.refresh(s.Refresh); a.status != 200 {
		t.Errorf("refresh after another issuer's statement: got %d %s, want 200", a.status, a.raw)
	}
}

// publishForSeconds has the stream forget a statement soon, and not who has heard of it.
func publishForSeconds(t *testing.T, nc *nats.Conn, p *events.Publisher, r events.Revocation) {
	t.Helper()
	r, err := p.Complete(within(t), r)
	if err != nil {
		t.Fatal(err)
	}
	m := nats.NewMsg(events.SubjectFor(r.Scope))
	if m.Data, err = events.Encode(r); err != nil {
		t.Fatal(err)
	}
	m.Header.Set("Nats-TTL", "2")
	if answer, err := nc.RequestMsg(m, deadline); err != nil || strings.Contains(string(answer.Data), "error") {
		t.Fatalf("publish: got %s %v", answer.Data, err)
	}
}

// TestRevokeAllIsOneStatement, whatever the number of sessions.
func TestRevokeAllIsOneStatement(t *testing.T) {
	r := start(t, server(t).URL())
	u := r.user("ann")
	var all []answer
	for range 20 {
		all = append(all, r.login("ann"))
	}
	before := len(r.statements())
	ack, err := r.Revoke(within(t), events.Revocation{Scope: events.Subject, Key: u.Sub, By: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.statements()[before:]; len(got) != 1 || got[0].ID != ack.ID || got[0].Gen < 2 || got[0].Before.IsZero() {
		t.Errorf("got %+v, want one statement with gen 2 and before", got)
	}
	for _, s := range all {
		r.dead("a session's token", s.Access)
		r.want("a session's refresh", r.refresh(s.Refresh), 400, "invalid_grant")
	}
}

func TestRevokeRefusesNonsense(t *testing.T) {
	r := start(t, server(t).URL())
	before := len(r.statements())
	for name, st := range map[string]events.Revocation{
		"other issuer":   {Issuer: "https://other.example", Scope: events.Session, Key: "x"},
		"no scope":       {Key: "x"},
		"no key":         {Scope: events.Session},
		"key and issuer": {Scope: events.Issuer, Key: "x"},
		"past":           {Scope: events.Session, Key: "x", Until: time.Unix(1, 0)},
		"too far":        {Scope: events.Session, Key: "x", Until: time.Now().Add(1e6 * time.Hour)},
		"long key":       {Scope: events.Subject, Key: strings.Repeat("x", 513)},
		"huge gen":       {Scope: events.Subject, Key: "x", Gen: 1 << 60},
		"gen of session": {Scope: events.Session, Key: "x", Gen: 1},
	} {
		if _, err := r.Revoke(within(t), st); !errors.Is(err, events.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	if n := len(r.statements()); n != before {
		t.Errorf("got %d statements, want none", n-before)
	}
	// Keys of any text are fine.
	for _, key := range []string{"a.b>*", "ключ", strings.Repeat("é", 256), " ", "\x00"} {
		if _, err := r.Revoke(within(t), events.Revocation{Scope: events.Subject, Key: key}); err != nil {
			t.Errorf("subject %q: got %v, want nil", key, err)
		}
	}
}

// TestM18_NothingSecretInLogs scans what a whole run logs.
func TestM18_NothingSecretInLogs(t *testing.T) {
	l := &logs{}
	secret := issuer.NewSecret()
	nats := server(t)
	r := start(t, nats.URL(), func(c *issuer.Config) {
		c.Logger = l.logger()
		c.Clients = []issuer.Client{{ID: "app", Public: true}, {ID: "web", SecretHash: issuer.HashSecret(secret)}}
	})
	r.user("root", issuer.ScopeAdmin)
	u := r.user("ann")
	admin, s := r.login("root"), r.login("ann")
	next := r.refresh(s.Refresh)
	r.refresh(s.Refresh) // reuse
	r.tryLogin("ann", "a wrong password")
	third := r.login("ann")
	r.form("/revoke", "token", third.Access)
	r.form("/revoke", "token", third.Refresh)
	r.form("/token", "grant_type", "refresh_token", "refresh_token", third.Refresh, "client_id", "web", "client_secret", secret)
	r.bearer("/logout", third.Access, "")
	r.revoke(admin.Access, "subject", u.Sub)
	fourth := r.login("ann")
	nats.Stop()
	r.refresh(fourth.Refresh)
	r.bearer("/logout", fourth.Access, "")
	text := l.String()
	if !strings.Contains(text, `"revoked"`) || !strings.Contains(text, `"login"`) {
		t.Fatalf("the log has no revocations and logins: the test proves nothing:\n%s", text)
	}
	for _, a := range []answer{admin, s, next, third, fourth} {
		for _, x := range []string{a.Access, a.Refresh, a.Access[strings.LastIndex(a.Access, ".")+1:], a.Refresh[len(a.Sid)+1:]} {
			if strings.Contains(text, x) {
				t.Errorf("the log contains a token or a part of it: %s", x)
			}
		}
	}
	for _, x := range []string{password, "a wrong password", secret, "argon2id", "PRIVATE KEY"} {
		if strings.Contains(text, x) {
			t.Errorf("the log contains %q", x)
		}
	}
	nats.Restart(t)
}

func claims(t testing.TB, access string) map[string]any {
	t.Helper()
	parts := strings.Split(access, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is not a compact JWS", access)
	}
	var c map[string]any
	if err := json.Unmarshal(decode64(t, parts[1]), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func claim(t testing.TB, access, name string) string {
	t.Helper()
	s, _ := claims(t, access)[name].(string)
	return s
}

func claimNumber(t testing.TB, access, name string) float64 {
	t.Helper()
	n, _ := claims(t, access)[name].(float64)
	return n
}

// TestRevokeRepeatedWithItsID: a caller that heard nothing repeats the call, later and with the same ID; its first attempt may have been
// published, and covers less by now.
func TestRevokeRepeatedWithItsID(t *testing.T) {
	t.Parallel()
	c := &clock{}
	r := start(t, server(t).URL(), func(cfg *issuer.Config) { cfg.Now = c.now })
	for _, scope := range []events.Scope{events.Client, events.Issuer, events.Subject, events.Key} {
		s := events.Revocation{ID: events.NewID(), Scope: scope, Key: "web", Reason: "again"}
		if scope == events.Issuer {
			s.Key = ""
		}
		for n := range 3 {
			if _, err := r.Revoke(within(t), s); err != nil {
				t.Errorf("%v, attempt %d: %v", scope, n+1, err)
			}
			r.advance(c, 1100*time.Millisecond)
		}
		if pending, err := issuer.Pointers(within(t), r.Issuer); err != nil || pending != 0 {
			t.Errorf("%v: %d intents left, %v", scope, pending, err)
		}
	}
	// With a fixed Before nothing is left open: one statement, however often.
	fixed := events.Revocation{ID: events.NewID(), Scope: events.Client, Key: "app", Before: c.now(), Reason: "again"}
	for n := range 3 {
		if _, err := r.Revoke(within(t), fixed); err != nil {
			t.Errorf("fixed, attempt %d: %v", n+1, err)
		}
		r.advance(c, 1100*time.Millisecond)
	}
	if n := r.published(events.Client, "app"); n != 1 {
		t.Errorf("%d statements, want 1", n)
	}
}
