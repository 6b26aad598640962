package issuer_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// identity verifies an ID token with the published keys, by somebody else's code.
func (r *rig) identity(raw string) map[string]any {
	r.t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(r.do(r.request("GET", "/.well-known/jwks.json", "", "")).raw), &set); err != nil {
		r.t.Fatal(err)
	}
	jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA})
	if err != nil {
		r.t.Fatalf("ID token %q: %v", raw, err)
	}
	if typ := jws.Signatures[0].Protected.ExtraHeaders["typ"]; typ != "JWT" {
		r.t.Errorf("ID token: got typ %v, want JWT", typ)
	}
	if _, err := jws.Verify(&set); err != nil {
		r.t.Fatalf("ID token: %v", err)
	}
	return claims(r.t, raw)
}

func TestCodeFlow(t *testing.T) {
	for _, alg := range []string{"ES256", "RS256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			r := start(t, server(t).URL(), applications, func(c *issuer.Config) { c.Algorithm = alg })
			u := r.user("ann", "read", "write", "delete")
			f := newFlow()
			f.state, f.scope = "a b+c/&=%\"'<é\n", "openid profile read delete"
			before := time.Now().Unix()
			b := r.browser()
			p := b.fill(b.open(f), "Ann", password)
			to, q := p.back(t)
			if p.status != 303 || to != f.redirect || q.Get("state") != f.state || q.Get("iss") != iss || q.Has("error") {
				t.Fatalf("got %d %q %v, want 303 to %q with state %q and iss", p.status, to, q, f.redirect, f.state)
			}
			if raw := decode64(t, q.Get("code")); len(raw) != 32 {
				t.Errorf("got a code of %d bytes, want 32", len(raw))
			}
			a := r.exchange(f, q.Get("code"))
			r.want("exchange", a, 200, "")
			if a.Scope != "openid profile read" {
				t.Errorf("got scope %q, want what user and client share, and OpenID's", a.Scope)
			}
			r.alive("access token", a.Access)
			id := r.identity(a.body["id_token"].(string))
			hash := issuer.AccessHash(alg, a.Access)
			for name, want := range map[string]any{"iss": iss, "sub": u.Sub, "aud": "shop", "nonce": "n-1", "sid": a.Sid, "at_hash": hash} {
				if id[name] != want {
					t.Errorf("ID token: got %s %v, want %v", name, id[name], want)
				}
			}
			if at := int64(id["auth_time"].(float64)); at < before || at > time.Now().Unix() || claims(t, a.Access)["auth_time"] != id["auth_time"] {
				t.Errorf("got auth_time %d, want the login's", at)
			}
			again := r.form("/token", "grant_type", "refresh_token", "refresh_token", a.Refresh, "client_id", "shop")
			r.want("refresh", again, 200, "")
			if again.Scope != "openid profile read" {
				t.Errorf("refresh: got scope %q, want the same", again.Scope)
			}
			next := r.identity(again.body["id_token"].(string))
			if _, has := next["nonce"]; has || next["sub"] != u.Sub || next["auth_time"] != id["auth_time"] || next["aud"] != "shop" {
				t.Errorf("refresh: got ID token %v, want the same person without a nonce", next)
			}
			info := r.bearer("/userinfo", again.Access, "")
			if info.status != 200 || info.body["sub"] != u.Sub || info.body["preferred_username"] != "ann" || len(info.body) != 2 {
				t.Errorf("userinfo: got %d %s", info.status, info.raw)
			}
		})
	}
}

// TestAccessHash takes the half of the hash that the algorithm asks for: the example of OpenID Connect Core appendix A.3.
func TestAccessHash(t *testing.T) {
	const access = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
	got := issuer.AccessHash("RS256", access)
	if want := "77QmUPtjPfzWtF2AnpK9RQ"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := issuer.AccessHash("EdDSA", access); len(decode64(t, got)) != 32 {
		t.Errorf("Ed25519: got %s, want half a SHA-512", got)
	}
}

