package issuer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
)

func TestPasswords(t *testing.T) {
	r := start(t, server(t).URL())
	u := r.user("ann")
	if want := "$argon2id$v=19$m=64,t=1,p=1$"; u.PasswordHash[:len(want)] != want {
		t.Errorf("got hash %s, want %s…", u.PasswordHash, want)
	}
	if got, err := issuer.ParsePHC(u.PasswordHash); err != nil || got != u.PasswordHash {
		t.Errorf("parse and print: got %s %v, want the same", got, err)
	}
	for _, bad := range []string{"", "x", "$argon2i$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=4294967295,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=64,t=99999,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=64,t=1,p=1x$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA"} {
		if _, err := issuer.ParsePHC(bad); err == nil {
			t.Errorf("%q: got nil, want an error", bad)
		}
	}
	for _, bad := range []string{"", string(make([]byte, 1025))} {
		if _, err := r.CreateUser(within(t), "x", bad); !errors.Is(err, issuer.ErrUser) {
			t.Errorf("password of %d bytes: got %v, want ErrUser", len(bad), err)
		}
	}
}

// TestPasswordsAreBounded: hashes beyond the queue are refused at once instead of piling up.
func TestPasswordsAreBounded(t *testing.T) {
	const queue, more = 8, 4 // for one worker
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.PasswordWorkers, c.AddressBurst, c.Timeout = 1, 1000, 2*deadline })
	at, proceed := make(chan int64), make(chan struct{})
	var computing atomic.Int64
	issuer.OnDerive(r.Issuer, func(issuer.Argon2) {
		defer computing.Add(-1)
		select {
		case at <- computing.Add(1):
			<-proceed
		case <-t.Context().Done(): // the test is over
		}
	})
	answers := make(chan answer, 1+queue+more)
	for n := range cap(answers) {
		go func() { answers <- r.tryLogin(fmt.Sprint("user-", n), password) }()
	}
	if n := <-at; n != 1 {
		t.Errorf("%d hashes at once, want 1", n)
	}
	for range more { // while nothing moves
		select {
		case a := <-answers:
			r.want("beyond the queue", a, 503, "temporarily_unavailable")
		case <-time.After(deadline):
			proceed <- struct{}{}
			t.Fatal("more wait than the queue holds")
		}
	}
	for n := range 1 + queue {
		if n > 0 {
			if n := <-at; n != 1 {
				t.Errorf("%d hashes at once, want 1", n)
			}
		}
		proceed <- struct{}{}
		r.want("in the queue", <-answers, 401, "invalid_credentials")
	}
}

// work is what one login makes the issuer do.
type work struct {
	mu  sync.Mutex
	did []string
}

func (w *work) add(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.did = append(w.did, what)
}

