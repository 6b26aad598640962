package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// mintOnce asks the issuer for a one-time token, as an operator.
func (w *world) mintOnce(user string, more ...string) reply {
	w.t.Helper()
	body := map[string]any{"username": user, "scope": "password:reset", "reason": "forgotten"}
	for i := 0; i+1 < len(more); i += 2 {
		body[more[i]] = json.RawMessage(more[i+1])
	}
	text, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	r := w.json("POST", "/admin/one-time", w.admin(), string(text))
	if r.status != 200 {
		w.t.Fatalf("mint a one-time token for %s: %s", user, r)
	}
	return r
}

// redeem shows a token to a node that accepts one-time tokens, again if the node was too busy to find out in time: what
// it could not find out it has kept.
func (w *world) redeem(node int, token string) (r reply) {
	w.t.Helper()
	w.eventually("the node knows whether the token is used", func() bool { r = w.redeemOnce(node, token); return r.status != 503 })
	return r
}

func (w *world) redeemOnce(node int, token string) reply {
	w.t.Helper()
	return w.do(face{w, w.node(node)}.request("POST", "/once", token, "", ""))
}

const usedUp = `Bearer realm="api", error="invalid_token", error_description="The access token was already used"`

func (w *world) wantUsed(what string, r reply) {
	w.t.Helper()
	if r.status != 401 || r.header.Get("WWW-Authenticate") != usedUp {
		w.t.Errorf("%s: got %s, want 401 and %s", what, r, usedUp)
	}
}

// TestSituation8_OneTimeToken: a token for a link is good for one request, whichever of three nodes it reaches and
// however many at once; after restarts of everything it stays used; while NATS is away it is not used up.
func TestSituation8_OneTimeToken(t *testing.T) {
	t.Parallel()
	broker := natstest.StartProcess(t, t.TempDir(), 0)
	w := newWorld(t, withNATS(broker.URL()), withNode("--leeway", "0s"), withNode(), withNode())

	a := w.mintOnce("ann")
	if a.text("token_type") != "Bearer" || a.seconds("expires_in") < 500 || a.text("jti") == "" || a.text("refresh_token") != "" {
		t.Errorf("the answer has members %v", members(a))
	}
	once := a.text("access_token")
	// It opens nothing else, and that does not use it up.
	for k := range w.nodes {
		if r := w.call(k, once); r.status != 401 || !strings.Contains(r.header.Get("WWW-Authenticate"), "invalid_token") {
			t.Errorf("GET /secure of node %d: got %s, want 401 invalid_token", k, r)
		}
	}
	if r := w.json("POST", "/logout", once, ""); r.status != 401 {
		t.Errorf("the issuer's own endpoint: got %s, want 401", r)
	}
	if r := w.redeem(0, w.login("ann").Access); r.status != 401 {
		t.Errorf("an ordinary token at POST /once: got %s, want 401", r)
	}

	// 48 requests at once on three nodes: one wins.
	var all sync.WaitGroup
	got := make([]reply, 48)
	for n := range got {
		all.Go(func() { got[n] = w.redeem(n%3, once) })
	}
	all.Wait()
	won := 0
	for _, r := range got {
		if r.status == 200 {
			won++
			if r.text("jti") != a.text("jti") {
				t.Errorf("the handler saw jti %q, want %q", r.text("jti"), a.text("jti"))
			}
			continue
		}
		w.wantUsed("a loser", r)
	}
	if won != 1 {
		t.Errorf("%d of %d requests got through, want 1", won, len(got))
	}

	// It stays used when everything has been killed and started again.
	broker.Kill()
	broker.Restart(t)
	w.issuers[0].ready()
	for k, n := range w.nodes {
		n.kill()
		n.start()
		n.ready()
		w.wantUsed(fmt.Sprintf("node %d after the restart", k), w.redeem(k, once))
	}

	// NATS away: 503, and the token is still good.
	w.eventually("the issuer has heard of NATS again", func() bool { return w.tryLogin("ann", w.password("ann")).status == 200 })
	away := w.mintOnce("ann").text("access_token")
	broker.Kill()
	if r := w.redeemOnce(1, away); r.status != 503 || r.header.Get("Retry-After") == "" {
		t.Errorf("without NATS: got %s, want 503 with Retry-After", r)
	}
	broker.Restart(t)
	w.issuers[0].ready()
	if r := w.redeem(1, away); r.status != 200 {
		t.Errorf("a token of before the outage: got %s, want 200", r)
	}
	w.wantUsed("the same on another node", w.redeem(2, away))
	w.eventually("the issuer has, too", func() bool { return w.tryLogin("ann", w.password("ann")).status == 200 })

	// A token that is over is over, used or not: revoked by its name, expired, its user disabled.
	gone := w.mintOnce("ann")
	if r := w.json("POST", "/admin/revocations", w.admin(), `{"scope":"token","key":"`+gone.text("jti")+`","reason":"link withdrawn"}`); r.status != 200 {
		t.Fatalf("revoke it: %s", r)
	}
	short := w.mintOnce("ann", "expires_in", "1")
	revoked, ordinary := w.mintOnce("bob"), w.login("bob").Access
	claims, err := claimsOf(revoked.text("access_token"))
	if err != nil {
		t.Fatal(err)
	}
	if r := w.json("POST", "/admin/revocations", w.admin(), `{"scope":"subject","key":"`+claims.Sub+`","reason":"fraud"}`); r.status != 200 {
		t.Fatalf("revoke the user: %s", r)
	}
	w.wants(0, ordinary, 401) // the newest of the two statements is in force at this node
	for what, r := range map[string]reply{"revoked": w.redeem(0, gone.text("access_token")), "its user revoked": w.redeem(0, revoked.text("access_token"))} {
		if r.status != 401 || !strings.Contains(r.header.Get("WWW-Authenticate"), "The access token was revoked") {
			t.Errorf("%s: got %s, want 401 revoked", what, r)
		}
	}
	<-time.After(2 * time.Second) // its own life, not a guess
	if r := w.redeem(0, short.text("access_token")); r.status != 401 || !strings.Contains(r.header.Get("WWW-Authenticate"), "The access token expired") {
		t.Errorf("expired: got %s, want 401 expired", r)
	}

	// What is stored tells nothing, and is there once for each token that was used.
	stored := 0
	w.messages(events.OnceStream, func(m *jetstream.RawStreamMsg) {
		stored++
		if strings.Contains(m.Subject+string(m.Data), a.text("jti")) {
			t.Error("the stream holds a jti in clear")
		}
	})
	if stored != 2 {
		t.Errorf("%d tokens were used according to the stream, want 2", stored)
	}
}

func members(r reply) []string {
	var names []string
	for name := range r.body {
		names = append(names, name)
	}
	return names
}
