package issuer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
)

const kv = "$KV.QUASH_ISSUER."

// vandal writes into the issuer's bucket.
type vandal struct {
	t  testing.TB
	nc *nats.Conn
	js jetstream.JetStream
}

func newVandal(t testing.TB, nc *nats.Conn) vandal {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return vandal{t, nc, js}
}

func (v vandal) last(key string) *jetstream.RawStreamMsg {
	v.t.Helper()
	s, err := v.js.Stream(within(v.t), "KV_QUASH_ISSUER")
	if err != nil {
		v.t.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(within(v.t), kv+key)
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		v.t.Fatal(err)
	}
	if m == nil {
		m = &jetstream.RawStreamMsg{}
	}
	return m
}

func (v vandal) put(key, value string, header ...string) {
	v.t.Helper()
	m := nats.NewMsg(kv + key)
	m.Data = []byte(value)
	for n := 0; n < len(header); n += 2 {
		m.Header.Set(header[n], header[n+1])
	}
	if _, err := v.js.PublishMsg(within(v.t), m); err != nil {
		v.t.Fatal(err)
	}
}

// reply has the server answer a question into a record.
func (v vandal) reply(key string) {
	v.t.Helper()
	if err := v.nc.PublishMsg(&nats.Msg{Subject: "$JS.API.STREAM.INFO." + events.StreamName, Reply: kv + key}); err != nil {
		v.t.Fatal(err)
	}
}

// forget takes the stream away, as if all statements were so old that it has forgotten them.
func (v vandal) forget() {
	v.t.Helper()
	if err := v.js.DeleteStream(within(v.t), events.StreamName); err != nil {
		v.t.Fatal(err)
	}
}

// TestReplyIntoARecord: an answer of the server in the place of a mark is no pardon.
func TestReplyIntoARecord(t *testing.T) {
	t.Parallel()
	nats := server(t)
	l := &logs{}
	r := start(t, nats.URL(), func(c *issuer.Config) { c.Logger = l.logger() })
	u := r.user("bob")
	stolen := r.login("bob")
	if _, err := r.Revoke(within(t), events.Revocation{Scope: events.Subject, Key: u.Sub}); err != nil {
		t.Fatal(err)
	}
	v := newVandal(t, nats.Connect(t))
	key := issuer.MarkKey(events.Subject, u.Sub)
	was := v.last(key).Sequence
	v.reply(key)
	until(t, "the answer is stored", func() bool { return v.last(key).Sequence > was })
	r.want("login", r.tryLogin("bob", password), 503, "temporarily_unavailable")
	r.stop()
	v.forget()
	r = startWith(t, nats.URL(), r.cfg)
	r.want("refresh of a revoked session", r.refresh(stolen.Refresh), 503, "temporarily_unavailable")
	if !strings.Contains(l.String(), `"ERROR"`) || !strings.Contains(l.String(), key) {
		t.Errorf("the log does not name the record %s:\n%s", key, l)
	}
}

