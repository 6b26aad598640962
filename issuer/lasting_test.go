package issuer_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
)

// half is more than half of what a statement lives by default, an hour and two minutes, and less than all of it.
const half = 50 * time.Minute

// byHand is an issuer with a clock that the test moves, whose rounds are the first one and those that the test asks for.
func byHand(c *stopped) func(*issuer.Config) {
	return func(cfg *issuer.Config) {
		cfg.Now, cfg.MaxStaleness, cfg.RepairInterval, cfg.WideBurst = c.now, 10000*time.Hour, time.Hour, 1000
	}
}

// renew does a round and says how many statements were renewed since the start.
func (r *rig) renew() uint64 {
	r.t.Helper()
	if err := issuer.RenewKeys(within(r.t), r.Issuer); err != nil {
		r.t.Fatal(err)
	}
	return r.Stats().Renewed
}

// settled waits for the round with which an issuer begins.
func (r *rig) settled() *rig {
	r.t.Helper()
	until(r.t, "the first round is done", func() bool { return issuer.Rounds(r.Issuer) > 0 })
	return r
}

// about are the statements of the stream about a key, in their order.
func (r *rig) about(kid string) (out []events.Revocation) {
	r.t.Helper()
	for _, s := range r.statements() {
		if s.Scope == events.Key && s.Key == kid {
			out = append(out, s)
		}
	}
	return out
}

// holds waits until the issuer has applied the newest statement about a key.
func (r *rig) holds(kid string) {
	r.t.Helper()
	all := r.about(kid)
	if len(all) == 0 {
		r.t.Fatalf("no statement about key %s", kid)
	}
	until(r.t, "the newest statement is applied", func() bool { return issuer.Holds(r.Issuer, all[len(all)-1]) })
	r.jumped() // and all that is done about it
}

func (r *rig) lasting(kid string) bool {
	r.t.Helper()
	lasts, _, err := issuer.Lasting(within(r.t), r.Issuer, kid)
	if err != nil {
		r.t.Fatal(err)
	}
	return lasts
}

func (r *rig) signingKid() string {
	r.t.Helper()
	return issuer.KeyID(r.Issuer, r.login("ann").Access)
}

