package issuer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// TestRevokedAgainIsRenewed on every replica, also if it was left out.
func TestRevokedAgainIsRenewed(t *testing.T) {
	t.Parallel()
	c := &stopped{at: time.Now().Truncate(time.Second)}
	one := start(t, server(t).URL(), byHand(c)).settled()
	cfg := one.cfg
	cfg.Node = "two"
	two := startWith(t, one.nats, cfg).settled()
	both := func(f func(r *rig)) { f(one); f(two) }
	both(func(r *rig) { issuer.SetBounds(r.Issuer, 2, 2) })
	for _, kid := range []string{"a", "b", "c"} {
		c.set(c.now().Add(time.Second))
		one.stolen(kid)
	}
	both(func(r *rig) { r.jumped(); r.renew() })
	c.set(c.now().Add(time.Second))
	one.stolen("a")
	both(func(r *rig) {
		r.jumped()
		until(t, "it was reconciled", func() bool { return issuer.Reconciled(r.Issuer) })
	})
	c.set(c.now().Add(half))
	both(func(r *rig) { r.jumped() })
	two.renew()
	for kid, want := range map[string]int{"a": 3, "b": 1, "c": 2} {
		if got := len(two.about(kid)); got != want {
			t.Errorf("%s: %d statements, want %d", kid, got, want)
		}
	}
}

// TestKeysRevokedByOthersAreBounded: who may publish revokes the key that signs again and again.
func TestKeysRevokedByOthersAreBounded(t *testing.T) {
	t.Parallel()
	c, l := &stopped{at: time.Now().Truncate(time.Second)}, &logs{}
	r := start(t, server(t).URL(), byHand(c), func(cfg *issuer.Config) { cfg.Logger = l.logger() }).settled()
	r.user("ann")
	issuer.SetBounds(r.Issuer, 1, 2)
	p, err := events.NewPublisher(events.PublisherConfig{Conn: r.cfg.Conn, By: "policy", Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	asked := r.signingKid()
	r.stolen(asked)
	var heard []string
	for range 3 {
		c.set(c.now().Add(time.Second))
		kid := r.signingKid()
		heard = append(heard, kid)
		if _, err := p.Publish(within(t), events.Revocation{Issuer: iss, Scope: events.Key, Key: kid}); err != nil {
			t.Fatal(err)
		}
		until(t, "it lasts, and another one signs", func() bool { return r.lasting(kid) && r.signingKid() != kid })
	}
	want := func(what string, counts ...int) {
		t.Helper()
		r.set(c, c.now().Add(half))
		r.renew()
		for n, kid := range append([]string{asked}, heard...) {
			if got := len(r.about(kid)); got != counts[n] {
				t.Errorf("%s, key %d: %d statements, want %d", what, n, got, counts[n])
			}
		}
	}
	want("the oldest is left out", 2, 1, 2, 2)
	r.stolen(heard[0]) // matters
	r.jumped()
	until(t, "it was reconciled", func() bool { return issuer.Reconciled(r.Issuer) })
	want("asked for", 3, 3, 3, 3)
	if got := strings.Count(l.String(), "too many keys of this issuer were revoked by others"); got != 1 {
		t.Errorf("said %d times, want once", got)
	}
}