func TestCodeWithoutOpenID(t *testing.T) {
	r := start(t, server(t).URL(), applications)
	r.user("ann", "read")
	f := newFlow()
	f.scope = ""
	a := r.exchange(f, r.browser().code(f, "ann"))
	r.want("exchange", a, 200, "")
	if _, has := a.body["id_token"]; has || a.Scope != "read" {
		t.Errorf("got %s, want all scopes and no ID token", a.raw)
	}
	i := r.bearer("/userinfo", a.Access, "")
	r.want("userinfo", i, 403, "insufficient_scope")
	if c := i.header.Get("WWW-Authenticate"); c != `Bearer realm="quash", error="insufficient_scope", scope="openid"` {
		t.Errorf("userinfo: got challenge %q", c)
	}
	f.scope = "openid"
	a = r.exchange(f, r.browser().code(f, "ann"))
	if i := r.bearer("/userinfo", a.Access, ""); i.status != 200 || len(i.body) != 1 {
		t.Errorf("userinfo without profile: got %d %s, want sub alone", i.status, i.raw)
	}
	r.want("userinfo without a token", r.do(r.request("GET", "/userinfo", "", "")), 401, "invalid_token")
}

// TestIDTokenOpensNothing: typ tells the kinds apart (RFC 8725 §3.11, standards 8.12).
func TestIDTokenOpensNothing(t *testing.T) {
	r := start(t, server(t).URL(), applications, func(c *issuer.Config) { c.Clients[1].Audience = []string{"shop"} })
	r.user("ann", "read")
	f := newFlow()
	a := r.exchange(f, r.browser().code(f, "ann"))
	id := a.body["id_token"].(string)
	r.alive("the access token of an API that is named like the client", a.Access)
	r.dead("ID token", id)
	r.want("userinfo", r.bearer("/userinfo", id, ""), 401, "invalid_token")
	r.want("logout", r.bearer("/logout", id, ""), 401, "invalid_token")
	r.want("as a code", r.exchange(f, id), 400, "invalid_grant")
	r.want("as a refresh token", r.refresh(id), 400, "invalid_grant")
	r.alive("afterwards", a.Access)
}

func TestCodeIsBound(t *testing.T) {
	r := start(t, server(t).URL(), applications)
	r.user("ann", "read")
	f := newFlow()
	desk := flow{client: "desk", secret: deskSecret, redirect: "https://desk.example/cb", state: "x", scope: "openid", verifier: issuer.NewSecret()}
	b := r.browser()
	t.Run("refused, and kept", func(t *testing.T) {
		code := b.code(f, "ann")
		for _, name := range []string{"code_verifier", "redirect_uri", "client_id"} {
			r.want("no "+name, r.exchange(f, code, name, ""), 400, "invalid_request")
		}
		r.want("no code", r.exchange(f, code, "code", ""), 400, "invalid_request")
		r.want("unknown client", r.exchange(f, code, "client_id", "nope"), 400, "invalid_client")
		r.want("a confidential client without its secret", r.exchange(f, code, "client_id", "desk"), 400, "invalid_client")
		r.want("a disabled client", r.exchange(f, code, "client_id", "off"), 400, "invalid_client")
		r.want("not its grant", r.exchange(flow{client: "quash", redirect: f.redirect, verifier: f.verifier}, code), 400, "unauthorized_client")
		r.want("in the query", r.do(r.request("POST", "/token?code="+code, formType, "grant_type=authorization_code")), 400, "invalid_request")
		r.want("by GET", r.do(r.request("GET", "/token?grant_type=authorization_code&code="+code, "", "")), 405, "invalid_request")
		r.want("then", r.exchange(f, code), 200, "")
	})
	for what, try := range map[string]func(code string) answer{
		"another verifier": func(code string) answer { return r.exchange(f, code, "code_verifier", issuer.NewSecret()) },
		"the challenge": func(code string) answer {
			return r.exchange(f, code, "code_verifier", f.values().Get("code_challenge"))
		},
		"a short verifier":  func(code string) answer { return r.exchange(f, code, "code_verifier", f.verifier[:42]) },
		"a long verifier":   func(code string) answer { return r.exchange(f, code, "code_verifier", strings.Repeat("a", 129)) },
		"a verifier with !": func(code string) answer { return r.exchange(f, code, "code_verifier", f.verifier+"!") },
		"another redirect":  func(code string) answer { return r.exchange(f, code, "redirect_uri", "http://127.0.0.1/cb") },
		"a longer redirect": func(code string) answer { return r.exchange(f, code, "redirect_uri", f.redirect+"/") },
		"another client": func(code string) answer {
			return r.exchange(desk, code, "redirect_uri", f.redirect, "code_verifier", f.verifier)
		},
		"another client, all": func(code string) answer { return r.exchange(desk, code) },
	} {
		t.Run(what, func(t *testing.T) {
			code := b.code(f, "ann")
			r.want(what, try(code), 400, "invalid_grant")
			r.want("the right one, too late", r.exchange(f, code), 400, "invalid_grant")
		})
	}
	d := r.exchange(desk, b.code(desk, "ann"))
	r.want("confidential client", d, 200, "")
	if claims(t, d.Access)["aud"] != "https://desk.example" {
		t.Errorf("got %v, want the client's audience", claims(t, d.Access))
	}
	r.want("wrong secret", r.exchange(flow{client: "desk", secret: "no", redirect: desk.redirect, verifier: desk.verifier}, b.code(desk, "ann")), 401, "invalid_client")
	r.want("unknown code", r.exchange(f, issuer.NewSecret()), 400, "invalid_grant")
	if n := len(r.statements()); n != 0 {
		t.Errorf("got %d statements, want none: no session was ended", n)
	}
}

