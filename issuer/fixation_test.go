package issuer_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
)

// TestSituation5_Fixation: a session planted in a browser is dead after the login there, whatever the attacker kept of it.
func TestSituation5_Fixation(t *testing.T) {
	r := start(t, server(t).URL(), withCookies)
	mallory, ann := r.user("mallory"), r.user("ann")
	attacker := r.tab()
	planted := attacker.login("mallory")
	victim := attacker.copy(nil)
	kept := attacker.access()
	own := victim.login("ann")
	if own.Sid == planted.Sid || claims(t, victim.access())["sub"] != ann.Sub {
		t.Fatalf("got session %s of %v, want a new one of ann", own.Sid, claims(t, victim.access())["sub"])
	}
	r.dead("the planted access token", kept)
	attacker.want("the planted refresh token", attacker.refresh(), 400, "invalid_grant")
	r.alive("the victim's session after the attacker tried", victim.access())
	told := r.statements()
	if len(told) != 1 || told[0].Key != planted.Sid || told[0].By != "user" || told[0].Actor != ann.Sub || told[0].Reason != "replaced by a new login" {
		t.Errorf("on the stream: got %+v, want the end of mallory's (%s) session by ann", told, mallory.Sub)
	}

	// Only one of the two cookies planted.
	for _, name := range []string{accessCookie, refreshCookie} {
		attacker := r.tab()
		planted := attacker.login("mallory")
		victim := attacker.copy(nil)
		victim.cookies = map[string]string{name: attacker.cookies[name]}
		victim.login("ann")
		if got := victim.state(planted.Sid); got != "ended" {
			t.Errorf("%s alone was planted: its session is %s, want ended", name, got)
		}
	}

	// An old one: the attacker went on with its heir.
	attacker = r.tab()
	attacker.login("mallory")
	victim = attacker.copy(nil)
	heir := attacker.refresh()
	victim.login("ann")
	if got := victim.state(heir.Sid); got != "ended" {
		t.Errorf("an old cookie was planted: its heir is %s, want ended", got)
	}
}

// TestSituation5_WrongPasswordEndsNothing: nor does an invented cookie.
func TestSituation5_WrongPasswordEndsNothing(t *testing.T) {
	r := start(t, server(t).URL(), withCookies)
	r.user("ann")
	b := r.tab()
	s := b.login("ann")
	b.want("a wrong password", b.tryLogin("ann", "wrong"), 401, "invalid_credentials")
	r.alive("her session", b.access())
	other := r.tab()
	other.cookies = map[string]string{refreshCookie: s.Sid + issuer.NewRefreshToken()[len(s.Sid):], accessCookie: "x.y.z"}
	other.login("ann")
	r.alive("a session whose identifier somebody knew", b.access())
	other.cookies[refreshCookie] = s.Sid + issuer.NewRefreshToken()[len(s.Sid):]
	other.want("refresh with an invented cookie", other.refresh(), 400, "invalid_grant")
	r.alive("it again", b.access())
	other.cookies[refreshCookie] = s.Sid + issuer.NewRefreshToken()[len(s.Sid):]
	other.want("logout with it", other.logout(), 200, "")
	r.alive("and again", b.access())
}

// TestSituation5_NoPile: fifty logins in one browser leave one living session, and so do refreshes.
func TestSituation5_NoPile(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), withCookies)
	r.user("ann")
	b := r.tab()
	var sids []string
	for n := range 50 {
		sids = append(sids, b.login("ann").Sid)
		if n%5 == 0 {
			sids = append(sids, b.refresh().Sid)
		}
	}
	alive := slices.DeleteFunc(slices.Clone(sids), func(sid string) bool { return b.state(sid) != "live" })
	if len(alive) != 1 || alive[0] != sids[len(sids)-1] {
		t.Errorf("got %d living sessions of %d, want the last one", len(alive), len(sids))
	}
	if got := len(r.statements()); got != len(sids)-1 {
		t.Errorf("got %d statements, want %d", got, len(sids)-1)
	}
}

