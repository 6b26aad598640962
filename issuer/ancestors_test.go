package issuer_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// erase takes a session's record away, as the server does at the end of its life.
func (v vandal) erase(sid string) {
	v.t.Helper()
	v.put(issuer.SessionKey(sid), "", "KV-Operation", "DEL", "Nats-TTL", "1s")
}

// TestSituation5_EndOfAForgottenIdentifier: an identifier from so long ago that its record is gone still ends the login, however
// its end is asked for.
func TestSituation5_EndOfAForgottenIdentifier(t *testing.T) {
	nats := server(t)
	r := start(t, nats.URL(), withCookies)
	startWith(t, nats.URL(), r.cfg)
	r.user("ann")
	r.user("root", issuer.ScopeAdmin)
	admin, v := r.login("root").Access, newVandal(t, nats.Connect(t))
	publisher, err := events.NewPublisher(events.PublisherConfig{Conn: nats.Connect(t)})
	if err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func(b *tab, sid string){
		"operator": func(b *tab, sid string) { b.want("revoke", r.revoke(admin, "session", sid), 200, "") },
		"herself": func(b *tab, sid string) {
			req := b.request("DELETE", "/sessions/"+sid, "", "")
			b.want("DELETE", b.copy(nil).send(req), 200, "")
		},
		"stream": func(_ *tab, sid string) {
			_, err := publisher.Publish(within(t), events.Revocation{Issuer: iss, Scope: events.Session, Key: sid, By: "admin"})
			if err != nil {
				t.Fatal(err)
			}
		},
	} {
		b, other := r.tab(), r.tab()
		first := b.login("ann")
		bystander := other.login("ann")
		b.refresh()
		v.erase(first.Sid)
		last := b.refresh()
		dry := r.bearer("/admin/revocations", admin, `{"scope":"session","key":"`+first.Sid+`","dry_run":true}`)
		if dry.body["sessions"] != 1.0 {
			t.Errorf("%s: the preview is %s, want the one session", name, dry.raw)
		}
		end(b, first.Sid)
		until(t, name+": the heir ends", func() bool { return b.state(last.Sid) == "ended" })
		until(t, name+": it is published", func() bool { return r.published(events.Session, last.Sid) == 1 })
		r.ends(name+": its access token", b.access()) // of two replicas either ends it
		b.want(name+": refresh", b.refresh(), 400, "invalid_grant")
		other.got(name+": her other browser goes on", other.refresh())
		if s := r.published(events.Session, bystander.Sid); s != 1 {
			t.Errorf("%s: %d statements about the other browser's session, want that of its renewal", name, s)
		}
	}
}

// TestSituation5_ForgottenByNobody: while the statement about a renewal lives, so does the record that says it was one; else a
// replica that reads the stream again would take it for the end of the login.
func TestSituation5_ForgottenByNobody(t *testing.T) {
	nats := server(t)
	r := start(t, nats.URL(), withCookies, func(c *issuer.Config) {
		c.RefreshIdle, c.AccessLife, c.Retention = 10*time.Minute, 10*time.Minute, events.Retention{MaxTokenLife: 48 * time.Hour}
	})
	r.user("ann")
	b, v := r.tab(), newVandal(t, nats.Connect(t))
	first := b.login("ann")
	heir := b.refresh()
	life := func(key string) time.Duration {
		t.Helper()
		seconds, err := strconv.Atoi(strings.TrimSuffix(v.last(key).Header.Get("Nats-TTL"), "s"))
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		return time.Duration(seconds) * time.Second
	}
	if got := life(issuer.SessionKey(first.Sid)); got < 48*time.Hour {
		t.Errorf("the record of a renewed session is forgotten after %v, its statement after more than 48h", got)
	}
	if family, newest := life(issuer.FamilyKey(first.Sid)), life(issuer.SessionKey(heir.Sid)); family < newest {
		t.Errorf("the family is forgotten after %v, the session that lives after %v", family, newest)
	}
	if issuer.FamilyKey(first.Sid) != issuer.FamilyKey(heir.Sid) || first.Sid == heir.Sid {
		t.Errorf("%s and its heir %s: got families of their own or one identifier", first.Sid, heir.Sid)
	}
	// A session of nobody has no family, and a login without renewals neither: both are answered.
	for _, sid := range []string{"AAAAAAAAAAAAAAAAAAAAAA", "elsewhere"} {
		if _, err := r.Revoke(within(t), events.Revocation{Scope: events.Session, Key: sid}); err != nil {
			t.Errorf("the end of %s: got %v, want none", sid, err)
		}
	}
}