func TestCodeExpires(t *testing.T) {
	c := &stopped{at: time.Now()}
	r := start(t, server(t).URL(), applications, func(cfg *issuer.Config) {
		cfg.Now, cfg.MaxStaleness = c.now, 1000*time.Hour
	})
	r.user("ann", "read")
	f := newFlow()
	b := r.browser()
	code := b.code(f, "ann")
	r.set(c, c.now().Add(59*time.Second))
	a := r.exchange(f, code)
	r.want("in time", a, 200, "")
	for what, token := range map[string]string{"access token": a.Access, "ID token": a.body["id_token"].(string)} {
		if age := claimNumber(t, token, "iat") - claimNumber(t, token, "auth_time"); age < 58 {
			t.Errorf("%s: got a login %v s ago, want about 59", what, age)
		}
	}
	code = b.code(f, "ann")
	r.set(c, c.now().Add(61*time.Second))
	r.want("too late", r.exchange(f, code), 400, "invalid_grant")
}

// TestCodeReuse: RFC 6749 §4.1.2, RFC 9700 §4.5. Whoever shows it, and however wrongly.
func TestCodeReuse(t *testing.T) {
	r := start(t, server(t).URL(), applications)
	r.user("ann", "read")
	f := newFlow()
	for what, again := range map[string]func(code string) answer{
		"same client":    func(code string) answer { return r.exchange(f, code) },
		"wrong verifier": func(code string) answer { return r.exchange(f, code, "code_verifier", issuer.NewSecret()) },
	} {
		code := r.browser().code(f, "ann")
		a := r.exchange(f, code)
		r.want(what, a, 200, "")
		other := r.login("ann")
		r.want(what+": again", again(code), 400, "invalid_grant")
		r.dead(what+": access token", a.Access)
		r.want(what+": refresh", r.form("/token", "grant_type", "refresh_token", "refresh_token", a.Refresh, "client_id", "shop"), 400, "invalid_grant")
		r.alive(what+": another session", other.Access)
		if n := r.published(events.Session, a.Sid); n != 1 {
			t.Errorf("%s: got %d statements, want 1", what, n)
		}
		r.want(what+": a third time", again(code), 400, "invalid_grant")
		if n := r.published(events.Session, a.Sid); n != 1 {
			t.Errorf("%s: third use: got %d statements, want 1", what, n)
		}
	}
	for _, s := range r.statements() {
		if s.By != "system" || s.Reason != "authorization code used twice" {
			t.Errorf("got %+v, want by system with the reason", s)
		}
	}
}

