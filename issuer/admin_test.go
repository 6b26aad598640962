package issuer_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// post is POST /admin/revocations with name, value pairs.
func (r *rig) post(token string, pairs ...any) answer {
	r.t.Helper()
	return r.send("POST", "/admin/revocations", token, pairsOf(pairs))
}

// TestWideNeedsConfirmation: what ends the sessions of more than one user takes a reason and the key a second time.
func TestWideNeedsConfirmation(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	r.user("root", issuer.ScopeAdmin)
	r.user("ann")
	admin, s := r.login("root").Access, r.login("ann")
	before := len(r.statements())
	for _, c := range []struct {
		body []any
		want string
	}{
		{[]any{"scope", "client", "key", "quash", "confirm", "quash"}, "reason: is required for scope client"},
		{[]any{"scope", "client", "key", "quash", "confirm", "quash", "reason", " "}, "reason: is required"},
		{[]any{"scope", "client", "key", "quash", "reason", "leak"}, "confirm: is required for scope client: send the key in it, quash"},
		{[]any{"scope", "client", "key", "quash", "reason", "leak", "confirm", "Quash"}, "confirm: is not the key, quash"},
		{[]any{"scope", "key", "key", "k1", "reason", "leak"}, "send the key in it, k1"},
		{[]any{"scope", "issuer", "reason", "leak"}, "send the issuer URL in it, " + iss},
		{[]any{"scope", "issuer", "reason", "leak", "confirm", iss + "/"}, "confirm: is not the issuer URL, " + iss},
		{[]any{"scope", "issuer", "reason", "leak", "confirm", true}, "confirm: must be a string"},
		{[]any{"scope", "client", "key", "quash", "dry_run", "yes"}, "dry_run: must be true or false"},
		{[]any{"scope", "client", "dry_run", true}, "key"},
	} {
		a := r.post(admin, c.body...)
		if r.want(fmt.Sprint(c.body), a, 400, "invalid_request"); !strings.Contains(a.Description, c.want) {
			t.Errorf("%v: got %q, want %q", c.body, a.Description, c.want)
		}
	}
	if n := len(r.statements()) - before; n != 0 {
		t.Errorf("got %d statements, want none", n)
	}
	r.alive("ann", s.Access)
	r.want("a narrow one needs neither", r.post(admin, "scope", "session", "key", s.Sid), 200, "")
	r.want("confirmed", r.post(admin, "scope", "client", "key", "quash", "reason", "leak", "confirm", "quash"), 200, "")
}

// TestScopeRevoke: the credential of a system that decides about one user at a time cannot do more.
func TestScopeRevoke(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	fraud, u := r.user("fraud", issuer.ScopeRevoke), r.user("ann")
	system, s := r.login("fraud").Access, r.login("ann")
	before := len(r.statements())
	for _, c := range [][]any{
		{"scope", "client", "key", "quash", "reason", "x", "confirm", "quash"},
		{"scope", "key", "key", "x", "reason", "x", "confirm", "x"},
		{"scope", "issuer", "reason", "x", "confirm", iss},
		{"scope", "client", "key", "quash", "dry_run", true},
		{"scope", "subject", "key", u.Sub, "gen", 1 << 50},
	} {
		a := r.post(system, c...)
		r.want(fmt.Sprint(c), a, 403, "insufficient_scope")
		if h := a.header.Get("WWW-Authenticate"); !strings.Contains(h, `scope="quash.admin"`) {
			t.Errorf("%v: got challenge %q, want the scope that is needed", c, h)
		}
	}
	r.want("sessions", r.with("GET", "/admin/sessions?sub="+u.Sub, system), 403, "insufficient_scope")
	if n := len(r.statements()) - before; n != 0 {
		t.Errorf("got %d statements, want none", n)
	}
	r.want("a preview", r.post(system, "scope", "subject", "key", u.Sub, "dry_run", true), 200, "")
	r.alive("ann", s.Access)
	r.want("a token", r.post(system, "scope", "token", "key", claim(t, s.Access, "jti")), 200, "")
	r.want("a session", r.post(system, "scope", "session", "key", s.Sid), 200, "")
	r.want("a subject", r.post(system, "scope", "subject", "key", u.Sub, "reason", "fraud"), 200, "")
	last := r.statements()[len(r.statements())-1]
	if last.Actor != fraud.Sub || last.By != "admin" || last.Reason != "fraud" || last.Txn == "" {
		t.Errorf("got %+v, want the system on record", last)
	}
	r.want("a user without scope", r.post(r.login("ann").Access, "scope", "session", "key", "x"), 403, "insufficient_scope")
}