// TestSituation5_EndOfAnOldIdentifier: whoever ends a session by the identifier that it had some renewals ago ends the login:
// by the issuer, or on the stream without it.
func TestSituation5_EndOfAnOldIdentifier(t *testing.T) {
	nats := server(t)
	r := start(t, nats.URL(), withCookies)
	startWith(t, nats.URL(), r.cfg)
	r.user("ann")
	publisher, err := events.NewPublisher(events.PublisherConfig{Conn: nats.Connect(t)})
	if err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func(sid string) error{
		"Revoke": func(sid string) error {
			_, err := r.Revoke(within(t), events.Revocation{Scope: events.Session, Key: sid, By: "admin", Reason: "stolen"})
			return err
		},
		"stream": func(sid string) error {
			_, err := publisher.Publish(within(t), events.Revocation{Issuer: iss, Scope: events.Session, Key: sid, By: "admin", Reason: "stolen"})
			return err
		},
	} {
		b := r.tab()
		first := b.login("ann")
		b.refresh()
		last := b.refresh()
		if err := end(first.Sid); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		until(t, name+": the heir ends", func() bool { return b.state(last.Sid) == "ended" })
		b.want(name+": refresh", b.refresh(), 400, "invalid_grant")
		until(t, name+": it is published", func() bool { return r.published(events.Session, last.Sid) == 1 })
		for _, s := range r.statements() {
			if s.Key == last.Sid && (s.By != "admin" || s.Reason != "stolen") {
				t.Errorf("%s: got %+v, want the cause of the first statement", name, s)
			}
		}
	}
	// The issuer's own statements about renewals, delivered again (a restart, a stream that was given back what it lost), end
	// nothing. A foreign one behind them shows that they were looked at.
	b, marker := r.tab(), r.tab()
	b.login("ann")
	gone := marker.login("ann")
	b.refresh()
	heir := b.refresh()
	var again []events.Event
	for n, s := range append(r.statements(), events.Revocation{ID: events.NewID(), Issuer: iss, Scope: events.Session, Key: gone.Sid, At: time.Now(), Until: time.Now().Add(time.Hour), By: "admin"}) {
		again = append(again, events.Event{Revocation: s, Sequence: 1_000_000 + uint64(n), Time: time.Now().Add(time.Minute)})
	}
	if err := issuer.Apply(within(t), r.Issuer, again...); err != nil {
		t.Fatal(err)
	}
	until(t, "the last of them is in the records", func() bool { return b.state(gone.Sid) == "ended" })
	if got := b.state(heir.Sid); got != "live" {
		t.Errorf("after the issuer's own statements came again: the heir is %s, want live", got)
	}
	b.got("refresh", b.refresh())
}

// TestSituation5_RenewalRacesRevoke: whoever wins, no living token comes of it.
func TestSituation5_RenewalRacesRevoke(t *testing.T) {
	t.Parallel()
	nats := server(t)
	r := start(t, nats.URL(), withCookies)
	other := startWith(t, nats.URL(), r.cfg)
	u := r.user("ann")
	for _, scope := range []events.Scope{events.Session, events.Subject} {
		won := 0
		for n := range 25 {
			b := r.tab()
			s := b.login("ann")
			key := map[events.Scope]string{events.Session: s.Sid, events.Subject: u.Sub}[scope]
			onOther := b.copy(other)
			var a answer
			var err error
			var both sync.WaitGroup
			both.Go(func() { a = onOther.refresh() })
			both.Go(func() { _, err = r.Revoke(within(t), events.Revocation{Scope: scope, Key: key}) })
			both.Wait()
			if err != nil {
				t.Fatal(err)
			}
			r.ends(fmt.Sprintf("%v round %d: the first token", scope, n), b.access()) // if it was renewed before, by the other replica
			if a.status == 200 {
				won++
				r.dead(fmt.Sprintf("%v round %d: the token from the race", scope, n), onOther.access())
				onOther.want("and its refresh", onOther.refresh(), 400, "invalid_grant")
			} else {
				onOther.want("refresh in the race", a, 400, "invalid_grant")
			}
			b.want("the first cookie", b.refresh(), 400, "invalid_grant")
		}
		t.Logf("%v: the renewal won %d of 25 races", scope, won)
	}
}

