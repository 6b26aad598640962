package issuer_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// TestHostile_Generations: nobody can raise a user's generation so far that she cannot be logged out any more: neither an operator
// nor who writes on the stream past the publisher.
func TestHostile_Generations(t *testing.T) {
	t.Parallel()
	s := server(t)
	r := start(t, s.URL())
	r.user("root", issuer.ScopeAdmin)
	admin := r.login("root").Access
	bob := r.user("bob")
	order := func(key, gen string) answer {
		return patient(t, func() answer {
			return r.bearer("/admin/revocations", admin, `{"scope":"subject","key":"`+key+`"`+gen+`}`)
		}) // the repair may be at the record
	}
	r.want("as far as it goes", order(bob.Sub, fmt.Sprintf(`,"gen":%d`, uint64(events.MaxGen))), 200, "")
	for _, gen := range []string{"9007199254740992", "18446744073709551615", "0", "-1", "1e3"} {
		r.want("gen "+gen, order(bob.Sub, `,"gen":`+gen), 400, "invalid_request")
	}
	for n := range 2 {
		login := r.login("bob")
		r.alive(fmt.Sprint("login ", n), login.Access)
		r.want(fmt.Sprint("end ", n), order(bob.Sub, ""), 200, "")
		r.dead("its access token", login.Access)
		r.want("its refresh token", r.refresh(login.Refresh), 400, "invalid_grant")
	}
	last := r.login("bob")
	var err error
	until(t, "the repair leaves the record alone for a moment", func() bool {
		err = r.Disable(t.Context(), bob.Sub, issuer.Cause{})
		return !errors.Is(err, issuer.ErrUnavailable)
	})
	if err != nil {
		t.Errorf("disable: %v", err)
	}
	r.dead("the token of a disabled user", last.Access)

	// A statement that no publisher of ours would send.
	ann := r.user("ann")
	before := r.login("ann")
	text, err := events.Encode(events.Revocation{ID: events.NewID(), Issuer: iss, Scope: events.Subject, Key: ann.Sub, Gen: 7,
		Before: time.Now(), At: time.Now(), Until: time.Now().Add(time.Minute), By: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	m := nats.NewMsg("quash.v1.session-revoked.subject")
	m.Data, m.Header = []byte(strings.Replace(string(text), `"gen":7`, `"gen":18446744073709551615`, 1)), nats.Header{"Nats-TTL": {"60s"}}
	if _, err := s.Connect(t).RequestMsg(m, deadline); err != nil {
		t.Fatal(err)
	}
	until(t, "it is in force", func() bool { return issuer.Covered(r.Issuer, before.Access) })
	r.want("login while it covers all", r.tryLogin("ann", password), 503, "temporarily_unavailable")
	r.want("end her sessions", order(ann.Sub, ""), 200, "")
	until(t, "it is in the records", func() bool {
		gen, cutoff, err := issuer.Mark(t.Context(), r.Issuer, events.Subject, ann.Sub)
		return err == nil && gen == events.MaxGen && cutoff > 0
	})
}

// TestHostile_Addresses: nothing that a caller writes into his request gives him a new address to guess from.
func TestHostile_Addresses(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.AddressBurst, c.AddressEvery = 3, 24*time.Hour })
	headers := []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-Client-Ip", "X-Cluster-Client-Ip",
		"Fastly-Client-Ip", "X-Original-Forwarded-For", "Via", "X-Forwarded-Host", "Client-Ip"}
	for n := range 3 + 2*len(headers) {
		req := r.request("POST", "/login", jsonType, fmt.Sprintf(`{"username":"user-%d","password":"guess"}`, n))
		req.Header.Add(headers[n%len(headers)], fmt.Sprintf("10.0.%d.1, for=10.1.%d.1", n, n))
		want := 401
		if n >= 3 {
			want = 429
		}
		if a := r.do(req); a.status != want {
			t.Errorf("guess %d with %s: got %d %s, want %d", n, headers[n%len(headers)], a.status, a.raw, want)
		}
	}
}