type previewed struct {
	Sessions int            `json:"sessions"`
	Exact    bool           `json:"exact"`
	Clients  map[string]int `json:"clients"`
	Signing  *bool          `json:"signing"`
	Note     string         `json:"note"`
}

// TestPreview: the numbers are those of the sessions that then end, and nothing is published.
func TestPreview(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), twoClients)
	r.user("root", issuer.ScopeAdmin)
	ann := r.user("ann")
	r.user("bob")
	admin := r.login("root").Access
	s := r.login("ann")
	r.login("ann")
	r.loginAs("ann", "phone", "")
	r.loginAs("bob", "phone", "")
	over := r.loginAs("bob", "phone", "")
	r.want("logout", r.bearer("/logout", over.Access, ""), 200, "")
	kid := issuer.KeyID(r.Issuer, s.Access)
	before := len(r.statements())
	for _, c := range []struct {
		scope, key string
		want       previewed
		note       string
	}{
		{"session", s.Sid, previewed{Sessions: 1, Clients: map[string]int{"quash": 1}}, ""},
		{"session", over.Sid, previewed{}, ""},
		{"session", "AAAAAAAAAAAAAAAAAAAAAA", previewed{}, ""},
		{"subject", ann.Sub, previewed{Sessions: 3, Clients: map[string]int{"quash": 2, "phone": 1}}, ""},
		{"subject", "nobody", previewed{}, ""},
		{"client", "phone", previewed{Sessions: 2, Clients: map[string]int{"phone": 2}}, ""},
		{"issuer", "", previewed{Sessions: 5, Clients: map[string]int{"quash": 3, "phone": 2}}, ""},
		{"token", claim(t, s.Access, "jti"), previewed{}, "one access token"},
		{"key", kid, previewed{}, "signs now"},
		{"key", "other", previewed{}, "no key here"},
	} {
		a := r.post(admin, "scope", c.scope, "key", c.key, "dry_run", true)
		r.want("preview of "+c.scope, a, 200, "")
		var got previewed
		if err := json.Unmarshal([]byte(a.raw), &got); err != nil {
			t.Fatal(err)
		}
		if got.Sessions != c.want.Sessions || !got.Exact || len(got.Clients) != len(c.want.Clients) || fmt.Sprint(got.Clients) != fmt.Sprint(c.want.Clients) && len(got.Clients) > 0 ||
			!strings.Contains(got.Note, c.note) || (got.Signing != nil) != (c.scope == "key") {
			t.Errorf("%s %s: got %s, want %+v %s", c.scope, c.key, a.raw, c.want, c.note)
		}
	}
	if n := len(r.statements()) - before; n != 0 {
		t.Errorf("got %d statements from previews, want none", n)
	}
	r.alive("ann", s.Access)
	// Too many to read each: an upper bound.
	for most, want := range map[int]struct {
		n     int
		exact bool
	}{2: {6, false}, 5: {6, false}, 6: {5, true}, 100: {5, true}} {
		if n, exact, err := issuer.Preview(within(t), r.Issuer, "", "", most); err != nil || n > want.n || n < 5 || exact != want.exact {
			t.Errorf("reading %d: got %d %v %v, want %+v", most, n, exact, err, want)
		}
	}
	// A damaged record is not counted, and that is said.
	v := newVandal(t, r.cfg.Conn)
	v.put(issuer.SessionKey(s.Sid), "{}")
	if n, exact, err := issuer.Preview(within(t), r.Issuer, ann.Sub, "", 100); err != nil || n != 2 || exact {
		t.Errorf("with a damaged record: got %d %v %v, want 2, not exact", n, exact, err)
	}
}