// TestSituation5_CrossSite: what comes from another page does nothing, by any endpoint that reads cookies.
func TestSituation5_CrossSite(t *testing.T) {
	r := start(t, server(t).URL(), withCookies, func(c *issuer.Config) { c.Cookies.Origins = []string{"https://app.example"} })
	r.user("ann")
	b := r.tab()
	s := b.login("ann")
	login := `{"username":"ann","password":"` + password + `","cookies":true}`
	none := r.tab()
	for _, tt := range []struct {
		site, origin string
		ok           bool
	}{
		{"", "", false}, {"cross-site", "https://evil.example", false}, {"same-site", "https://blog.issuer.example", false},
		{"none", "", false}, {"cross-site", "null", false}, {"", "null", false}, {"", "http://issuer.example", false},
		{"", "https://issuer.example:444", false}, {"", "https://issuer.example.evil.example", false}, {"cross-site", "https://issuer.example", false},
		{"", "https://app.example/", false}, {"", "https://APP.example", false}, {"same-origin, none", "", false},
		{"same-origin", "", true}, {"same-origin", "https://issuer.example", true}, {"", "https://issuer.example", true},
		{"cross-site", "https://app.example", true}, {"same-site", "https://app.example", true}, {"", "https://app.example", true},
	} {
		for path, who := range map[string]*tab{"/login": none, "/login ": b, "/token": b, "/token ": none, "/logout": b, "/logout-all": b, "/sessions/" + s.Sid: b} {
			method, kind, body := "POST", "", ""
			switch {
			case strings.HasPrefix(path, "/login"):
				kind, body = jsonType, login
			case strings.HasPrefix(path, "/token"):
				kind, body = formType, "grant_type=refresh_token&cookies=true"
			case strings.HasPrefix(path, "/sessions"):
				method = "DELETE"
			}
			if tt.ok && path != "/token " && path != "/login" {
				continue // they do what they are for: other tests
			}
			who := who.copy(nil)
			who.page = tt.site
			req := r.request(method, strings.TrimSpace(path), kind, body)
			if tt.origin != "" {
				req.Header.Set("Origin", tt.origin)
			}
			a := who.send(req)
			switch {
			case !tt.ok && (a.status != 403 || len(setCookies(a)) != 0):
				t.Errorf("%s from site %q, origin %q: got %d %s with %d cookies, want 403", path, tt.site, tt.origin, a.status, a.raw, len(setCookies(a)))
			case tt.ok && path == "/login" && a.status != 200, tt.ok && path == "/token " && a.status != 400:
				t.Errorf("%s from site %q, origin %q: got %d %s, want it to be let in", path, tt.site, tt.origin, a.status, a.raw)
			}
		}
	}
	r.alive("the session after all that", b.access())
	two := r.request("POST", "/logout", "", "")
	two.Header["Origin"] = []string{"https://issuer.example", "https://evil.example"}
	b.page = ""
	if a := b.send(two); a.status != 403 {
		t.Errorf("two origins: got %d %s, want 403", a.status, a.raw)
	}
	b.page = "cross-site"
	if a := b.send(r.request("GET", "/sessions", "", "")); a.status != 200 {
		t.Errorf("reading by cookie, which no other page can: got %d %s, want 200", a.status, a.raw)
	}
	b.page = "same-origin"
	b.got("her own page", b.refresh())
}

// TestSituation5_Ambiguous: two cookies of one name, a cookie and a header, a cookie and a body.
func TestSituation5_Ambiguous(t *testing.T) {
	r := start(t, server(t).URL(), withCookies)
	r.user("ann")
	b := r.tab()
	s := b.login("ann")
	body := r.login("ann")
	form := func(extra string) *http.Request {
		return r.request("POST", "/token", formType, "grant_type=refresh_token"+extra)
	}
	login := r.request("POST", "/login", jsonType, `{"username":"ann","password":"`+password+`","cookies":true}`)
	for _, req := range []*http.Request{form(""), form("&cookies=true"), login, r.request("POST", "/logout", "", ""), r.request("POST", "/logout-all", "", ""),
		r.request("GET", "/sessions", "", ""), r.request("DELETE", "/sessions/"+s.Sid, "", "")} {
		for _, name := range []string{accessCookie, refreshCookie} {
			twice := req.Clone(t.Context())
			twice.Body, _ = req.GetBody()
			twice.AddCookie(&http.Cookie{Name: name, Value: "tossed"})
			a := b.send(twice)
			if a.status != 400 || a.Error != "invalid_request" || !strings.Contains(a.Description, "clear the cookies") {
				t.Errorf("%s %s with two cookies %s: got %d %s, want 400 and what to do", req.Method, req.URL.Path, name, a.status, a.raw)
			}
		}
		both := req.Clone(t.Context())
		both.Body, _ = req.GetBody()
		both.Header.Set("Authorization", "Bearer "+body.Access)
		if a := b.send(both); a.status != 400 && !(strings.HasSuffix(req.URL.Path, "/token") && a.status == 401) {
			t.Errorf("%s %s with a header and a cookie: got %d %s, want 400", req.Method, req.URL.Path, a.status, a.raw)
		}
	}
	b.want("a body and a cookie", b.send(form("&cookies=true&refresh_token="+body.Refresh)), 400, "invalid_request")
	b.want("cookies: neither true nor false", b.send(form("&cookies=yes")), 400, "invalid_request")
	r.alive("the cookies' session", b.access())
	r.alive("the other one", body.Access)

	// A token in the body goes into cookies when that is asked for, and then the session is the browser's.
	fresh := r.tab()
	fresh.got("from body to cookies", fresh.post("/token", "grant_type", "refresh_token", "refresh_token", body.Refresh, "cookies", "true"))
	fresh.got("and on", fresh.refresh())
	// And a page that asks for a token in the body, without cookies, is served as ever beside them.
	if a := b.send(form("&refresh_token=" + r.login("ann").Refresh)); a.status != 200 || a.Access == "" || len(setCookies(a)) != 0 {
		t.Errorf("a token in the body: got %d %s, want tokens in the body", a.status, a.raw)
	}
}