// TestCodeRace: of many exchanges at once, on two replicas, one wins, and since the code is in two hands its session ends.
func TestCodeRace(t *testing.T) {
	nats := server(t).URL()
	r := start(t, nats, applications)
	two := startWith(t, nats, r.cfg)
	r.user("ann", "read")
	f := newFlow()
	for range 10 {
		code := r.browser().code(f, "ann")
		const n = 6
		answers := make([]answer, n)
		var wg sync.WaitGroup
		for k := range n {
			wg.Go(func() { answers[k] = []*rig{r, two}[k%2].exchange(f, code) })
		}
		wg.Wait()
		var won []answer
		for _, a := range answers {
			if a.status == 200 {
				won = append(won, a)
			} else {
				r.want("loser", a, 400, "invalid_grant")
			}
		}
		if len(won) != 1 {
			t.Fatalf("got %d winners, want 1", len(won))
		}
		r.want("the winner's refresh", r.form("/token", "grant_type", "refresh_token", "refresh_token", won[0].Refresh, "client_id", "shop"), 400, "invalid_grant")
		if s, err := issuer.SessionState(within(t), r.Issuer, won[0].Sid); s != "ended" || err != nil {
			t.Errorf("got session %q %v, want ended", s, err)
		}
		if n := r.published(events.Session, won[0].Sid); n != 1 {
			t.Errorf("got %d statements, want 1", n)
		}
	}
}

// TestCodeAfterRevocation: what ends between the login and the exchange gives no token, although the exchange is later.
func TestCodeAfterRevocation(t *testing.T) {
	r := start(t, server(t).URL(), applications)
	u := r.user("ann", "read")
	f := newFlow()
	revoke := func(s events.Scope, key string) func() error {
		return func() error {
			_, err := r.Revoke(within(t), events.Revocation{Scope: s, Key: key})
			return err
		}
	}
	for what, end := range map[string]func() error{
		"subject":  revoke(events.Subject, u.Sub),
		"client":   revoke(events.Client, "shop"),
		"issuer":   revoke(events.Issuer, ""),
		"password": func() error { return r.SetPassword(within(t), u.Sub, password, issuer.Cause{}) },
		"disable and enable": func() error {
			if err := r.Disable(within(t), u.Sub, issuer.Cause{}); err != nil {
				return err
			}
			return r.Enable(within(t), u.Sub)
		},
		"by another publisher": func() error {
			pub, err := events.NewPublisher(events.PublisherConfig{Conn: r.cfg.Conn})
			if err != nil {
				return err
			}
			gen, _, err := issuer.Mark(within(t), r.Issuer, events.Subject, u.Sub)
			if err != nil {
				return err
			}
			ack, err := pub.Publish(within(t), events.Revocation{Scope: events.Subject, Issuer: iss, Key: u.Sub, Gen: gen + 1, By: "policy"})
			if err != nil {
				return err
			}
			until(t, "the statement has arrived", func() bool { return r.Report().Sequence >= ack.Sequence })
			return nil
		},
	} {
		t.Run(what, func(t *testing.T) {
			code := r.browser().code(f, "ann")
			if err := end(); err != nil {
				t.Fatal(err)
			}
			r.want("exchange", r.exchange(f, code), 400, "invalid_grant")
			r.want("after a new login", r.exchange(f, r.browser().code(f, "ann")), 200, "")
		})
	}
	if err := r.Disable(within(t), u.Sub, issuer.Cause{}); err != nil {
		t.Fatal(err)
	}
}

// TestCodeAfterAChange: the exchange looks at the account as it is then, even before its sessions are ended.
func TestCodeAfterAChange(t *testing.T) {
	r := start(t, server(t).URL(), applications)
	u := r.user("ann", "read", "write")
	change := func(f func(*issuer.User)) {
		t.Helper()
		now, err := r.Users().Get(within(t), u.Sub)
		if err != nil {
			t.Fatal(err)
		}
		f(&now)
		if _, err := r.Users().Update(within(t), now); err != nil {
			t.Fatal(err)
		}
	}
	f := newFlow()
	f.scope = "openid read write"
	code := r.browser().code(f, "ann")
	change(func(u *issuer.User) { u.Scopes = []string{"read"} })
	if a := r.exchange(f, code); a.status != 200 || a.Scope != "openid read" || claim(t, a.Access, "scope") != "openid read" {
		t.Errorf("a scope taken away: got %d %s, want the rest", a.status, a.raw)
	}
	code = r.browser().code(f, "ann")
	change(func(u *issuer.User) { u.Disabled = true })
	r.want("disabled, nothing revoked yet", r.exchange(f, code), 400, "invalid_grant")
}