// TestAdminSessions: an operator finds sessions by user and by client.
func TestAdminSessions(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), twoClients)
	r.user("root", issuer.ScopeAdmin)
	ann := r.user("ann")
	bob := r.user("bob")
	admin := r.login("root").Access
	a1, a2, b := r.login("ann"), r.loginAs("ann", "phone", "Phone/1"), r.loginAs("bob", "phone", "")
	l := r.list("/admin/sessions?username=ANN", admin)
	r.wantSids("of ann by name", l, a1, a2)
	if l.Sub != ann.Sub || l.Sessions[0].Sub != ann.Sub || l.Sessions[1].Agent != "Phone/1" || l.Sessions[0].Current {
		t.Errorf("got %+v, want ann's", l)
	}
	r.wantSids("of ann by sub", r.list("/admin/sessions?sub="+ann.Sub, admin), a1, a2)
	l = r.list("/admin/sessions?client_id=phone", admin)
	r.wantSids("of the phone", l, a2, b)
	if l.Sub != "" || l.Sessions[1].Sub != bob.Sub {
		t.Errorf("got %+v, want each session's sub", l)
	}
	r.wantSids("of ann's phone", r.list("/admin/sessions?client_id=phone&sub="+ann.Sub, admin), a2)
	r.wantSids("of nobody", r.list("/admin/sessions?sub=nobody", admin))
	first := r.list("/admin/sessions?client_id=phone&limit=1", admin)
	r.wantSids("the first page", first, a2)
	r.wantSids("the second page", r.list("/admin/sessions?client_id=phone&limit=1&cursor="+first.Next, admin), b)
	for _, q := range []string{"", "?limit=3", "?sub=x&username=y", "?user=ann", "?sub=a&sub=b"} {
		r.want(q, r.with("GET", "/admin/sessions"+q, admin), 400, "invalid_request")
	}
	r.want("an unknown name", r.with("GET", "/admin/sessions?username=eve", admin), 404, "invalid_request")
	r.want("no operator", r.with("GET", "/admin/sessions?username=ann", a1.Access), 403, "insufficient_scope")
	r.want("nobody", r.do(r.request("GET", "/admin/sessions?username=ann", "", "")), 401, "invalid_token")
}

// TestRevocationLimit: one credential cannot end session after session, whatever the replica; others are not held up.
func TestRevocationLimit(t *testing.T) {
	t.Parallel()
	nats, clock := server(t), &stopped{at: time.Now()}
	r := start(t, nats.URL(), func(c *issuer.Config) {
		c.RevokeBurst, c.RevokeEvery, c.WideBurst, c.WideEvery = 6, time.Hour, 2, 90*time.Second
		c.Now, c.MaxStaleness = clock.now, time.Hour // a slow machine must not grant one more meanwhile
		c.RepairInterval = time.Hour                 // nor say again what it has not heard from the other one yet
	})
	other := startWith(t, nats.URL(), r.cfg)
	r.user("root", issuer.ScopeAdmin)
	r.user("mary", issuer.ScopeAdmin)
	root, mary := r.login("root").Access, r.login("mary").Access
	session := func(r *rig, token string, n int) answer {
		return r.post(token, "scope", "session", "key", fmt.Sprintf("s%d", n))
	}
	key := func(r *rig, token string) answer {
		return r.post(token, "scope", "key", "key", "k", "confirm", "k", "reason", "leak")
	}
	for n := range 8 { // what is wrong costs nothing
		r.want("wrong", r.post(root, "scope", "session"), 400, "invalid_request")
		r.want("unconfirmed", r.post(root, "scope", "key", "key", "k"), 400, "invalid_request")
		_ = n
	}
	before := len(r.statements())
	for n := range 3 {
		r.want("here", session(r, root, n), 200, "")
		r.want("there", session(other, root, 100+n), 200, "")
	}
	for _, at := range []*rig{r, other} {
		a := session(at, root, 200)
		r.want("one more", a, 429, "temporarily_unavailable")
		if !strings.Contains(a.Description, "nothing was done") || a.header.Get("Retry-After") != "3600" {
			t.Errorf("got %q after %q, want nothing done and an hour", a.Description, a.header.Get("Retry-After"))
		}
		r.want("a preview", at.post(root, "scope", "subject", "key", "x", "dry_run", true), 429, "temporarily_unavailable")
	}
	r.want("somebody else", session(r, mary, 1), 200, "")
	r.want("a wide one", key(r, root), 200, "")
	r.want("a wide one there", key(other, root), 200, "")
	if a := key(r, root); a.status != 429 || a.header.Get("Retry-After") != "90" || !strings.Contains(a.Description, "wide") {
		t.Errorf("a third wide one: got %d %s after %q, want 429 after 90", a.status, a.raw, a.header.Get("Retry-After"))
	}
	r.want("a wide one of somebody else", key(r, mary), 200, "")
	if n := len(r.statements()) - before; n != 6+1+2+1 {
		t.Errorf("got %d statements, want those that were granted, 10", n)
	}
}