// TestForeignRecords: what is not exactly what the issuer writes is refused, never read as empty.
func TestForeignRecords(t *testing.T) {
	t.Parallel()
	nats := server(t)
	r := start(t, nats.URL(), func(c *issuer.Config) { c.LoginBurst = 1000 })
	v := newVandal(t, nats.Connect(t))
	u, other := r.user("ann"), r.user("bob")
	for _, sub := range []string{u.Sub, other.Sub} {
		if _, err := r.Revoke(within(t), events.Revocation{Scope: events.Subject, Key: sub}); err != nil {
			t.Fatal(err)
		}
	}
	s, stranger := r.login("ann"), r.login("bob")
	gen := fmt.Sprintf(`"gen":%.0f,`, claimNumber(t, s.Access, "gen"))
	for _, one := range []struct {
		key, neighbour, required string
		deletable                bool
		try                      func() answer
	}{
		{issuer.MarkKey(events.Subject, u.Sub), issuer.MarkKey(events.Subject, other.Sub), gen, false, func() answer { return r.refresh(s.Refresh) }},
		{issuer.SessionKey(s.Sid), issuer.SessionKey(stranger.Sid), `,"state":"live"`, true, func() answer { return r.refresh(s.Refresh) }},
		{issuer.UserKey(u.Sub), issuer.UserKey(other.Sub), `"name":"ann",`, false, func() answer { return r.tryLogin("ann", password) }},
		{issuer.NameKey("ann"), issuer.NameKey("bob"), `,"sub":"` + u.Sub + `"`, false, func() answer { return r.tryLogin("ann", password) }},
	} {
		good := string(v.last(one.key).Data)
		change := func(old, new string) string {
			if !strings.Contains(good, old) {
				t.Fatalf("%s has no %s", good, old)
			}
			return strings.Replace(good, old, new, 1)
		}
		for name, bad := range map[string]string{
			"empty":          "",
			"empty object":   "{}",
			"not JSON":       "\x00",
			"API answer":     `{"type":"io.nats.jetstream.api.v1.stream_info_response","total":0,"offset":0}`,
			"PubAck":         `{"stream":"QUASH","seq":7}`,
			"of another key": string(v.last(one.neighbour).Data),
			"no kind":        change(`"kind"`, `"Kind"`),
			"other kind":     change(`"kind":"`, `"kind":"x`),
			"no version":     change(`"v":1,`, ``),
			"later version":  change(`"v":1`, `"v":2`),
			"no key":         change(`"key"`, `"Key"`),
			"unknown member": change(`"v":1`, `"v":1,"x":1`),
			"twice":          change(`"v":1`, `"v":1,"v":1`),
			"trailing":       good + "{}",
			"member missing": change(one.required, ""),
		} {
			v.put(one.key, bad)
			r.want(one.key+", "+name, one.try(), 503, "temporarily_unavailable")
		}
		if !one.deletable {
			v.put(one.key, "", "KV-Operation", "DEL")
			r.want(one.key+", deleted", one.try(), 503, "temporarily_unavailable")
		}
		v.put(one.key, good)
		a := one.try()
		if r.want(one.key+", restored", a, 200, ""); a.status == 200 {
			s = a
		}
	}
	r.want("the neighbour", r.refresh(stranger.Refresh), 200, "")
}

// TestForeignCursorAndPointer decide nothing: they are not believed, logged, and replaced.
func TestForeignCursorAndPointer(t *testing.T) {
	t.Parallel()
	nats := server(t)
	l := &logs{}
	r := start(t, nats.URL(), func(c *issuer.Config) { c.Logger = l.logger() })
	u := r.user("ann")
	s := r.login("ann")
	v := newVandal(t, nats.Connect(t))
	r.stop()
	// A cursor far ahead would spare the issuer a statement that is in no record yet.
	v.put(issuer.CursorKey, `{"seq":1000000,"time":99999999999999}`)
	pointer := issuer.PointerKey(issuer.MarkKey(events.Subject, u.Sub))
	v.put(pointer, "1")
	p, err := events.NewPublisher(events.PublisherConfig{Conn: v.nc})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(within(t), events.Revocation{Issuer: iss, Scope: events.Client, Key: "quash"}); err != nil {
		t.Fatal(err)
	}
	r = startWith(t, nats.URL(), r.cfg)
	until(t, "the statement is in the mark", func() bool {
		_, cutoff, err := issuer.Mark(t.Context(), r.Issuer, events.Client, "quash")
		return err == nil && cutoff > 0
	})
	r.want("refresh", r.refresh(s.Refresh), 400, "invalid_grant")
	until(t, "the cursor is replaced", func() bool { return bytes.Contains(v.last(issuer.CursorKey).Data, []byte(`"kind":"cursor"`)) })
	until(t, "the pointer is gone", func() bool {
		n, err := issuer.Pointers(t.Context(), r.Issuer)
		return err == nil && n == 0
	})
	for _, key := range []string{issuer.CursorKey, pointer} {
		if !strings.Contains(l.String(), key+": ") {
			t.Errorf("the log does not name %s:\n%s", key, l)
		}
	}
}

// TestForeignRecordHoldsNobodyUp: a statement about a damaged mark waits for its repair, and those behind it do not.
func TestForeignRecordHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	nats := server(t)
	r := start(t, nats.URL())
	v := newVandal(t, nats.Connect(t))
	ann, bob := r.user("ann"), r.user("bob")
	if _, err := r.Revoke(within(t), events.Revocation{Scope: events.Subject, Key: ann.Sub}); err != nil {
		t.Fatal(err)
	}
	key := issuer.MarkKey(events.Subject, ann.Sub)
	good := string(v.last(key).Data)
	v.put(key, "{}")
	p, err := events.NewPublisher(events.PublisherConfig{Conn: v.nc})
	if err != nil {
		t.Fatal(err)
	}
	const high = 1 << 40
	subjects := []string{ann.Sub}
	for n := range 20 { // more than are written at once
		subjects = append(subjects, fmt.Sprintf("nobody-%d", n))
	}
	for _, sub := range append(subjects, bob.Sub) {
		if _, err := p.Publish(within(t), events.Revocation{Issuer: iss, Scope: events.Subject, Key: sub, Gen: high}); err != nil {
			t.Fatal(err)
		}
	}
	gen := func(u issuer.User) uint64 {
		g, _, _ := issuer.Mark(t.Context(), r.Issuer, events.Subject, u.Sub)
		return g
	}
	until(t, "bob's mark has his statement", func() bool { return gen(bob) == high })
	v.put(key, good)
	until(t, "ann's restored mark has hers", func() bool { return gen(ann) == high })
}