// raw sends a request line as it is, without a client that would tidy it.
func (r *rig) raw(line string, header ...string) *http.Response {
	r.t.Helper()
	u, err := url.Parse(r.url)
	if err != nil {
		r.t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n%s\r\n", line, strings.Join(append(header, ""), "\r\n"))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		r.t.Fatalf("%s: %v", line, err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body) // what is asked about is in the header
	return res
}

// TestHostile_Paths: no spelling of a path leads to another host, past a check of the method or to an endpoint that is not there,
// and no header names the issuer.
func TestHostile_Paths(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), applications)
	for _, path := range []string{
		"//evil.example/auth/login", "//evil.example/..", "///evil.example", "/auth//evil.example", `/\evil.example`, "/auth/%2f%2fevil.example/..",
		"/auth/../auth/admin/users", "/auth/./admin/users", "/auth/%2e%2e/auth/admin/users", "/auth/admin%2fusers", "/auth/admin/users/", "/AUTH/admin/users",
		"/auth/admin/users;x=1", "/auth/admin/users%00", "/auth/admin/users?access_token=x", "/admin/users", "/auth/sessions/..%2f..%2fadmin%2fusers",
		"http://evil.example/auth/admin/users", "//evil.example%2f@/auth/authorize", "/auth/.well-known/jwks.json/../../admin/keys",
	} {
		for _, method := range []string{"GET", "POST", "DELETE", "TRACE", "PROPFIND"} {
			res := r.raw(method+" "+path, "X-HTTP-Method-Override: GET", "X-Original-URL: /auth/livez", "X-Rewrite-URL: /auth/livez", "Content-Length: 0")
			if res.StatusCode < 300 {
				t.Errorf("%s %s: got %d", method, path, res.StatusCode)
			}
			if to := res.Header.Get("Location"); to != "" && (!strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.HasPrefix(to, `/\`)) {
				t.Errorf("%s %s: leads to %q", method, path, to)
			}
		}
	}
	req := r.request("GET", "/.well-known/openid-configuration", "", "")
	req.Host = "evil.example"
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "Forwarded", "X-Host"} {
		req.Header.Set(name, "evil.example")
	}
	if a := r.do(req); a.status != 200 || strings.Contains(a.raw, "evil") || a.body["issuer"] != iss {
		t.Errorf("metadata by headers: got %d %s", a.status, a.raw)
	}
}

// TestHostile_Bodies are refused at once, as the caller's mistake.
func TestHostile_Bodies(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	r.user("ann")
	deep := strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)
	for what, body := range map[string]string{
		"deep": deep, "deep in a member": `{"username":` + strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000) + `,"password":"x"}`,
		"twice": `{"username":"bob","username":"ann","password":"` + password + `"}`, "twice by case": `{"username":"ann","Username":"bob","password":"x"}`,
		"twice by escape": `{"username":"bob","\u0075sername":"ann","password":"` + password + `"}`, "a mark at the start": "\ufeff" + `{"username":"ann","password":"x"}`,
		"two": `{"username":"ann","password":"x"}{}`, "not UTF-8": "{\"username\":\"\xff\",\"password\":\"x\"}", "a comment": `{"username":"ann",/**/"password":"x"}`,
		"half a surrogate": `{"username":"\ud800","password":"x"}`, "an array": `["ann"]`, "nothing": ``, "a member of ours": `{"username":"ann","password":"x","sub":"root"}`,
	} {
		a := r.do(r.request("POST", "/login", jsonType, body))
		r.want(what, a, 400, "invalid_request")
	}
	r.want("as a form that looks like JSON", r.do(r.request("POST", "/login", formType, `{"username":"ann"}`)), 415, "invalid_request")
	r.want("as text", r.do(r.request("POST", "/login", "text/plain", `{"username":"ann","password":"`+password+`"}`)), 415, "invalid_request")
	large := r.do(r.request("POST", "/token", formType, "grant_type=refresh_token&refresh_token="+strings.Repeat("a", 65<<10)))
	r.want("a large form", large, 413, "invalid_request")
	for _, form := range []string{"grant_type=refresh_token&grant_type=client_credentials", "grant_type=refresh_token;refresh_token=x", "%zz=1",
		"grant_type=refresh_token&refresh_token=a&refresh_token=b", strings.Repeat("a&", 30_000)} {
		r.want(fmt.Sprintf("the form %.30s", form), r.do(r.request("POST", "/token", formType, form)), 400, "invalid_request")
	}
}

// TestHostile_ExchangeRacesRevokeAll: of an exchange at the same moment as the end of all sessions nothing comes that lives.
func TestHostile_ExchangeRacesRevokeAll(t *testing.T) {
	t.Parallel()
	nats := server(t)
	r := start(t, nats.URL(), func(c *issuer.Config) { c.Clients = gateways() })
	other := startWith(t, nats.URL(), r.cfg)
	u := r.user("ann")
	for range 8 {
		s := r.login("ann")
		got := make(chan answer, 8)
		var all sync.WaitGroup
		for n := range cap(got) {
			at := []*rig{r, other}[n%2]
			all.Go(func() { got <- at.exchangeToken("gate", s.Access) })
		}
		if _, err := r.Revoke(within(t), events.Revocation{Scope: events.Subject, Key: u.Sub}); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		close(got)
		for a := range got {
			if a.status == 200 {
				r.dead("a token of the race", a.Access)
			} else if a.status != 400 {
				t.Errorf("got %d %s, want 200 or 400", a.status, a.raw)
			}
		}
	}
}

// TestHostile_LoginsWhileTheRegistryFlips: whoever logs in while a client is switched on and off has nothing that lives once it
// is off.
func TestHostile_LoginsWhileTheRegistryFlips(t *testing.T) {
	t.Parallel()
	nats := server(t)
	f := newClientsFile(t, appOn, other)
	r := start(t, nats.URL(), func(c *issuer.Config) { c.ClientsFile = f.path })
	second := startWith(t, nats.URL(), r.cfg)
	r.user("ann")
	stop, got := make(chan struct{}), make(chan answer, 10_000)
	var all sync.WaitGroup
	for n := range 4 {
		at := []*rig{r, second}[n%2]
		all.Go(func() {
			for a := (answer{}); ; {
				select {
				case <-stop:
					return
				default:
				}
				if a.status != 200 {
					a = at.loginAt("app")
				} else {
					a = at.refreshAt("app", a.Refresh)
				}
				if a.status == 200 {
					select {
					case got <- a:
					default: // enough
					}
				}
			}
		})
	}
	for range 2 {
		had := len(got)
		for _, line := range []string{appOff, appOn} {
			f.write(line, other)
			r.reload()
			second.reload()
		}
		r.want("switched on", r.loginAt("app"), 200, "")
		until(t, "somebody else is in as well", func() bool { return len(got) > had || len(got) == cap(got) })
	}
	f.write(appOff, other)
	r.reload()
	second.reload()
	close(stop)
	all.Wait()
	close(got)
	f.write(appOn, other) // or every token of the client would be refused anyhow
	r.reload()
	second.reload()
	r.want("and on again", r.loginAt("app"), 200, "")
	if len(got) == 0 {
		t.Error("nobody logged in")
	}
	for a := range got {
		for _, at := range []*rig{r, second} {
			at.ends("a token from before the client was off", a.Access)
		}
		if back := second.refreshAt("app", a.Refresh); back.status == 200 {
			t.Error("a refresh token from before the client was off: got 200")
		}
	}
}