// TestSituation5_Off: without the setting nothing is read from cookies and nobody gets any.
func TestSituation5_Off(t *testing.T) {
	nats := server(t)
	on := start(t, nats.URL(), withCookies)
	on.user("ann")
	b := on.tab()
	b.login("ann")
	off := startWith(t, nats.URL(), func() issuer.Config { c := on.cfg; c.Cookies = nil; return c }())
	c := b.copy(off)
	c.want("login for cookies", c.tryLogin("ann", password), 400, "invalid_request")
	c.want("refresh for cookies", c.post("/token", "grant_type", "refresh_token", "cookies", "true"), 400, "invalid_request")
	c.want("refresh by cookie", c.refresh(), 400, "invalid_request")
	c.want("logout by cookie", c.logout(), 401, "invalid_token")
	c.page = "cross-site"
	if a := c.send(off.request("POST", "/login", jsonType, `{"username":"ann","password":"`+password+`"}`)); a.status != 200 || len(setCookies(a)) != 0 {
		t.Errorf("a login for tokens: got %d %s, want 200 without cookies", a.status, a.raw)
	}
	off.alive("the browser's session", b.access())
}

// TestSituation5_Logout: the session ends, the cookies go, and dead cookies go too.
func TestSituation5_Logout(t *testing.T) {
	nats := natstest.Start(t)
	out := &logs{}
	r := start(t, nats.URL(), withCookies, func(c *issuer.Config) { c.Logger = out.logger() })
	u := r.user("ann")
	b := r.tab()
	s := b.login("ann")
	delete(b.cookies, accessCookie) // it expires first
	dead := b.copy(nil)
	b.want("logout", b.logout(), 200, "")
	if len(b.cookies) != 0 || b.state(s.Sid) != "ended" {
		t.Errorf("got %d cookies, session %s, want none, ended", len(b.cookies), b.state(s.Sid))
	}
	dead.want("logout again", dead.logout(), 200, "")
	if len(dead.cookies) != 0 || len(r.statements()) != 1 {
		t.Errorf("again: got %d cookies and %d statements, want none and 1", len(dead.cookies), len(r.statements()))
	}
	if told := r.statements()[0]; told.By != "user" || told.Actor != u.Sub || told.Reason != "logout" {
		t.Errorf("got %+v, want a logout by the user", told)
	}

	one, two := r.tab(), r.tab()
	one.login("ann")
	two.login("ann")
	nats.Stop()
	until(t, "the issuer misses NATS", func() bool { return r.Ready() != nil })
	had := one.copy(nil)
	for _, path := range []string{"/logout", "/logout-all"} {
		if a := one.send(r.request("POST", path, "", "")); a.status != 503 || len(one.cookies) != len(had.cookies) {
			t.Errorf("%s without NATS: got %d and %d cookies, want 503 and all of them kept: nothing is over", path, a.status, len(one.cookies))
		}
	}
	nats.Restart(t)
	r.ready()
	if a := one.send(r.request("POST", "/logout-all", "", "")); a.status != 200 || len(one.cookies) != 0 {
		t.Errorf("logout-all: got %d %s and %d cookies, want 200 and none", a.status, a.raw, len(one.cookies))
	}
	two.want("the other browser", two.refresh(), 400, "invalid_grant")
	for _, b := range []*tab{had, dead} {
		for name, value := range b.cookies {
			if strings.Contains(out.String(), value[strings.LastIndexByte(value, '.')+1:]) {
				t.Errorf("the value of %s was logged", name)
			}
		}
	}
}