// TestRestoredMarkCoversWhatCameAfterIt: a backup's record knows nothing of the generations that were given out since.
func TestRestoredMarkCoversWhatCameAfterIt(t *testing.T) {
	t.Parallel()
	nats, c := server(t), &clock{}
	r := start(t, nats.URL(), func(cfg *issuer.Config) { cfg.Now = c.now })
	v := newVandal(t, nats.Connect(t))
	ann := r.user("ann")
	revoke := func() {
		t.Helper()
		if _, err := r.Revoke(within(t), events.Revocation{Scope: events.Subject, Key: ann.Sub}); err != nil {
			t.Fatal(err)
		}
	}
	revoke()
	key := issuer.MarkKey(events.Subject, ann.Sub)
	backup := string(v.last(key).Data)
	revoke()
	lost := r.login("ann")
	v.put(key, backup)
	r.advance(c, 5*time.Second)
	r.alive("what came after the backup", lost.Access)
	revoke()
	r.dead("what came after the backup", lost.Access)
}

// TestRollupHeaderIsRefused: copied into the bucket, a message with this header would empty it.
func TestRollupHeaderIsRefused(t *testing.T) {
	t.Parallel()
	nats := server(t)
	r := start(t, nats.URL())
	r.user("ann")
	v := newVandal(t, nats.Connect(t))
	m := natsMsg(kv+"x", "Nats-Rollup", "all")
	if _, err := v.js.PublishMsg(within(t), m); err == nil {
		t.Error("got a stored rollup, want an error")
	}
	r.login("ann")
}

func natsMsg(subject, name, value string) *nats.Msg {
	return &nats.Msg{Subject: subject, Header: nats.Header{name: []string{value}}}
}

