package issuer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// odd publishes a statement as another publisher may: by and actor as no publisher of ours does.
func (r *rig) odd(scope, members, by, actor string) (id string) {
	r.t.Helper()
	id = events.NewID()
	m := nats.NewMsg("quash.v1.session-revoked." + scope)
	if !strings.Contains(members, "until") {
		members += fmt.Sprintf(`,"until":%d`, time.Now().Add(time.Hour).Unix())
	}
	m.Data = fmt.Appendf(nil, `{"v":1,"id":"%s","iss":"%s","scope":"%s",%s,"at":%d%s,"actor":"%s"}`,
		id, iss, scope, members, time.Now().UnixMilli(), by, actor)
	m.Header.Set("Nats-TTL", "3600")
	a, err := r.cfg.Conn.RequestMsg(m, deadline)
	if err != nil || strings.Contains(string(a.Data), "error") {
		r.t.Fatalf("publish: got %s %v", a.Data, err)
	}
	return id
}

// oddTexts are accepted by readers, and refused by publishers.
var oddTexts = map[string]struct{ by, actor string }{
	"unknown by": {`,"by":"scanner"`, "x"},
	"no by":      {"", "x"},
	"long actor": {`,"by":"admin"`, strings.Repeat("ä", 300)},
}

// behind publishes more statements than are reconciled at once, and waits until the last one is in its record.
func (r *rig) behind(p *events.Publisher, what string) {
	r.t.Helper()
	last := ""
	for n := range 20 {
		last = fmt.Sprintf("%s %d", what, n)
		if _, err := p.Publish(within(r.t), events.Revocation{Issuer: iss, Scope: events.Client, Key: last}); err != nil {
			r.t.Fatal(err)
		}
	}
	until(r.t, "the statements behind it are in the records: "+what, func() bool {
		_, cutoff, err := issuer.Mark(r.t.Context(), r.Issuer, events.Client, last)
		return err == nil && cutoff > 0
	})
}

// TestOddStatementHoldsNothingUp: about our key, and about a session that lives on as another one. Both make the issuer write it again.
func TestOddStatementHoldsNothingUp(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), withCookies)
	r.user("ann")
	p, err := events.NewPublisher(events.PublisherConfig{Conn: r.cfg.Conn, By: "policy"})
	if err != nil {
		t.Fatal(err)
	}
	for what, o := range oddTexts {
		b := r.tab()
		first := b.login("ann")
		heir := b.refresh()
		kid := issuer.KeyID(r.Issuer, b.access())
		r.odd("session", `"key":"`+first.Sid+`"`, o.by, o.actor)
		r.behind(p, what+" about a session")
		until(t, what+": the heir ends", func() bool { return b.state(heir.Sid) == "ended" })
		r.odd("key", `"key":"`+kid+`"`, o.by, o.actor)
		r.behind(p, what+" about a key")
		until(t, what+": it lasts", func() bool { return r.lasting(kid) })
	}
}

// TestStatementThatCannotBeWrittenHoldsNothingUp, whatever the reason; it is not forgotten.
func TestStatementThatCannotBeWrittenHoldsNothingUp(t *testing.T) {
	t.Parallel()
	l := &logs{}
	r := start(t, server(t).URL(), withCookies, func(c *issuer.Config) { c.Logger = l.logger() })
	r.user("ann")
	p, err := events.NewPublisher(events.PublisherConfig{Conn: r.cfg.Conn, By: "policy"})
	if err != nil {
		t.Fatal(err)
	}
	b := r.tab()
	first := b.login("ann")
	heir := b.refresh()
	issuer.SetFault(r.Issuer, func(at string) error {
		if at == "publish" {
			return errCrash
		}
		return nil
	})
	id := r.odd("session", `"key":"`+first.Sid+`"`, `,"by":"admin"`, "x")
	r.behind(p, "unwritable")
	if got := b.state(heir.Sid); got != "ending" {
		t.Errorf("the heir is %s, want ending", got)
	}
	if !strings.Contains(l.String(), "cannot write a statement into its record") || !strings.Contains(l.String(), id) {
		t.Errorf("the log does not name the statement:\n%s", l)
	}
	issuer.SetFault(r.Issuer, func(string) error { return nil })
	until(t, "the heir ends", func() bool { return b.state(heir.Sid) == "ended" })
}
