package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/quash-auth/quash/events"
)

// operator runs a command of the binary as the world's admin, again while a busy issuer says that it has not done it.
func (w *world) operator(args ...string) (out string, err error) {
	w.t.Helper()
	w.eventually("the issuer does it or refuses", func() bool {
		out, err = w.run(w.operatorCommand(args...))
		return err == nil || !strings.Contains(out, "the issuer cannot do this now")
	})
	return out, err
}

func (w *world) operatorCommand(args ...string) *exec.Cmd {
	cmd := quashCommand(args...)
	cmd.Env = append(cmd.Environ(), "QUASH_NATS="+w.nats, "QUASH_ISSUER="+w.url, "QUASH_ADMIN="+worldAdmin+":"+w.password(worldAdmin))
	return cmd
}

// asked is a statement as a test expects it on the stream.
type asked struct {
	scope                events.Scope
	key, by              string
	actor, reason, cause string // cause is the txn; empty: any
}

// audited fails unless exactly one new statement is on the stream, and it is the one that was asked for.
func (w *world) audited(what string, before int, want asked) {
	w.t.Helper()
	all := w.statements()[before:]
	if len(all) != 1 {
		w.t.Errorf("%s: got %d statements, want one: %+v", what, len(all), all)
		return
	}
	if s := all[0]; s.Scope != want.scope || s.Key != want.key || s.By != want.by || s.Actor != want.actor || s.Reason != want.reason ||
		want.cause != "" && s.Txn != want.cause || want.by == "admin" && s.Txn == "" {
		w.t.Errorf("%s: got %+v on the stream, want %+v", what, s, want)
	}
}