// TestRevocationLimitAtOnce: a burst in parallel is granted whole, and not one more.
func TestRevocationLimitAtOnce(t *testing.T) {
	t.Parallel()
	nats := server(t)
	r := start(t, nats.URL(), func(c *issuer.Config) { c.RevokeBurst, c.RevokeEvery = 40, time.Hour })
	r.user("root", issuer.ScopeAdmin)
	root := r.login("root").Access
	var all sync.WaitGroup
	var mu sync.Mutex
	got := map[int]int{}
	for n := range 60 {
		all.Go(func() {
			a := r.post(root, "scope", "session", "key", fmt.Sprintf("s%d", n))
			mu.Lock()
			defer mu.Unlock()
			got[a.status]++
		})
	}
	all.Wait()
	if got[200] != 40 || got[429] != 20 {
		t.Errorf("got %v, want 40 granted and 20 refused", got)
	}
	if n := len(r.statements()); n != 40 {
		t.Errorf("got %d statements, want 40", n)
	}
}

// TestThirdPartyClient: an application that may not log users in itself reaches its own sessions only.
func TestThirdPartyClient(t *testing.T) {
	t.Parallel()
	nats := server(t)
	r := start(t, nats.URL(), twoClients)
	u := r.user("ann")
	here, foreign, second := r.login("ann"), r.loginAs("ann", "phone", ""), r.loginAs("ann", "phone", "")
	cfg := r.cfg
	cfg.Clients = []issuer.Client{cfg.Clients[0], {ID: "phone", Public: true, Grants: []string{issuer.GrantRefresh}}}
	r.stop()
	r = startWith(t, nats.URL(), cfg)
	r.wantSids("its list", r.list("/sessions", foreign.Access), foreign, second)
	r.wantSids("the list of the issuer's own application", r.list("/sessions", here.Access), here, foreign, second)
	before := len(r.statements())
	r.want("logout of all", r.bearer("/logout-all", foreign.Access, ""), 403, "access_denied")
	r.want("another client's session", r.with("DELETE", "/sessions/"+here.Sid, foreign.Access), 404, "invalid_request")
	if n := len(r.statements()) - before; n != 0 {
		t.Errorf("got %d statements, want none", n)
	}
	r.want("its own session", r.with("DELETE", "/sessions/"+second.Sid, foreign.Access), 200, "")
	r.want("its own logout", r.bearer("/logout", foreign.Access, ""), 200, "")
	r.alive("the other client's session", here.Access)
	if n := r.published(events.Subject, u.Sub); n != 0 {
		t.Errorf("got %d statements of the subject, want none", n)
	}
}

// TestPreviewOfAnOldIdentifier: what a session was called before a renewal means the one that lives on.
func TestPreviewOfAnOldIdentifier(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), withCookies)
	r.user("root", issuer.ScopeAdmin)
	r.user("ann")
	b := r.tab()
	old := b.login("ann").Sid
	b.want("renewal", b.refresh(), 200, "")
	a := r.post(r.login("root").Access, "scope", "session", "key", old, "dry_run", true)
	if r.want("preview", a, 200, ""); a.body["sessions"] != 1.0 {
		t.Errorf("got %s, want the session that lives on", a.raw)
	}
}