func (r *rig) stolen(kid string) events.Revocation {
	r.t.Helper()
	s := events.Revocation{ID: events.NewID(), Scope: events.Key, Key: kid, By: "admin", Actor: "root", Reason: "stolen", Txn: "case 7"}
	if _, err := r.Revoke(within(r.t), s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// TestRevokedKeyIsSaidAgain: for as long as there is an issuer, whatever happened to it meanwhile.
func TestRevokedKeyIsSaidAgain(t *testing.T) {
	t.Parallel()
	c, l := &stopped{at: time.Now().Truncate(time.Second)}, &logs{}
	r := start(t, server(t).URL(), byHand(c), func(cfg *issuer.Config) { cfg.Logger = l.logger() }).settled()
	r.user("ann")
	kid := r.signingKid()
	r.stolen(kid)
	first := r.about(kid)[0]
	for _, passed := range []time.Duration{0, 20 * time.Minute} {
		r.set(c, first.At.Add(passed))
		if n := r.renew(); n != 0 {
			t.Errorf("after %v: %d renewals, want none yet", passed, n)
		}
	}
	for n := uint64(1); n <= 3; n++ {
		r.set(c, c.now().Add(half))
		if got := r.renew(); got != n {
			t.Fatalf("round %d: %d renewals", n, got)
		}
		if got := r.renew(); got != n {
			t.Errorf("round %d, again: %d renewals", n, got)
		}
		all := r.about(kid)
		last := all[len(all)-1]
		want := first
		want.ID, want.Reason, want.Until = last.ID, "still revoked: stolen", c.now().Add(62*time.Minute)
		if last != want || last.ID == first.ID || len(all) != int(n)+1 {
			t.Errorf("round %d: %d statements, the last %+v, want %+v", n, len(all), last, want)
		}
	}
	if got := strings.Count(l.String(), "still revoked: statement renewed"); got != 3 {
		t.Errorf("%d lines of log, want one for each renewal", got)
	}

	// The issuer was away until long after the last statement had ended, and begins with it.
	cfg := r.cfg
	r.stop()
	c.set(c.now().Add(24 * time.Hour))
	again := startWith(t, r.nats, cfg)
	until(t, "it is said again", func() bool { return again.Stats().Renewed == 1 })
	all := again.about(kid)
	if got := all[len(all)-1]; got.Reason != "still revoked: stolen" || !got.Until.Equal(c.now().Add(62*time.Minute)) {
		t.Errorf("after a day: got %+v", got)
	}
	if got := again.signingKid(); got == kid {
		t.Error("the revoked key signs")
	}
}

// TestReplicasRenewOnce: who comes later sees that it was done.
func TestReplicasRenewOnce(t *testing.T) {
	t.Parallel()
	c := &stopped{at: time.Now().Truncate(time.Second)}
	one := start(t, server(t).URL(), byHand(c)).settled()
	cfg := one.cfg
	cfg.Node = "two"
	two := startWith(t, one.nats, cfg).settled()
	one.user("ann")
	kid := one.signingKid()
	one.stolen(kid)
	two.holds(kid)
	begin, rounds := c.now(), 0
	for passed := 10 * time.Minute; passed <= 240*time.Minute; passed += 10 * time.Minute {
		one.set(c, begin.Add(passed))
		two.jumped()
		for _, r := range []*rig{one, two} {
			issuer.SetAhead(r.Issuer, passed)
		}
		for n := range 2 { // they take turns to be first
			r, other := one, two
			if (rounds+n)%2 == 1 {
				r, other = two, one
			}
			r.renew()
			other.holds(kid)
		}
		rounds++
	}
	// Between a half and three eighths of 62 minutes are left: in every fourth of these rounds.
	if got := one.Stats().Renewed + two.Stats().Renewed; got != 6 {
		t.Errorf("%d renewals in %d rounds of two replicas, want 6", got, rounds)
	}
	if got := len(one.about(kid)); got != 7 {
		t.Errorf("%d statements, want 7", got)
	}
}

// TestInventedKeysEnd: who may publish cannot make the issuer say something for ever, but about keys that it had.
func TestInventedKeysEnd(t *testing.T) {
	t.Parallel()
	c, l := &stopped{at: time.Now().Truncate(time.Second)}, &logs{}
	r := start(t, server(t).URL(), byHand(c), func(cfg *issuer.Config) { cfg.Logger = l.logger() }).settled()
	r.user("ann")
	p, err := events.NewPublisher(events.PublisherConfig{Conn: r.cfg.Conn, By: "policy", Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(s events.Revocation) {
		t.Helper()
		s.Issuer, s.Scope = iss, events.Key
		if _, err := p.Publish(within(t), s); err != nil {
			t.Fatal(err)
		}
	}
	reconciled := func(kid string) {
		t.Helper()
		until(t, "it is in the records", func() bool {
			_, cutoff, err := issuer.Mark(t.Context(), r.Issuer, events.Key, kid)
			return err == nil && cutoff > 0
		})
	}
	// Of somebody who thinks that the key is good, of somebody who does not, and about keys that nobody ever had.
	good := r.signingKid()
	publish(events.Revocation{Key: good, Before: c.now()})
	reconciled(good)
	own := r.signingKid()
	publish(events.Revocation{Key: own, Actor: "scanner", Reason: "found in a log"})
	for _, kid := range []string{"invented", "../../invented", "a.b>*"} {
		publish(events.Revocation{Key: kid})
		reconciled(kid)
	}
	reconciled(own)
	until(t, "the key that was ours lasts", func() bool { return r.lasting(own) })
	for _, kid := range []string{"invented", "../../invented", "a.b>*", good} {
		if r.renew(); r.lasting(kid) {
			t.Errorf("what was published about %q lasts", kid)
		}
	}
	r.set(c, c.now().Add(half))
	if n := r.renew(); n != 1 {
		t.Errorf("%d renewals, want that of our own key", n)
	}
	if all := r.about(own); len(all) != 2 || all[1].By != "policy" || all[1].Actor != "scanner" || all[1].Reason != "still revoked: found in a log" {
		t.Errorf("got %+v", all)
	}

	// An operator may ask for any, so many.
	issuer.SetBounds(r.Issuer, 2, 1000)
	asked := []string{"elsewhere 1", "elsewhere 2", "elsewhere 3"}
	for _, kid := range asked {
		c.set(c.now().Add(time.Second))
		r.stolen(kid)
	}
	r.jumped()
	r.set(c, c.now().Add(half))
	r.renew()
	for n, kid := range asked {
		if got, want := len(r.about(kid)), min(n, 1)+1; got != want {
			t.Errorf("%s: %d statements, want %d: the newest two go on", kid, got, want)
		}
	}
	if got := len(r.about(own)); got != 3 {
		t.Errorf("%d statements about our own key, want 3: others do not take its place", got)
	}
	r.renew()
	if got := strings.Count(l.String(), "too many keys that this issuer never had"); got != 1 {
		t.Errorf("said %d times that there are too many, want once", got)
	}
}

// copyDir replaces a directory.
func copyDir(t *testing.T, to, from string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(to, 0o700); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(to)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			if err := os.Chmod(filepath.Join(to, e.Name()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestRevokedKeyOfAnOlderCopy: records, stream and keys come back from before it was revoked. What is left is the ledger, or nothing but
// the directory of keys; either is enough, however long ago it was.
func TestRevokedKeyOfAnOlderCopy(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	c := &stopped{at: time.Now().Truncate(time.Second)}
	r := start(t, s.URL(), byHand(c), func(cfg *issuer.Config) { cfg.Ledger = filepath.Join(t.TempDir(), "ledger") })
	r.user("ann")
	kid := r.signingKid()
	cfg := r.cfg
	r.stop()
	s.Stop()
	store, keys, since := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "keys"), filepath.Join(t.TempDir(), "since")
	copyDir(t, store, s.Dir())
	copyDir(t, keys, cfg.KeysDir)
	s.Restart(t)
	cfg.Conn = nil
	r = startWith(t, s.URL(), cfg).settled()
	r.stolen(kid)
	r.renew()
	for range 4 { // far longer than tokens live
		r.set(c, c.now().Add(half))
		r.renew()
	}
	if n := r.Stats().Renewed; n != 4 {
		t.Fatalf("%d renewals, want 4", n)
	}
	r.stop()
	s.Stop()
	copyDir(t, since, cfg.KeysDir)

	notAgain := func(what string) {
		t.Helper()
		i, err := issuer.New(within(t), func() issuer.Config { c := cfg; c.Conn = s.Connect(t); return c }())
		if err != nil {
			t.Fatal(err)
		}
		all, err := i.Keys() // nothing was read of the stream, nothing was signed or published
		if err != nil || len(all) == 0 {
			t.Fatal(all, err)
		}
		for _, k := range all {
			if k.ID == kid && k.State != issuer.KeyRevoked {
				t.Errorf("%s: before the start the key is %s, want it revoked", what, k.State)
			}
		}
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
		r := startWith(t, s.URL(), cfg).settled()
		if got := r.signingKid(); got == kid {
			t.Errorf("%s: the key signs again", what)
		}
		until(t, what+": the records know it again", func() bool {
			_, cutoff, err := issuer.Mark(t.Context(), r.Issuer, events.Key, kid)
			return err == nil && cutoff > 0 && r.lasting(kid)
		})
		r.holds(kid)
		was := r.Stats().Renewed
		r.set(c, c.now().Add(half))
		if got := r.renew(); got != was+1 {
			t.Errorf("%s: %d renewals, want one more than %d", what, got, was)
		}
		r.stop()
	}
	copyDir(t, s.Dir(), store)
	copyDir(t, cfg.KeysDir, keys)
	s.Restart(t)
	notAgain("with the ledger")

	s.Stop()
	copyDir(t, s.Dir(), store)
	copyDir(t, cfg.KeysDir, since)
	if err := os.Remove(filepath.Join(cfg.KeysDir, kid+".pem")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(keys, kid+".pem"), filepath.Join(cfg.KeysDir, kid+".pem")); err != nil {
		t.Fatal(err)
	}
	cfg.Ledger = ""
	s.Restart(t)
	notAgain("with the note beside the keys")
}

// TestCrashOfARevokedKey at every step: what lasts is written with the intent, and nothing is said twice.
func TestCrashOfARevokedKey(t *testing.T) {
	t.Parallel()
	c := &stopped{at: time.Now().Truncate(time.Second)}
	r := start(t, server(t).URL(), byHand(c)).settled()
	r.user("ann")
	kid := r.signingKid()
	crashAt := func(step string) {
		issuer.SetFault(r.Issuer, func(at string) error {
			if at == step {
				return errCrash
			}
			return nil
		})
	}
	crashAt("ending")
	s := events.Revocation{ID: events.NewID(), Scope: events.Key, Key: kid, By: "admin", Reason: "stolen"}
	if _, err := r.Revoke(within(t), s); !errors.Is(err, errCrash) {
		t.Fatalf("got %v, want the crash", err)
	}
	if !r.lasting(kid) {
		t.Error("what lasts is not in the records when the intent is")
	}
	if n := r.renew(); n != 0 {
		t.Errorf("%d renewals of what was not said yet", n)
	}
	note := filepath.Join(r.cfg.KeysDir, kid+".revoked")
	if err := os.Remove(note); err != nil {
		t.Errorf("no note after a round: %v", err)
	}
	cfg := r.cfg
	r.stop()
	r = startWith(t, r.nats, cfg).settled()
	until(t, "the repair says it", func() bool { return r.published(events.Key, kid) == 1 })
	if all := r.about(kid); all[0].ID != s.ID {
		t.Errorf("got %+v, want the statement of before the crash", all)
	}
	until(t, "the note is there again", func() bool { _, err := os.Stat(note); return err == nil })
	r.set(c, c.now().Add(half))
	crashAt("renew")
	if err := issuer.RenewKeys(within(t), r.Issuer); !errors.Is(err, errCrash) {
		t.Fatalf("got %v, want the crash", err)
	}
	crashAt("")
	if n := r.renew(); n != 1 || r.published(events.Key, kid) != 2 {
		t.Errorf("%d renewals, %d statements; want one, two", n, r.published(events.Key, kid))
	}
}

// TestKeysRevokedBefore there were such records: as long as the file is in the directory.
func TestKeysRevokedBefore(t *testing.T) {
	t.Parallel()
	c := &stopped{at: time.Now().Truncate(time.Second)}
	r := start(t, server(t).URL(), byHand(c)).settled()
	r.user("ann")
	kid := r.signingKid()
	mark, err := issuer.Recode("m.key.eA", []byte(`{"kind":"mark","v":1,"key":"m.key.eA","gen":1,"cutoff":1}`))
	if err != nil {
		t.Fatal(err)
	}
	name := "m.key." + strings.TrimPrefix(issuer.LastingKey(kid), "e.key.")
	if _, err := issuer.CAS(within(t), r.Issuer, name, []byte(strings.ReplaceAll(string(mark), "m.key.eA", name)), 0); err != nil {
		t.Fatal(err)
	}
	cfg := r.cfg
	r.stop()
	r = startWith(t, r.nats, cfg)
	until(t, "it is said", func() bool { return r.published(events.Key, kid) == 1 })
	if got := r.about(kid)[0]; got.By != "system" || got.Reason != "still revoked" || !got.Before.IsZero() {
		t.Errorf("got %+v", got)
	}

	// What an operator writes by hand is enough, while the issuer runs: about the key that signs, and about one of which nothing is left.
	signs := r.signingKid()
	if err := os.WriteFile(filepath.Join(cfg.KeysDir, signs+".revoked"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.KeysDir, "gone.revoked"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := r.Keys() // reads the directory
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k.ID == signs && k.State != issuer.KeyRevoked {
			t.Errorf("the key with a note is %s, want it revoked", k.State)
		}
	}
	if n := r.renew(); n != 3 || len(r.about(signs)) != 1 || len(r.about("gone")) != 1 || !r.lasting("gone") {
		t.Errorf("%d renewals, %+v, want it renewed", n, r.about("gone"))
	}
}

// TestAskedKeyTurnsOutToBeOurs: two replicas find a note about one that was only asked for, and agree.
func TestAskedKeyTurnsOutToBeOurs(t *testing.T) {
	t.Parallel()
	c := &stopped{at: time.Now().Truncate(time.Second)}
	one := start(t, server(t).URL(), byHand(c)).settled()
	cfg := one.cfg
	cfg.Node = "two"
	two := startWith(t, one.nats, cfg).settled()
	one.stolen("gone")
	two.holds("gone")
	for _, r := range []*rig{one, two} { // both have read that it is not ours
		r.renew()
	}
	if err := os.WriteFile(filepath.Join(cfg.KeysDir, "gone.revoked"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, r := range []*rig{one, two} {
			if _, err := r.Keys(); err != nil { // reads the directory
				t.Fatal(err)
			}
			r.renew()
		}
	}
	if _, own, err := issuer.Lasting(within(t), one.Issuer, "gone"); err != nil || !own {
		t.Errorf("ours: %v %v, want it known as ours", own, err)
	}
	for _, r := range []*rig{one, two} {
		before, err := issuer.Writes(within(t), r.Issuer)
		r.renew()
		if after, err2 := issuer.Writes(within(t), r.Issuer); err != nil || err2 != nil || after != before {
			t.Errorf("a round of what is known writes: %d, then %d %v %v", before, after, err, err2)
		}
		if !issuer.KnownOwn(r.Issuer, "gone") {
			t.Errorf("%s has not read that it is ours", r.cfg.Node)
		}
	}
}

// TestDamagedLastingRecord is no un-revocation.
func TestDamagedLastingRecord(t *testing.T) {
	t.Parallel()
	c := &stopped{at: time.Now().Truncate(time.Second)}
	r := start(t, server(t).URL(), byHand(c)).settled()
	if _, err := issuer.CAS(within(t), r.Issuer, issuer.LastingKey("k"), []byte("{}"), 0); err != nil {
		t.Fatal(err)
	}
	if err := issuer.RenewKeys(within(t), r.Issuer); !errors.Is(err, issuer.ErrRecord) {
		t.Errorf("got %v, want ErrRecord", err)
	}
	if got := len(r.about("k")); got != 1 {
		t.Errorf("%d statements, want one", got)
	}
}

func TestStill(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]string{
		"": "still revoked", "still revoked": "still revoked", "x": "still revoked: x", "still revoked: x": "still revoked: x",
		strings.Repeat("é", 256): "still revoked: " + strings.Repeat("é", 248),
	} {
		if got := issuer.Still(reason); got != want {
			t.Errorf("%.40q: got %q, want %q", reason, got, want)
		}
	}
}
