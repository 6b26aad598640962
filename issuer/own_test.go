package issuer_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// with sends a request with a bearer and no body.
func (r *rig) with(method, path, token string) answer {
	r.t.Helper()
	req := r.request(method, path, "", "")
	req.Header.Set("Authorization", "Bearer "+token)
	return r.do(req)
}

type listed struct {
	Sid         string `json:"sid"`
	Sub         string `json:"sub"`
	Client      string `json:"client_id"`
	Auth        int64  `json:"auth_time"`
	LastRefresh int64  `json:"last_refresh"`
	IdleEnds    int64  `json:"idle_expires_in"`
	SessionEnds int64  `json:"session_expires_in"`
	Agent       string `json:"agent"`
	Current     bool   `json:"current"`
}

type list struct {
	Sub      string   `json:"sub"`
	Sessions []listed `json:"sessions"`
	Next     string   `json:"next"`
}

func (r *rig) list(path, token string) list {
	r.t.Helper()
	a := r.with("GET", path, token)
	r.want("GET "+path, a, 200, "")
	var l list
	if err := json.Unmarshal([]byte(a.raw), &l); err != nil {
		r.t.Fatal(err)
	}
	return l
}

func (l list) sids() []string {
	out := []string{}
	for _, s := range l.Sessions {
		out = append(out, s.Sid)
	}
	slices.Sort(out)
	return out
}

func (r *rig) wantSids(what string, l list, want ...answer) {
	r.t.Helper()
	sids := []string{}
	for _, a := range want {
		sids = append(sids, a.Sid)
	}
	slices.Sort(sids)
	if got := l.sids(); !slices.Equal(got, sids) {
		r.t.Errorf("%s: got sessions %v, want %v", what, got, sids)
	}
}

// loginAs logs in with another client and user agent.
func (r *rig) loginAs(name, client, agent string) answer {
	r.t.Helper()
	body, _ := json.Marshal(map[string]string{"username": name, "password": password, "client_id": client})
	req := r.request("POST", "/login", jsonType, string(body))
	req.Header.Set("User-Agent", agent)
	a := r.do(req)
	r.want("login of "+name, a, 200, "")
	return a
}

func twoClients(c *issuer.Config) {
	c.Clients = []issuer.Client{{ID: "quash", Public: true}, {ID: "phone", Public: true}}
}

// TestOwnSessions: a user sees her living sessions, and nobody else's.
func TestOwnSessions(t *testing.T) {
	t.Parallel()
	nats := server(t)
	r := start(t, nats.URL(), twoClients)
	short := r.cfg
	short.AccessLife, short.RefreshIdle = time.Second, time.Second
	ann := r.user("ann")
	r.user("bob")
	r.login("bob")
	idle := startWith(t, nats.URL(), short).login("ann")
	kept := r.loginAs("ann", "phone", "Phone/1 (ü)")
	s := r.loginAs("ann", "quash", "")
	gone := r.login("ann")
	r.want("logout", r.bearer("/logout", gone.Access, ""), 200, "")
	kept = r.refresh(kept.Refresh)
	until(t, "the idle session is over", func() bool { return !slices.Contains(r.list("/sessions", s.Access).sids(), idle.Sid) })
	l := r.list("/sessions", s.Access)
	r.wantSids("living sessions", l, kept, s)
	if len(l.Sessions) != 2 {
		t.Fatal(l)
	}
	here, phone := l.Sessions[0], l.Sessions[1] // the newest first
	if !here.Current || phone.Current || here.Sid != s.Sid || here.Client != "quash" || phone.Client != "phone" || here.Agent != "" || phone.Agent != "Phone/1 ()" {
		t.Errorf("got %+v, want the current session of quash, then the phone", l.Sessions)
	}
	now := time.Now().Unix()
	if near := func(got, want int64) bool { return got > want-60 && got <= want }; !near(here.Auth, now) || !near(phone.Auth, now) ||
		here.LastRefresh != 0 || !near(phone.LastRefresh, now) || !near(phone.IdleEnds, 24*3600) || !near(phone.SessionEnds, 30*24*3600) || phone.Sub != "" {
		t.Errorf("got %+v, want times around %d", l.Sessions, now)
	}
	// What is wider than a session ends it in the list as well.
	if _, err := r.Revoke(within(t), events.Revocation{Scope: events.Client, Key: "phone"}); err != nil {
		t.Fatal(err)
	}
	r.wantSids("after the client's revocation", r.list("/sessions", s.Access), s)
	if _, err := r.Revoke(within(t), events.Revocation{Scope: events.Subject, Key: ann.Sub}); err != nil {
		t.Fatal(err)
	}
	r.want("the list with a dead token", r.with("GET", "/sessions", s.Access), 401, "invalid_token")
	again := r.login("ann")
	r.wantSids("after revoke-all and login", r.list("/sessions", again.Access), again)
}