// TestSituation7_ForcedLogout: a user logs out one device, or all; an operator logs out a user, a client, everybody, or takes
// a signing key out of use; by API and by CLI.
func TestSituation7_ForcedLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withReplicas(2))
	sub := claimOf(t, w.login("ann").Access, "sub")
	root := claimOf(t, w.admin(), "sub")

	dead := func(what string, ss ...session) {
		t.Helper()
		for _, s := range ss {
			if r := w.on(1).tryRefresh(s.Refresh); r.status != 400 || r.code() != "invalid_grant" {
				t.Errorf("%s: refresh got %s, want 400 invalid_grant", what, r)
			}
			w.wants(0, s.Access, 401)
		}
	}
	alive := func(what string, ss ...session) {
		t.Helper()
		for _, s := range ss {
			if r := w.call(0, s.Access); r.status != 200 {
				t.Errorf("%s: got %s, want 200", what, r)
			}
		}
	}

	// One device, seen and ended by the user.
	phone, laptop, bob := w.login("ann"), w.on(1).login("ann"), w.login("bob")
	list := w.json("GET", "/sessions", laptop.Access, "")
	if !strings.Contains(list.raw, phone.Sid) || !strings.Contains(list.raw, laptop.Sid) || strings.Contains(list.raw, bob.Sid) {
		t.Errorf("GET /sessions: got %s %s, want ann's sessions", list, list.raw)
	}
	n := len(w.statements())
	if r := w.on(1).json("DELETE", "/sessions/"+phone.Sid, laptop.Access, ""); r.status != 200 {
		t.Fatalf("DELETE /sessions: %s", r)
	}
	w.audited("one device", n, asked{events.Session, phone.Sid, "user", sub, "logout of one session", ""})
	dead("one device", phone)
	alive("the others", laptop, bob)
	if r := w.json("DELETE", "/sessions/"+bob.Sid, laptop.Access, ""); r.status != 404 {
		t.Errorf("somebody else's session: got %s, want 404", r)
	}

	// All of them.
	phone = w.login("ann")
	n = len(w.statements())
	if r := w.json("POST", "/logout-all", phone.Access, ""); r.status != 200 {
		t.Fatalf("POST /logout-all: %s", r)
	}
	w.audited("all devices", n, asked{events.Subject, sub, "user", sub, "logout of all sessions", ""})
	dead("all devices", phone, laptop)
	alive("bob", bob)

	// An operator logs out a user: first what it would end, then with reason and case, and again by the command.
	phone, laptop = w.login("ann"), w.login("ann")
	n = len(w.statements())
	preview := w.json("POST", "/admin/revocations", w.admin(), `{"scope":"subject","key":"`+sub+`","dry_run":true}`)
	if preview.status != 200 || preview.seconds("sessions") != 2 || preview.body["exact"] != true {
		t.Errorf("preview: got %s %s, want 2 sessions, exact", preview, preview.raw)
	}
	if len(w.statements()) != n {
		t.Error("the preview published something")
	}
	alive("after the preview", phone, laptop)
	if r := w.json("POST", "/admin/revocations", w.admin(), `{"scope":"subject","key":"`+sub+`","reason":"fraud","txn":"case-1"}`); r.status != 200 {
		t.Fatalf("subject by API: %s", r)
	}
	w.audited("a user by API", n, asked{events.Subject, sub, "admin", root, "fraud", "case-1"})
	dead("a user by API", phone, laptop)

	phone = w.login("ann")
	text, err := w.operator("sessions", "list", "--user", "Ann")
	if err != nil || !strings.Contains(text, phone.Sid) || !strings.Contains(text, sub) {
		t.Errorf("sessions list: got %v\n%s", err, text)
	}
	n = len(w.statements())
	text, err = w.operator("sessions", "end", "--user", "ann", "--dry-run")
	if err != nil || !strings.Contains(text, "1 living session: 1 at quash") || len(w.statements()) != n+1 { // the command's own logout
		t.Errorf("sessions end --dry-run: got %v\n%s", err, text)
	}
	alive("after the dry run", phone)
	counted := func(want string, args ...string) { // again, if a busy node answered too late to be counted
		t.Helper()
		w.eventually(want+" and enforced on 3 of 3 nodes", func() bool {
			n = len(w.statements())
			text, err := w.operator(args...)
			if err != nil && !strings.Contains(text, "but no node answered") || !strings.Contains(text, want) {
				t.Fatalf("%v: got %v, want %q\n%s", args, err, want, text)
			}
			return strings.Contains(text, "enforced on 3 of 3 nodes")
		})
	}
	counted("txn case-2", "sessions", "end", "--user", "ann", "--reason", "lost laptop", "--txn", "case-2", "--wait", "10s")
	w.operated("a user by CLI", n, asked{events.Subject, sub, "admin", root, "lost laptop", "case-2"})
	dead("a user by CLI", phone)

	// One session by the command.
	phone, laptop = w.login("ann"), w.login("ann")
	n = len(w.statements())
	if text, err = w.operator("sessions", "end", phone.Sid, "--reason", "stolen"); err != nil {
		t.Errorf("sessions end SID: got %v\n%s", err, text)
	}
	w.operated("a session by CLI", n, asked{events.Session, phone.Sid, "admin", root, "stolen", ""})
	dead("a session by CLI", phone)
	alive("her other one", laptop)

	// Wide ones are not done by mistake.
	kid := headerOf(t, laptop.Access, "kid")
	n = len(w.statements())
	for _, body := range []string{`{"scope":"issuer","reason":"x"}`, `{"scope":"client","key":"quash","confirm":"quash"}`, `{"scope":"key","key":"` + kid + `","reason":"x","confirm":"x"}`} {
		if r := w.json("POST", "/admin/revocations", w.admin(), body); r.status != 400 {
			t.Errorf("%s: got %s, want 400", body, r)
		}
	}
	text, err = w.operator("sessions", "end", "--client", "quash", "--reason", "leak")
	if err == nil || !strings.Contains(text, "--confirm quash") {
		t.Errorf("sessions end --client unconfirmed: got %v\n%s", err, text)
	}
	if got := w.statements()[n:]; len(got) != 1 || got[0].Scope != events.Session { // the command's own logout
		t.Errorf("after the refusals: got %+v, want nothing wide", got)
	}
	alive("after the refusals", laptop, bob)

	// A signing key: access tokens die, sessions go on.
	n = len(w.statements())
	if text, err = w.operator("sessions", "end", "--kid", kid, "--reason", "key leaked", "--confirm", kid, "--json"); err != nil || !strings.Contains(text, `"signing":true`) {
		t.Errorf("sessions end --kid: got %v\n%s", err, text)
	}
	w.operated("a key", n, asked{events.Key, kid, "admin", root, "key leaked", ""})
	w.wants(0, laptop.Access, 401)
	w.bearer = "" // the operator's is dead as well
	laptop = w.refresh(laptop)
	if got := headerOf(t, laptop.Access, "kid"); got == kid {
		t.Error("the revoked key signs")
	}
	w.wants(0, laptop.Access, 200)
	bob = w.refresh(bob)

	// A client, by API; everybody, by CLI. Both end the operator's own session, too.
	n = len(w.statements())
	if r := w.json("POST", "/admin/revocations", w.admin(), `{"scope":"client","key":"quash","reason":"leak","confirm":"quash","txn":"case-3"}`); r.status != 200 {
		t.Fatalf("client: %s", r)
	}
	w.audited("a client", n, asked{events.Client, "quash", "admin", root, "leak", "case-3"})
	dead("a client", laptop, bob)
	w.bearer = ""
	laptop, bob = w.login("ann"), w.on(1).login("bob")
	iss := claimOf(t, bob.Access, "iss")
	counted("living session", "sessions", "end", "--everyone", "--reason", "breach", "--confirm", iss, "--wait", "10s")
	w.operated("everybody", n, asked{events.Issuer, "", "admin", root, "breach", ""})
	dead("everybody", laptop, bob)
	w.wants(0, w.login("ann").Access, 200)
}