// TestCodeRacesWithRevocation: the revocation comes after the session is stored and before anybody has heard of it.
func TestCodeRacesWithRevocation(t *testing.T) {
	r := start(t, server(t).URL(), applications)
	u := r.user("ann", "read")
	f := newFlow()
	code := r.browser().code(f, "ann")
	issuer.SetFault(r.Issuer, func(step string) error {
		if step != "session" {
			return nil
		}
		issuer.SetFault(r.Issuer, nil)
		_, err := r.Revoke(context.Background(), events.Revocation{Scope: events.Subject, Key: u.Sub})
		return err
	})
	r.want("exchange", r.exchange(f, code), 400, "invalid_grant")
	r.want("again", r.exchange(f, code), 400, "invalid_grant")
}

// TestCodeAnswerLost: the session was stored and nobody told. The client cannot know; trying again ends what nobody holds.
func TestCodeAnswerLost(t *testing.T) {
	r := start(t, server(t).URL(), applications)
	u := r.user("ann", "read")
	f := newFlow()
	code := r.browser().code(f, "ann")
	issuer.SetFault(r.Issuer, func(step string) error {
		if step == "session" {
			return issuer.ErrUnavailable
		}
		return nil
	})
	r.want("exchange", r.exchange(f, code), 503, "temporarily_unavailable")
	issuer.SetFault(r.Issuer, nil)
	r.want("again", r.exchange(f, code), 400, "invalid_grant")
	admin := r.user("root", issuer.ScopeAdmin)
	if got := r.with("GET", "/admin/sessions?sub="+u.Sub, r.login(admin.Name).Access); got.status != 200 || strings.Contains(got.raw, `"sid"`) {
		t.Errorf("got %d %s, want no living session", got.status, got.raw)
	}
	r.want("from the beginning", r.exchange(f, r.browser().code(f, "ann")), 200, "")
}

// TestChallenge is the example of RFC 7636 appendix B.
func TestChallenge(t *testing.T) {
	if !issuer.ChallengeOf("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM") {
		t.Error("the verifier of appendix B does not make its challenge")
	}
}

func TestCodeRecordHoldsNoSecret(t *testing.T) {
	var l logs
	r := start(t, server(t).URL(), applications, func(c *issuer.Config) { c.Logger = l.logger() })
	r.user("ann", "read")
	f := newFlow()
	b := r.browser()
	p := b.open(f)
	b.fill(p, "ann", "a wrong secret password")
	code := b.code(f, "ann")
	v := newVandal(t, r.cfg.Conn)
	hash := sha256.Sum256([]byte(code))
	record := string(v.last("a." + base64.RawURLEncoding.EncodeToString(hash[:])).Data)
	if !strings.Contains(record, `"kind":"code"`) || strings.Contains(record, code) || strings.Contains(record, f.verifier) {
		t.Errorf("got record %q, want one of the code without the code", record)
	}
	a := r.exchange(f, code)
	r.want("exchange", a, 200, "")
	r.exchange(f, code)
	for what, secret := range map[string]string{"code": code, "verifier": f.verifier, "password": password, "wrong password": "a wrong secret password",
		"ticket": p.ticket(), "access token": a.Access, "refresh token": a.Refresh, "ID token": a.body["id_token"].(string), "cookie": b.cookies["__Host-quash-login"]} {
		if secret == "" || strings.Contains(l.String(), secret) || strings.Contains(l.String(), url.QueryEscape(secret)) {
			t.Errorf("the log has the %s (or there is none)", what)
		}
	}
}

// TestCodeOnAnyReplica: the page comes from one, the form goes to another, the code to a third.
func TestCodeOnAnyReplica(t *testing.T) {
	nats := server(t).URL()
	one := start(t, nats, applications)
	two, three := startWith(t, nats, one.cfg), startWith(t, nats, one.cfg)
	one.user("ann", "read")
	f := newFlow()
	b := one.browser()
	p := b.open(f)
	b.r = two
	done := b.fill(p, "ann", password)
	_, q := done.back(t)
	three.want("exchange", three.exchange(f, q.Get("code")), 200, "")
}

func TestDamagedCode(t *testing.T) {
	r := start(t, server(t).URL(), applications)
	r.user("ann", "read")
	f := newFlow()
	code := r.browser().code(f, "ann")
	hash := sha256.Sum256([]byte(code))
	newVandal(t, r.cfg.Conn).put("a."+base64.RawURLEncoding.EncodeToString(hash[:]), `{}`)
	r.want("exchange", r.exchange(f, code), 503, "temporarily_unavailable")
}