// twoAccounts: one for the stream, one for the issuer's buckets.
func twoAccounts(t testing.TB) *natstest.Server {
	t.Helper()
	path := filepath.Join(t.TempDir(), "accounts.conf")
	text := `accounts {
		STREAM: { jetstream: enabled, users: [ { user: stream, password: s } ] }
		RECORDS: { jetstream: enabled, users: [ { user: records, password: r } ] }
	}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return natstest.Start(t, natstest.WithConfig(func(o *natsd.Options) {
		parsed, err := natsd.ProcessConfigFile(path)
		if err != nil {
			t.Fatal(err)
		}
		o.Accounts, o.Users = parsed.Accounts, parsed.Users
	}))
}

// TestRecordsInAnAccountOfTheirOwn: the issuer works, and nobody in the stream's account reaches a record.
func TestRecordsInAnAccountOfTheirOwn(t *testing.T) {
	t.Parallel()
	srv := twoAccounts(t)
	records := srv.Connect(t, nats.UserInfo("records", "r"))
	evil := newVandal(t, srv.Connect(t, nats.UserInfo("stream", "s")))
	url := strings.Replace(srv.URL(), "nats://", "nats://stream:s@", 1)
	r := start(t, url, func(c *issuer.Config) { c.Records = records })
	u := r.user("bob")
	stolen := r.login("bob")
	if _, err := r.Revoke(within(t), events.Revocation{Scope: events.Subject, Key: u.Sub}); err != nil {
		t.Fatal(err)
	}
	r.dead("the access token", stolen.Access)
	fresh := r.login("bob")
	r.want("refresh", r.refresh(fresh.Refresh), 200, "")
	for js, want := range map[jetstream.JetStream][]string{
		evil.js:                  {events.StreamName, events.OnceStream},
		newVandal(t, records).js: {"KV_QUASH_ISSUER", "KV_QUASH_THROTTLE"},
	} {
		var got []string
		names := js.StreamNames(within(t))
		for n := range names.Name() {
			got = append(got, n)
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("got streams %v, want %v", got, want)
		}
	}

	key := issuer.MarkKey(events.Subject, u.Sub)
	was := newVandal(t, records).last(key).Sequence
	arrived, err := evil.nc.SubscribeSync(kv + key)
	if err != nil {
		t.Fatal(err)
	}
	evil.reply(key)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if _, err := arrived.NextMsgWithContext(ctx); err != nil {
		t.Fatalf("the server's answer did not reach the subject in the stream's account: %v", err)
	}
	if now := newVandal(t, records).last(key).Sequence; now != was {
		t.Errorf("the mark was written from the other account: revision %d, was %d", now, was)
	}
	r.stop()
	if records.IsClosed() {
		t.Error("the issuer closed Records")
	}
	evil.forget()
	r = startWith(t, url, r.cfg)
	r.want("refresh of the revoked session, the stream empty", r.refresh(stolen.Refresh), 400, "invalid_grant")
	r.login("bob")

	records.Close() // not ready, and nothing half done, without either connection
	if err := r.Ready(); !errors.Is(err, issuer.ErrUnavailable) {
		t.Errorf("Ready without Records: got %v, want ErrUnavailable", err)
	}
	r.want("login without Records", r.tryLogin("bob", password), 503, "temporarily_unavailable")
}

// TestPoisonStatement: one statement that makes no sense does not keep the others out.
func TestPoisonStatement(t *testing.T) {
	t.Parallel()
	l := &logs{}
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.Logger = l.logger() })
	r.user("ann")
	s := r.login("ann")
	poison := events.Revocation{ID: "p", Issuer: "https://other.example", Scope: events.Client, Key: "x", Before: time.Unix(0, 0), Until: time.Now().Add(time.Minute)}
	good := events.Revocation{ID: "g", Issuer: iss, Scope: events.Session, Key: s.Sid, Until: time.Now().Add(time.Minute)}
	at := time.Now()
	for n := range 2 {
		err := issuer.Apply(within(t), r.Issuer, events.Event{Revocation: poison, Sequence: 1 << 40, Time: at},
			events.Event{Revocation: good, Sequence: 1<<40 + 1, Time: at})
		if err != nil {
			t.Fatalf("batch %d: got %v, want nil", n, err)
		}
	}
	r.dead("the session of the statement behind it", s.Access)
	if n := r.Stats().InvalidStatements; n != 2 {
		t.Errorf("got %d invalid statements, want 2", n)
	}
	if n := strings.Count(l.String(), "makes no sense"); n != 1 {
		t.Errorf("got %d lines in the log, want 1:\n%s", n, l)
	}
	r.want("refresh", r.refresh(s.Refresh), 400, "invalid_grant")
}

// TestFarCutoff: a statement from a clock that is far ahead does not shut out logins for good.
func TestFarCutoff(t *testing.T) {
	t.Parallel()
	nats := server(t)
	c := &clock{}
	r := start(t, nats.URL(), func(cfg *issuer.Config) { cfg.Now, cfg.MaxStaleness = c.now, 1000*time.Hour })
	r.user("ann")
	old := r.login("ann")
	far := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	err := issuer.Apply(within(t), r.Issuer, events.Event{Sequence: 1 << 40, Time: time.Now(), Revocation: events.Revocation{
		ID: "far", Issuer: iss, Scope: events.Issuer, Before: far, Until: time.Now().Add(time.Minute)}})
	if err != nil {
		t.Fatal(err)
	}
	var cutoff int64
	until(t, "the mark has the statement", func() bool {
		_, cutoff, err = issuer.Mark(t.Context(), r.Issuer, events.Issuer, "")
		return err == nil && cutoff > 0
	})
	whole := events.Retention{}.Total()
	if latest := c.now().Add(whole + time.Second).Unix(); cutoff > latest {
		t.Errorf("got a cutoff %v after now, want at most %v", time.Until(time.Unix(cutoff, 0)), whole)
	}
	r.want("login while the statement lives", r.tryLogin("ann", password), 503, "temporarily_unavailable")
	r.stop()
	newVandal(t, nats.Connect(t)).forget()
	c.advance(whole + time.Minute)
	r = startWith(t, nats.URL(), r.cfg)
	r.want("refresh of an old session", r.refresh(old.Refresh), 400, "invalid_grant")
	r.login("ann")
}

// TestRefusedRefreshRotatesNothing: what only the denylist knows is looked up before the rotation.
func TestRefusedRefreshRotatesNothing(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	r.user("ann")
	s := r.login("ann")
	err := issuer.Apply(within(t), r.Issuer, events.Event{Sequence: 1 << 40, Time: time.Now(), Revocation: events.Revocation{
		ID: "c", Issuer: iss, Scope: events.Client, Key: "quash", Before: time.Now().Add(time.Second), Until: time.Now().Add(time.Minute)}})
	if err != nil {
		t.Fatal(err)
	}
	r.want("refresh", r.refresh(s.Refresh), 400, "invalid_grant")
	if n, err := issuer.Rotations(within(t), r.Issuer, s.Sid); err != nil || n != 0 {
		t.Errorf("got %d rotations %v, want none", n, err)
	}
}

func FuzzRecord(f *testing.F) {
	mark, session, user := issuer.MarkKey(events.Subject, "x"), issuer.SessionKey("AAAAAAAAAAAAAAAAAAAAAA"), issuer.UserKey("x")
	code, challenge := issuer.CodeKey("x"), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	index, peers := issuer.IndexKey("x", "c", "AAAAAAAAAAAAAAAAAAAAAA"), issuer.PeersKey("x")
	hash := "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	family := issuer.FamilyKey("AAAAAAAAAAAAAAAAAAAAAA")
	change, client, lasting := issuer.PointerKey(user), issuer.ClientKey("c"), issuer.LastingKey("x")
	for _, s := range []string{"", "{}", `{"kind":"alteration","v":1,"key":"` + change + `","began":1,"by":"admin","txn":"t"}`,
		`{"kind":"form","v":1,"key":"f.login","secret":"` + hash + `"}`,
		`{"kind":"code","v":1,"key":"` + code + `","sub":"x","gen":1,"auth":1,"client":"c","redirect":"r","challenge":"` + challenge + `","nonce":"n","scope":["a"],"agent":"a","until":2,"used":true}`,
		`{"kind":"family","v":1,"key":"` + family + `","newest":"AAAAAAAAAAAAAAAAAAAAAA"}`, `{"kind":"family","v":1,"key":"` + family + `","newest":"A.AAAAAAAAAAAAAAAAAAAA"}`,
		`{"kind":"session","v":1,"key":"` + session + `","sub":"x","client":"c","gen":1,"auth":1,"idle":2,"end":3,"tag":"` + hash + `","cur":"` + hash + `","count":0,"state":"ended","next":"AAAAAAAAAAAAAAAAAAAAAA"}`,
		`{"kind":"mark","v":1,"key":"` + mark + `","gen":1,"cutoff":0,"pending":[{"v":1}]}`,
		`{"kind":"session","v":1,"key":"` + session + `","sub":"x","client":"c","gen":1,"auth":1,"idle":2,"end":3,"tag":"` + hash + `","cur":"` + hash + `","count":0,"state":"live","agent":"curl/8"}`, `{"kind":"index","v":1,"key":"` + index + `"}`,
		`{"kind":"user","v":1,"key":"` + user + `","name":"x","scopes":["a"],"disabled":false,"created":1}`,
		`{"kind":"client","v":1,"key":"` + client + `","on":false,"statement":"id","open":true,"before":1}`, `{"kind":"client","v":1,"key":"` + client + `","on":true}`,
		`{"kind":"lasting","v":1,"key":"` + lasting + `","own":true,"statement":{"v":1,"id":"a","iss":"i","scope":"key","key":"x","until":4102444800,"by":"admin"}}`,
		`{"kind":"peers","v":1,"key":"` + peers + `","peers":[{"hash":"h","left":9.5,"at":1}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		accepted := 0
		for _, key := range []string{mark, session, user, index, code, change, peers, issuer.TicketKey, family, client, lasting} {
			once, err := issuer.Recode(key, value)
			if err != nil {
				if !errors.Is(err, issuer.ErrRecord) || !errors.Is(err, issuer.ErrUnavailable) || !strings.Contains(err.Error(), key) {
					t.Errorf("%q: got %v, want ErrRecord that names the record", value, err)
				}
				continue
			}
			accepted++
			if twice, err := issuer.Recode(key, once); err != nil || !bytes.Equal(once, twice) {
				t.Errorf("%q: written as %q, then as %q %v", value, once, twice, err)
			}
		}
		if accepted > 1 {
			t.Errorf("%q: accepted as %d kinds", value, accepted)
		}
	})
}