// operated is audited for a command, which logs itself out at the end.
func (w *world) operated(what string, before int, want asked) {
	w.t.Helper()
	all := w.statements()[before:]
	if len(all) != 2 || all[1].Scope != events.Session || all[1].Actor != want.actor {
		w.t.Errorf("%s: got %+v, want a statement and the command's own logout", what, all)
		return
	}
	if s := all[0]; s.Scope != want.scope || s.Key != want.key || s.By != want.by || s.Actor != want.actor || s.Reason != want.reason ||
		want.cause != "" && s.Txn != want.cause || s.Txn == "" {
		w.t.Errorf("%s: got %+v on the stream, want %+v", what, s, want)
	}
}

// TestSituation7_RateLimit: a stolen credential cannot log everybody out, one by one or at once, by any replica.
func TestSituation7_RateLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withReplicas(2), withIssuer("--revoke-burst", "5", "--revoke-every", "1h", "--wide-revoke-burst", "1", "--wide-revoke-every", "1h"))
	bob := w.login("bob")
	n := len(w.statements())
	granted := 0
	for k := range 12 {
		r := w.on(k%2).json("POST", "/admin/revocations", w.admin(), fmt.Sprintf(`{"scope":"session","key":"s%d"}`, k))
		switch {
		case r.status == 200:
			granted++
		case r.status != 429 || r.header.Get("Retry-After") == "":
			t.Errorf("got %s, want 200 or 429 with Retry-After", r)
		}
	}
	if all := w.statements()[n:]; granted != 5 || len(all) != 5 {
		t.Errorf("got %d granted and %d statements, want 5", granted, len(all))
	}
	text, err := w.operator("sessions", "end", bob.Sid)
	if err == nil || !strings.Contains(text, "too many") || !strings.Contains(text, "nothing was done: try again in") {
		t.Errorf("sessions end: got %v\n%s", err, text)
	}
	wide := `{"scope":"key","key":"none","reason":"x","confirm":"none"}`
	if r := w.json("POST", "/admin/revocations", w.admin(), wide); r.status != 200 {
		t.Errorf("a wide one: got %s, want 200", r)
	}
	if r := w.on(1).json("POST", "/admin/revocations", w.admin(), wide); r.status != 429 {
		t.Errorf("another wide one: got %s, want 429", r)
	}
	w.wants(0, bob.Access, 200)
}

// claimOf reads a claim of a token without judging it.
func claimOf(t *testing.T, raw, name string) string { return partOf(t, raw, 1, name) }

func headerOf(t *testing.T, raw, name string) string { return partOf(t, raw, 0, name) }

func partOf(t *testing.T, raw string, part int, name string) string {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("no token")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[part])
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	s, _ := all[name].(string)
	if s == "" {
		t.Fatalf("no %s in the token", name)
	}
	return s
}