func TestOwnSessionsByPages(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	r.user("ann")
	var all []answer
	for n := range 7 {
		s := r.login("ann")
		if n%3 == 1 {
			r.want("logout", r.bearer("/logout", s.Access, ""), 200, "")
			continue
		}
		all = append(all, s)
	}
	me := all[0]
	seen, pages, cursor := list{}, 0, ""
	for {
		l := r.list("/sessions?limit=2&cursor="+cursor, me.Access)
		if len(l.Sessions) > 2 {
			t.Fatalf("got a page of %d, want at most 2", len(l.Sessions))
		}
		seen.Sessions = append(seen.Sessions, l.Sessions...)
		pages++
		if cursor = l.Next; cursor == "" {
			break
		}
	}
	r.wantSids("all pages", seen, all...)
	if pages != 3 {
		t.Errorf("got %d pages of 2 for %d sessions, want 3", pages, len(all))
	}
	for _, q := range []string{"limit=0", "limit=1001", "limit=x", "cursor=-1", "cursor=x", "limit=1&limit=2", "sub=x"} {
		r.want(q, r.with("GET", "/sessions?"+q, me.Access), 400, "invalid_request")
	}
}

// TestM3_OneDevice: a user ends one of her sessions, and cannot touch or feel those of others.
func TestM3_OneDevice(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	u := r.user("ann")
	r.user("bob")
	phone, here, other := r.login("ann"), r.login("ann"), r.login("bob")
	before := len(r.statements())
	foreign := r.with("DELETE", "/sessions/"+other.Sid, here.Access)
	r.want("a foreign session", foreign, 404, "invalid_request")
	for _, sid := range []string{"AAAAAAAAAAAAAAAAAAAAAA", "x", "..", "%2e%2e", other.Sid + "A"} {
		if a := r.with("DELETE", "/sessions/"+sid, here.Access); sid != ".." && (a.status != 404 || a.Error != foreign.Error) {
			t.Errorf("DELETE %q: got %d %s, want 404", sid, a.status, a.raw)
		}
	}
	if a := r.with("DELETE", "/sessions/AAAAAAAAAAAAAAAAAAAAAA", here.Access); a.raw != foreign.raw || fmt.Sprint(a.header["Cache-Control"]) != fmt.Sprint(foreign.header["Cache-Control"]) {
		t.Errorf("an unknown session: got %s, want the words for a foreign one, %s", a.raw, foreign.raw)
	}
	r.want("no token", r.do(r.request("DELETE", "/sessions/"+phone.Sid, "", "")), 401, "invalid_token")
	r.want("POST", r.with("POST", "/sessions/"+phone.Sid, here.Access), 405, "invalid_request")
	if n := len(r.statements()) - before; n != 0 {
		t.Errorf("got %d statements from refused requests, want none", n)
	}
	a := r.with("DELETE", "/sessions/"+phone.Sid, here.Access)
	if r.want("the phone", a, 200, ""); a.ID == "" || a.Sequence == 0 {
		t.Errorf("got %s, want id and sequence", a.raw)
	}
	last := r.statements()[len(r.statements())-1]
	if last.Scope != events.Session || last.Key != phone.Sid || last.By != "user" || last.Actor != u.Sub || last.Reason == "" {
		t.Errorf("got %+v, want the phone's session by the user", last)
	}
	again := r.with("DELETE", "/sessions/"+phone.Sid, here.Access)
	if r.want("once more", again, 200, ""); again.ID != a.ID {
		t.Errorf("once more: got id %q, want the first one's %q", again.ID, a.ID)
	}
	r.dead("the phone", phone.Access)
	r.want("the phone's refresh", r.refresh(phone.Refresh), 400, "invalid_grant")
	r.alive("this session", here.Access)
	r.alive("bob", other.Access)
}

// TestLogoutAll is one statement, whatever the number of sessions.
func TestLogoutAll(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), twoClients)
	u := r.user("ann")
	r.user("bob")
	one, two, three, other := r.login("ann"), r.loginAs("ann", "phone", ""), r.login("ann"), r.login("bob")
	before := len(r.statements())
	r.want("no token", r.do(r.request("POST", "/logout-all", "", "")), 401, "invalid_token")
	a := r.bearer("/logout-all", two.Access, "")
	r.want("logout of all", a, 200, "")
	got := r.statements()[before:]
	if len(got) != 1 || got[0].Scope != events.Subject || got[0].Key != u.Sub || got[0].By != "user" || got[0].Actor != u.Sub || got[0].ID != a.ID {
		t.Errorf("got statements %+v, want one of the subject by the user", got)
	}
	for _, s := range []answer{one, two, three} {
		r.dead("a session", s.Access)
		r.want("its refresh", r.refresh(s.Refresh), 400, "invalid_grant")
	}
	r.alive("bob", other.Access)
	fresh := r.login("ann")
	r.alive("a login in the same second", fresh.Access)
	if strings.Contains(a.raw, fresh.Access) {
		t.Error("the answer holds a token")
	}
}
