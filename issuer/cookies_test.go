package issuer_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// TestSituation5_Attributes: exactly these cookies, and taken away with the same attributes.
func TestSituation5_Attributes(t *testing.T) {
	c := &stopped{at: time.Now().Truncate(time.Second)}
	nats := server(t)
	for name, tt := range map[string]struct {
		cookies issuer.Cookies
		issuer  string
		want    []string
	}{
		"default": {issuer.Cookies{}, iss, []string{
			"__Host-quash; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax",
			"__Secure-quash-refresh; Path=/auth; Max-Age=86400; HttpOnly; Secure; SameSite=Strict"}},
		"below a domain": {issuer.Cookies{Domain: "shop.example", SameSite: http.SameSiteStrictMode}, "https://login.shop.example", []string{
			"__Host-quash-refresh; Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=Strict",
			"__Secure-quash; Path=/; Domain=shop.example; Max-Age=600; HttpOnly; Secure; SameSite=Strict"}},
		"other sites": {issuer.Cookies{SameSite: http.SameSiteNoneMode, Origins: []string{"https://app.example"}, Path: "/api", Access: "tok", Refresh: "ref"}, iss, []string{
			"ref; Path=/auth; Max-Age=86400; HttpOnly; Secure; SameSite=None",
			"tok; Path=/api; Max-Age=600; HttpOnly; Secure; SameSite=None"}},
		"on this machine": {issuer.Cookies{}, "http://127.0.0.1:8080", []string{
			"quash-refresh; Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=Strict",
			"quash; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, nats.URL(), func(cfg *issuer.Config) {
				cfg.Issuer, cfg.Cookies, cfg.Bucket = tt.issuer, &tt.cookies, strings.ToUpper(strings.ReplaceAll(name, " ", "_"))
				cfg.Now, cfg.MaxStaleness = c.now, time.Hour
			})
			if !strings.HasSuffix(tt.issuer, "/auth") {
				r.url = strings.TrimSuffix(r.url, "/auth")
			}
			r.user("ann")
			b := r.tab()
			slices.Sort(tt.want)
			if a := b.tryLogin("ann", password); a.status != 200 || !slices.Equal(setCookies(a), tt.want) {
				t.Errorf("login: got %d, cookies\n%s\nwant\n%s", a.status, strings.Join(setCookies(a), "\n"), strings.Join(tt.want, "\n"))
			}
			for n := range tt.want {
				tt.want[n] = strings.NewReplacer("=600", "=0", "=86400", "=0").Replace(tt.want[n])
			}
			if a := b.logout(); a.status != 200 || !slices.Equal(setCookies(a), tt.want) || len(b.cookies) != 0 {
				t.Errorf("logout: got %d, cookies\n%s\nwant\n%s", a.status, strings.Join(setCookies(a), "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestSituation5_Config(t *testing.T) {
	nc := server(t).Connect(t)
	for want, c := range map[string]issuer.Config{
		"https Issuer":            {Issuer: "http://10.0.0.1", AllowHTTP: true, Cookies: &issuer.Cookies{}},
		"not a cookie name":       {Issuer: iss, Cookies: &issuer.Cookies{Access: "a b"}},
		"same name":               {Issuer: iss, Cookies: &issuer.Cookies{Access: "a", Refresh: "a"}},
		"__Host-x must not have":  {Issuer: iss, Cookies: &issuer.Cookies{Access: "__Host-x", Domain: "issuer.example"}},
		"would get the refresh":   {Issuer: iss, Cookies: &issuer.Cookies{Refresh: "__Host-r"}},
		"from https only":         {Issuer: "http://localhost", Cookies: &issuer.Cookies{Access: "__secure-x"}},
		"Path must begin":         {Issuer: iss, Cookies: &issuer.Cookies{Path: "x"}},
		"refuse \"example\"":      {Issuer: iss, Cookies: &issuer.Cookies{Domain: "example"}},
		"refuse \"other.test\"":   {Issuer: iss, Cookies: &issuer.Cookies{Domain: "other.test"}},
		"refuse \"suer.example\"": {Issuer: iss, Cookies: &issuer.Cookies{Domain: "suer.example"}},
		"Origins must name":       {Issuer: iss, Cookies: &issuer.Cookies{SameSite: http.SameSiteNoneMode}},
		"SameSite must be":        {Issuer: iss, Cookies: &issuer.Cookies{SameSite: 9}},
		"\"https://a.example/\"":  {Issuer: iss, Cookies: &issuer.Cookies{Origins: []string{"https://a.example/"}}},
		"\"http://a.example\"":    {Issuer: iss, Cookies: &issuer.Cookies{Origins: []string{"http://a.example"}}},
		"\"*\"":                   {Issuer: iss, Cookies: &issuer.Cookies{Origins: []string{"*"}}},
	} {
		c.Audience, c.Conn, c.KeysDir = []string{"api"}, nc, t.TempDir()
		if _, err := issuer.New(t.Context(), c); !errors.Is(err, issuer.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want ErrConfig with %s", err, want)
		}
	}
}

// TestSituation5_Renewal: a refresh by cookie ends the session and begins another of the same login.
func TestSituation5_Renewal(t *testing.T) {
	c := &stopped{at: time.Now().Truncate(time.Second)}
	out := &logs{}
	r := start(t, server(t).URL(), withCookies, func(cfg *issuer.Config) {
		cfg.Now, cfg.MaxStaleness, cfg.Logger = c.now, 10000*time.Hour, out.logger()
		cfg.AccessLife, cfg.RefreshIdle, cfg.RefreshAbsolute = 10*time.Minute, time.Hour, 90*time.Minute
	})
	u := r.user("ann", "read")
	b := r.tab()
	first := b.login("ann")
	var seen []string
	for range 5 {
		was, old := first, b.copy(nil)
		r.set(c, c.now().Add(time.Minute))
		first = b.refresh()
		b.got("refresh", first)
		if first.Sid == was.Sid || slices.Contains(seen, first.Sid) {
			t.Fatalf("got session %s again", first.Sid)
		}
		seen = append(seen, was.Sid)
		r.dead("the old access cookie", old.access())
		r.alive("the new access cookie", b.access())
		for _, claim := range []string{"auth_time", "gen", "sub", "client_id", "scope"} {
			if was, is := claims(t, old.access())[claim], claims(t, b.access())[claim]; was != is || is == nil {
				t.Errorf("%s: got %v, was %v, want the same", claim, is, was)
			}
		}
		if got := b.state(was.Sid); got != "ended" {
			t.Errorf("the old session: got %s, want ended", got)
		}
		if first.SessionEnds != was.SessionEnds-60 {
			t.Errorf("session_expires_in: got %d after %d, want the same end", first.SessionEnds, was.SessionEnds)
		}
	}
	for n, s := range r.statements() {
		if s.Key != seen[n] || s.By != "user" || s.Actor != u.Sub || !strings.HasPrefix(s.Reason, "renewed") {
			t.Errorf("statement %d: got %+v, want the end of %s by the user", n, s, seen[n])
		}
	}
	if n, err := issuer.Pointers(within(t), r.Issuer); err != nil || n != 0 {
		t.Errorf("got %d intents left, %v, want none", n, err)
	}
	r.set(c, c.now().Add(59*time.Minute))
	first = b.refresh()
	b.got("within the idle limit", first)
	r.set(c, c.now().Add(30*time.Minute))
	b.want("past the absolute end of the login", b.refresh(), 400, "invalid_grant")
	if len(b.cookies) != 0 {
		t.Errorf("got cookies %d after the end, want them taken away", len(b.cookies))
	}
	if n := len(r.statements()); n != 6 {
		t.Errorf("got %d statements, want 6", n)
	}
	for _, secret := range []string{first.Sid + "."} {
		if strings.Contains(out.String(), secret) {
			t.Error("a refresh token was logged")
		}
	}
}

// TestSituation5_ReuseEndsTheFamily: whoever shows an old cookie ends the login, however many renewals ago it was.
func TestSituation5_ReuseEndsTheFamily(t *testing.T) {
	r := start(t, server(t).URL(), withCookies)
	r.user("ann")
	for hops := 1; hops <= 3; hops++ {
		b := r.tab()
		b.login("ann")
		thief := b.copy(nil)
		last := answer{}
		for range hops {
			last = b.refresh()
			b.got("refresh", last)
		}
		stolen := thief.cookies[refreshCookie]
		b.want("the old cookie", thief.refresh(), 400, "invalid_grant")
		r.dead("the newest access cookie", b.access())
		b.want("the newest refresh cookie", b.copy(nil).refresh(), 400, "invalid_grant")
		if all := r.statements(); all[len(all)-1].Key != last.Sid || all[len(all)-1].By != "system" {
			t.Errorf("%d hops: got %+v, want the end of %s by system", hops, all[len(all)-1], last.Sid)
		}
		// The old one in a body is the same thing, and ends nothing twice.
		n := len(r.statements())
		b.want("the old token in a body", r.refresh(stolen), 400, "invalid_grant")
		if got := len(r.statements()); got != n {
			t.Errorf("got %d statements, want %d: it was over", got, n)
		}
	}
}

// TestSituation5_TwoAtOnce: one winner, on any replica; with the grace both get the same heir.
func TestSituation5_TwoAtOnce(t *testing.T) {
	t.Parallel()
	nats := server(t)
	for _, grace := range []time.Duration{0, 30 * time.Second} {
		r := start(t, nats.URL(), withCookies, func(c *issuer.Config) { c.ReuseGrace, c.Bucket = grace, "G"+grace.String() })
		other := startWith(t, nats.URL(), r.cfg)
		r.user("ann")
		for range 12 {
			a := r.tab()
			a.login("ann")
			b := a.copy(other)
			done := make(chan answer, 1)
			go func() { done <- b.refresh() }()
			one := a.refresh()
			two := <-done
			if grace > 0 {
				a.got("one", one)
				b.got("two", two)
				if one.Sid != two.Sid || a.cookies[refreshCookie] != b.cookies[refreshCookie] {
					t.Fatalf("with the grace: got sessions %s and %s, want one", one.Sid, two.Sid)
				}
				a.got("the heir", a.refresh())
				continue
			}
			if one.status+two.status != 600 {
				t.Fatalf("got %d %s and %d %s, want one 200 and one 400", one.status, one.raw, two.status, two.raw)
			}
			winner, token := one, a.access()
			if two.status == 200 {
				winner, token = two, b.access()
			}
			r.ends("the winner's access token: two held its cookie", token) // perhaps by the other replica
			if got := a.state(winner.Sid); got != "ended" {
				t.Errorf("the winner's session: got %s, want ended", got)
			}
		}
	}
}

// TestSituation5_LostAnswer: whatever step fails, the browser was told 503 and comes back with the same cookie.
func TestSituation5_LostAnswer(t *testing.T) {
	r := start(t, server(t).URL(), withCookies)
	r.user("ann")
	b := r.tab()
	b.login("ann")
	for _, step := range []string{"renew", "renewed", "publish", "published"} {
		issuer.SetFault(r.Issuer, func(at string) error {
			if at == step {
				return errors.Join(issuer.ErrUnavailable, errCrash)
			}
			return nil
		})
		b.want(step+": refresh", b.refresh(), 503, "temporarily_unavailable")
		issuer.SetFault(r.Issuer, nil)
		old := b.copy(nil)
		first := b.refresh()
		b.got(step+": again", first)
		r.dead(step+": the old access cookie", old.access())
		twice := old.copy(nil)
		again := twice.refresh() // this answer may have been lost as well
		if step != "renew" {
			twice.got(step+": and again", again)
			if again.Sid != first.Sid {
				t.Errorf("%s: got sessions %s and %s, want the same heir", step, first.Sid, again.Sid)
			}
			b.got(step+": go on", b.refresh())
			b.want(step+": then reuse is reuse", old.refresh(), 400, "invalid_grant")
		} else {
			b.want(step+": reuse is reuse", again, 400, "invalid_grant")
		}
		b.want(step+": it is over", b.refresh(), 400, "invalid_grant")
		b.login("ann")
	}
}

// TestSituation5_CrashBetween: the issuer dies between the write and the statement. Another replica publishes what was meant;
// with the grace the browser gets its heir there.
func TestSituation5_CrashBetween(t *testing.T) {
	for _, grace := range []time.Duration{0, 30 * time.Second} {
		nats, at := server(t), &stopped{at: time.Now()} // the grace is not over because a machine is slow
		r := start(t, nats.URL(), withCookies, func(c *issuer.Config) {
			c.RepairInterval, c.ReuseGrace, c.Now, c.MaxStaleness = time.Hour, grace, at.now, time.Hour
		})
		r.user("ann")
		b := r.tab()
		first := b.login("ann")
		issuer.SetFault(r.Issuer, func(at string) error {
			if at == "publish" {
				return errCrash
			}
			return nil
		})
		b.want("refresh into the crash", b.refresh(), 503, "temporarily_unavailable")
		r.alive("the old token, whose end is not published", b.access())
		r.stop()
		cfg := r.cfg
		cfg.RepairInterval = 50 * time.Millisecond
		r = startWith(t, nats.URL(), cfg)
		until(t, "the end is published", func() bool { return r.published(events.Session, first.Sid) == 1 })
		until(t, "the session is closed", func() bool { return r.tab().state(first.Sid) == "ended" })
		r.dead("the old token", b.access())
		b = b.copy(r)
		if grace > 0 {
			b.got("refresh at the next replica", b.refresh())
			r.alive("its token", b.access())
		} else {
			b.want("without the grace nobody knows that the answer was lost", b.refresh(), 400, "invalid_grant")
		}
	}
}

// TestSituation5_LostRotationIsNoLostRenewal: that an answer to a rotation was lost says nothing about the renewal after it.
func TestSituation5_LostRotationIsNoLostRenewal(t *testing.T) {
	r := start(t, server(t).URL(), withCookies)
	r.user("ann")
	token := r.login("ann").Refresh
	b := r.tab()
	move := func() answer {
		return b.post("/token", "grant_type", "refresh_token", "refresh_token", token, "cookies", "true")
	}
	issuer.SetFault(r.Issuer, func(at string) error {
		if at == "rotated" {
			return errors.Join(issuer.ErrUnavailable, errCrash)
		}
		return nil
	})
	b.want("into cookies, the answer is lost", move(), 503, "temporarily_unavailable")
	issuer.SetFault(r.Issuer, nil)
	b.got("into cookies, again", move())
	old := b.copy(nil)
	b.got("refresh by cookie", b.refresh())
	old.want("the cookie before it", old.refresh(), 400, "invalid_grant")
	b.want("it is over", b.refresh(), 400, "invalid_grant")
}