// measured gives the work of each attempt: every request to NATS about a record, by the record's kind, and every hash.
func measured(t *testing.T, n *natstest.Server, try func()) []string {
	t.Helper()
	nc := n.Connect(t)
	requests := make(chan *nats.Msg, 1000)
	for _, subject := range []string{"$JS.API.>", "$KV.>"} {
		if _, err := nc.ChanSubscribe(subject, requests); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	try()
	if err := nc.Flush(); err != nil { // the server has sent us all that it got before
		t.Fatal(err)
	}
	nc.Close()
	var did []string
	for len(requests) > 0 {
		m := <-requests
		what, record, ok := strings.Cut(m.Subject, "$KV.QUASH_")
		if !ok {
			continue
		}
		bucket, key, _ := strings.Cut(record, ".")
		if kind, rest, _ := strings.Cut(key, "."); kind == "m" {
			scope, _, _ := strings.Cut(rest, ".")
			key = "m." + scope
		} else {
			key = kind
		}
		did = append(did, strings.TrimPrefix(what, "$JS.API.")+bucket+" "+key)
	}
	slices.Sort(did)
	return did
}

// TestUnknownUsersCostTheSame: names that do not exist, that cannot exist, wrong passwords, accounts without a password and
// disabled ones all make the issuer read and write the same kinds of records and compute the same hash.
func TestUnknownUsersCostTheSame(t *testing.T) {
	n := server(t)
	r := start(t, n.URL(), func(c *issuer.Config) { c.RepairInterval = time.Hour }) // whose reads would be counted
	var w work
	issuer.OnDerive(r.Issuer, func(c issuer.Argon2) { w.add(c.String()) })
	ctx := within(t)
	r.user("ann")
	barred := r.user("bob")
	if err := r.Disable(ctx, barred.Sub, issuer.Cause{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Users().Create(ctx, issuer.User{Sub: "bare", Name: "cleo"}); err != nil {
		t.Fatal(err)
	}
	r.jumped() // the reads of the reconciler would be counted as well
	until(t, "the end of bob's sessions is reconciled", func() bool { return issuer.Reconciled(r.Issuer) })
	var first []string
	for k, name := range []string{"ann", "ANN", "nobody", "bob", "cleo", " no name ", "a\x00b", strings.Repeat("n", 256), "*"} {
		w.did = nil
		did := measured(t, n, func() { r.want(name, r.tryLogin(name, "wrong"), 401, "invalid_credentials") })
		did = append(did, w.did...)
		if k == 0 {
			first = did
			if !slices.Contains(did, "m=64,t=1,p=1") || !slices.ContainsFunc(did, func(s string) bool { return strings.Contains(s, "ISSUER u") }) {
				t.Fatalf("the measurement is blind: %q", did)
			}
			continue
		}
		if !slices.Equal(did, first) {
			t.Errorf("%.20q: the issuer did\n%q, for a wrong password\n%q", name, did, first)
		}
	}
}

// TestHashIsRenewed with the configured cost when its password is known, without ending a session.
func TestHashIsRenewed(t *testing.T) {
	n := server(t)
	r := start(t, n.URL())
	u := r.user("ann")
	s := r.login("ann")
	cfg := r.cfg
	cfg.Argon2 = issuer.Argon2{Memory: 128, Time: 2}
	other := startWith(t, n.URL(), cfg)
	read := func() issuer.User {
		t.Helper()
		got, err := other.Users().Get(within(t), u.Sub)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if a := other.tryLogin("ann", "wrong"); a.status != 401 || read().PasswordHash != u.PasswordHash {
		t.Errorf("after a wrong password: got %d %+v, want the hash untouched", a.status, read())
	}
	other.login("ann")
	until(t, "the hash is renewed", func() bool { return strings.HasPrefix(read().PasswordHash, "$argon2id$v=19$m=128,t=2,p=1$") })
	got := read()
	got.PasswordHash, got.Revision, u.Revision = u.PasswordHash, 0, 0
	if fmt.Sprint(got) != fmt.Sprint(u) {
		t.Errorf("got %+v, want all but the hash as it was: %+v", got, u)
	}
	var hashes atomic.Int64
	issuer.OnDerive(other.Issuer, func(issuer.Argon2) { hashes.Add(1) })
	other.login("ann")
	if hashes.Load() != 1 {
		t.Errorf("a login with a hash of today: computed %d, want 1", hashes.Load())
	}
	other.want("the old password is the password", other.tryLogin("ann", "wrong"), 401, "invalid_credentials")
	r.alive("a session from before", s.Access)
	if a := r.refresh(s.Refresh); a.status != 200 {
		t.Errorf("refresh of a session from before: got %d %s", a.status, a.raw)
	}
	if n := r.published(events.Subject, u.Sub); n != 0 {
		t.Errorf("got %d statements about the user, want none", n)
	}
}

// own is a store that verifies passwords itself, and can be told to fail.
type own struct {
	issuer.Users
	mu     sync.Mutex
	asked  []string
	broken bool
	stuck  bool // cannot be updated
}

func (o *own) CheckPassword(_ context.Context, u issuer.User, pass string) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, u.Name)
	if o.broken {
		return true, errors.New("the directory does not answer")
	}
	return pass == "from the directory", nil
}

func (o *own) Update(ctx context.Context, u issuer.User) (issuer.User, error) {
	o.mu.Lock()
	stuck := o.stuck
	o.mu.Unlock()
	if stuck {
		return issuer.User{}, errors.New("this store is read-only")
	}
	return o.Users.Update(ctx, u)
}

func (o *own) set(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

// TestPasswordChecker: users without a hash are the store's to check, others are not, and names that do not exist cost a check.
func TestPasswordChecker(t *testing.T) {
	n := server(t)
	kv, err := issuer.OpenKVUsers(within(t), n.Connect(t), "PEOPLE")
	if err != nil {
		t.Fatal(err)
	}
	store := &own{Users: kv}
	r := start(t, n.URL(), func(c *issuer.Config) { c.Users, c.LoginBurst = store, 2 })
	for _, u := range []issuer.User{{Sub: "a", Name: "ann"}, {Sub: "b", Name: "bob", Disabled: true}} {
		if _, err := kv.Create(within(t), u); err != nil {
			t.Fatal(err)
		}
	}
	r.user("local")
	for _, c := range []struct {
		name, pass string
		status     int
		asked      []string
	}{
		{"ann", "from the directory", 200, []string{"ann"}},
		{"ann", password, 401, []string{"ann"}},
		{"bob", "from the directory", 403, []string{"bob"}},
		{"nobody", "from the directory", 401, []string{""}},
		{"local", password, 200, nil},
		{"local", "from the directory", 401, nil},
	} {
		store.set(func() { store.asked = nil })
		a := r.tryLogin(c.name, c.pass)
		if a.status != c.status || !slices.Equal(store.asked, c.asked) {
			t.Errorf("%s: got %d, asked about %q, want %d, asked about %q", c.name, a.status, store.asked, c.status, c.asked)
		}
	}
	store.set(func() { store.broken = true })
	for range 5 { // more than LoginBurst: an error is no wrong password
		r.want("a broken directory", r.tryLogin("ann", "from the directory"), 503, "temporarily_unavailable")
	}
	store.set(func() { store.broken = false })
	if a := r.tryLogin("ann", "from the directory"); a.status != 200 {
		t.Errorf("afterwards: got %d %s", a.status, a.raw)
	}
}

// TestHashNotRenewed: a store that cannot keep the new hash does no harm to the login.
func TestHashNotRenewed(t *testing.T) {
	n := server(t)
	kv, err := issuer.OpenKVUsers(within(t), n.Connect(t), "PEOPLE")
	if err != nil {
		t.Fatal(err)
	}
	old, err := issuer.HashPassword(password, issuer.Argon2{Memory: 32, Time: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Create(within(t), issuer.User{Sub: "a", Name: "ann", PasswordHash: old}); err != nil {
		t.Fatal(err)
	}
	var l logs
	r := start(t, n.URL(), func(c *issuer.Config) { c.Users, c.Logger = &own{Users: kv, stuck: true}, l.logger() })
	s := r.login("ann")
	r.alive("the login", s.Access)
	until(t, "it is logged", func() bool { return strings.Contains(l.String(), "password hash not renewed") })
	if strings.Contains(l.String(), password) || strings.Contains(l.String(), old) {
		t.Error("the log holds the password or its hash")
	}
}
