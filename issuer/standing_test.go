package issuer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// say publishes a statement about a key with the TTLs of its publisher.
func (r *rig) say(kid string, until time.Time, ttl ...string) {
	r.t.Helper()
	m := nats.NewMsg(events.SubjectFor(events.Key))
	m.Data = fmt.Appendf(nil, `{"v":1,"id":"%s","iss":"%s","scope":"key","key":"%s","until":%d,"at":%d,"by":"policy"}`,
		events.NewID(), iss, kid, until.Unix(), time.Now().UnixMilli())
	m.Header["Nats-TTL"] = ttl
	m.Header.Set(nats.MsgIdHdr, events.NewID())
	if _, err := r.cfg.Conn.RequestMsg(m, deadline); err != nil {
		r.t.Fatal(err)
	}
	r.jumped()
}

// TestNobodySilencesARenewal: what others say about a revoked key counts for as long as the stream holds it, and if it is about the whole key.
func TestNobodySilencesARenewal(t *testing.T) {
	t.Parallel()
	for name, say := range map[string]func(r *rig, kid string, c *stopped){
		"a far end that the stream does not wait for": func(r *rig, kid string, _ *stopped) {
			r.say(kid, time.Now().AddDate(10, 0, 0), "1")
		},
		"an end that is not there":    func(r *rig, kid string, _ *stopped) { r.say(kid, time.Now().AddDate(10, 0, 0)) },
		"two ends":                    func(r *rig, kid string, _ *stopped) { r.say(kid, time.Now().AddDate(10, 0, 0), "1", "360000") },
		"a far end":                   func(r *rig, kid string, _ *stopped) { r.say(kid, time.Now().AddDate(10, 0, 0), "360000000") },
		"only the tokens of the past": beforeNow,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &stopped{at: time.Now().Truncate(time.Second)}
			r := start(t, server(t).URL(), byHand(c)).settled()
			r.user("ann")
			kid := r.signingKid()
			r.stolen(kid)
			begin := c.now()
			for n := uint64(1); n <= 3; n++ {
				say(r, kid, c)
				at := begin.Add(time.Duration(n) * half)
				r.set(c, at.Add(-half/2))
				issuer.SetAhead(r.Issuer, c.now().Sub(begin))
				if name != "a far end" { // which would be there, for as long as the stream keeps anything
					say(r, kid, c)
				}
				r.set(c, at)
				issuer.SetAhead(r.Issuer, c.now().Sub(begin))
				if got := r.renew(); got != n {
					t.Fatalf("after %v: %d renewals, want %d", at.Sub(begin), got, n)
				}
			}
		})
	}
}

func beforeNow(r *rig, kid string, c *stopped) {
	r.t.Helper()
	p, err := events.NewPublisher(events.PublisherConfig{Conn: r.cfg.Conn, By: "policy", Now: c.now})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := p.Publish(within(r.t), events.Revocation{Issuer: iss, Scope: events.Key, Key: kid, Before: c.now()}); err != nil {
		r.t.Fatal(err)
	}
	r.holds(kid)
}

// TestOthersStatementsSpareARenewal that stand as long as ours would; also those that an issuer reads when it starts.
func TestOthersStatementsSpareARenewal(t *testing.T) {
	t.Parallel()
	c := &stopped{at: time.Now().Truncate(time.Second)}
	r := start(t, server(t).URL(), byHand(c)).settled()
	r.user("ann")
	kid := r.signingKid()
	r.stolen(kid)
	r.set(c, c.now().Add(half))
	issuer.SetAhead(r.Issuer, half)
	r.say(kid, c.now().Add(time.Hour), "3600")
	if got := r.renew(); got != 0 {
		t.Errorf("%d renewals of what has just been said, want none", got)
	}
	cfg := r.cfg
	r.stop()
	c.set(time.Now())
	r = startWith(t, r.nats, cfg).settled()
	if got := r.renew(); got != 0 {
		t.Errorf("%d renewals of what the stream holds at the start, want none", got)
	}
	issuer.SetAhead(r.Issuer, 0)
	r.set(c, time.Now().Add(half))
	if got := r.renew(); got != 1 {
		t.Errorf("%d renewals of what is about to end, want one", got)
	}
}
