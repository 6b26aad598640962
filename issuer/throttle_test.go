package issuer_test

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/issuer"
)

// caller is where requests seem to come from.
type caller struct {
	mu sync.Mutex
	at string
}

func (c *caller) from(a string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = a
}

func (c *caller) address() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// throttled is an issuer whose limits are three wrong passwords, then one an hour; for addresses six, then one in two hours. The
// clock is the throttle's only: the feed would take a jump for silence.
func throttled(t *testing.T, url string, change ...func(*issuer.Config)) (*rig, *clock, *caller) {
	c, a := &clock{}, &caller{at: "198.51.100.1"}
	r := start(t, url, append([]func(*issuer.Config){func(cfg *issuer.Config) {
		cfg.LoginBurst, cfg.LoginEvery, cfg.AddressBurst = 3, time.Hour, 6
		cfg.ClientAddress = addressOf(a.address)
	}}, change...)...)
	issuer.SetThrottleClock(r.Issuer, c.now)
	return r, c, a
}

// TestThrottle: guessing is slowed down for all replicas together, and whoever has logged in before is not locked out by it.
func TestThrottle(t *testing.T) {
	nats := server(t)
	r, c, at := throttled(t, nats.URL(), func(cfg *issuer.Config) { cfg.AddressBurst = 100 })
	other := startWith(t, nats.URL(), r.cfg)
	issuer.SetThrottleClock(other.Issuer, c.now)
	r.user("ann")
	r.user("bob")
	at.from("192.0.2.7")
	r.login("ann")
	at.from("198.51.100.1")
	for range 10 { // successes cost nothing
		r.login("bob")
	}
	for n := range 3 {
		r.want(fmt.Sprintf("guess %d", n), []*rig{r, other}[n%2].tryLogin("ANN", "guess"), 401, "invalid_credentials")
		r.want("guess at nobody", r.tryLogin("nobody", "guess"), 401, "invalid_credentials")
	}
	for _, name := range []string{"ann", "nobody"} {
		a := other.tryLogin(name, password)
		r.want("one guess too many at "+name, a, 429, "temporarily_unavailable")
		if a.header.Get("Retry-After") != "3600" {
			t.Errorf("429 with Retry-After %q, want 3600", a.header.Get("Retry-After"))
		}
	}
	r.login("bob")
	at.from("192.0.2.7")
	r.login("ann") // the owner, from where she logged in before
	at.from("203.0.113.9")
	r.want("from elsewhere", r.tryLogin("ann", password), 429, "temporarily_unavailable")
	c.advance(time.Hour)
	r.login("ann")
	c.advance(80 * 24 * time.Hour)
	at.from("198.51.100.1")
	for range 3 {
		r.want("guess", r.tryLogin("ann", "guess"), 401, "invalid_credentials")
	}
	r.want("one too many", r.tryLogin("ann", password), 429, "temporarily_unavailable")
	at.from("203.0.113.9")
	r.login("ann") // remembered for months
	for range 3 {
		r.want("the owner's typing errors", r.tryLogin("ann", "typo"), 401, "invalid_credentials")
	}
	r.want("they count as well", r.tryLogin("ann", password), 429, "temporarily_unavailable")
}

// TestThrottleRemembersEightAddresses of one account, and the longest unused goes first.
func TestThrottleRemembersEightAddresses(t *testing.T) {
	r, _, at := throttled(t, server(t).URL(), func(cfg *issuer.Config) { cfg.AddressBurst = 100 })
	r.user("ann")
	for n := range 9 {
		at.from(fmt.Sprintf("192.0.2.%d", n))
		r.login("ann")
		at.from("192.0.2.0")
		r.login("ann") // always the latest but one
	}
	at.from("198.51.100.1")
	for range 3 {
		r.want("guess", r.tryLogin("ann", "guess"), 401, "invalid_credentials")
	}
	for n, want := range map[int]int{0: 200, 1: 429, 2: 200, 8: 200} {
		at.from(fmt.Sprintf("192.0.2.%d", n))
		if a := r.tryLogin("ann", password); a.status != want {
			t.Errorf("from address %d: got %d, want %d", n, a.status, want)
		}
	}
}

// TestThrottleAddress: one address that fails with many accounts is slowed with all of them, its neighbours behind the same
// translator who logged in before are not, and nobody for good.
func TestThrottleAddress(t *testing.T) {
	r, c, at := throttled(t, server(t).URL())
	for _, name := range []string{"ann", "bob", "cleo"} {
		r.user(name)
	}
	r.login("ann")
	for range 20 { // successes give back what they took
		r.login("ann")
		if a := r.tryLogin("bob", password); a.status != 200 {
			t.Fatalf("success: got %d", a.status)
		}
	}
	for n := range 6 {
		r.want("one password on many accounts", r.tryLogin(fmt.Sprintf("user-%d", n), "Summer2026"), 401, "invalid_credentials")
	}
	a := r.tryLogin("cleo", password)
	r.want("an account that nobody tried", a, 429, "temporarily_unavailable")
	if a.header.Get("Retry-After") != "7200" {
		t.Errorf("429 with Retry-After %q, want 7200", a.header.Get("Retry-After"))
	}
	r.login("ann")
	r.login("bob")
	at.from("203.0.113.9")
	r.login("cleo") // the account itself is untouched
	at.from("198.51.100.1")
	r.want("known there only", r.tryLogin("cleo", password), 429, "temporarily_unavailable")
	c.advance(2 * time.Hour)
	r.want("later", r.tryLogin("user-9", password), 401, "invalid_credentials")
	r.want("one only", r.tryLogin("user-9", password), 429, "temporarily_unavailable")
}

// TestThrottleOneAddressLeavesAttempts: an address that guesses as fast as it may cannot keep an account's owner out who comes
// from somewhere new.
func TestThrottleOneAddressLeavesAttempts(t *testing.T) {
	r, c, at := throttled(t, server(t).URL())
	r.user("ann")
	guess := func() {
		at.from("198.51.100.1")
		a := r.tryLogin("ann", "guess")
		for a.status == 401 {
			a = r.tryLogin("ann", "guess")
		}
		r.want("one guess too many", a, 429, "temporarily_unavailable")
	}
	guess()
	for range 10 { // use up what the address may do at once
		c.advance(time.Hour)
		guess()
	}
	c.advance(time.Hour)
	guess()
	c.advance(time.Hour)
	guess()
	at.from("203.0.113.9")
	r.login("ann")
}

// TestThrottleBusyCostsNothing: what was refused for our own sake is no attempt.
func TestThrottleBusyCostsNothing(t *testing.T) {
	r, _, _ := throttled(t, server(t).URL(), func(cfg *issuer.Config) { cfg.PasswordWorkers, cfg.LoginBurst, cfg.AddressBurst = 1, 1, 1 })
	r.user("ann")
	release := issuer.HoldPasswords(r.Issuer)
	for range 3 {
		r.want("busy", r.tryLogin("ann", "guess"), 503, "temporarily_unavailable")
	}
	release()
	r.login("ann")
	release = issuer.HoldPasswords(r.Issuer)
	for range 3 {
		r.want("busy, from a known address", r.tryLogin("ann", "guess"), 503, "temporarily_unavailable")
	}
	release()
	r.login("ann")
}

// TestThrottleCannotBeFlooded: failing logins write to a fixed number of records and nothing of the bucket is ever dropped for room,
// so that no flood of names makes the issuer forget an account's counter.
func TestThrottleCannotBeFlooded(t *testing.T) {
	n := server(t)
	r, _, at := throttled(t, n.URL(), func(cfg *issuer.Config) { cfg.AddressBurst = 1000 })
	r.user("ann")
	for range 3 {
		r.want("guess", r.tryLogin("ann", "guess"), 401, "invalid_credentials")
	}
	nc := n.Connect(t)
	seen := make(chan *nats.Msg, 1000)
	sub, err := nc.ChanSubscribe("$KV.QUASH_THROTTLE.>", seen)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for n := range 200 {
		at.from(fmt.Sprintf("203.0.113.%d", n))
		r.tryLogin(fmt.Sprintf("name %d %s", n, strings.Repeat("x", 200)), "guess")
	}
	if err := nc.Flush(); err != nil { // the server has sent us all that it got before
		t.Fatal(err)
	}
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	close(seen)
	slot, count := regexp.MustCompile(`^\$KV\.QUASH_THROTTLE\.a\.[0-9a-f]{4}$`), 0
	for m := range seen {
		count++
		if !slot.MatchString(m.Subject) {
			t.Errorf("a failed login wrote %s, want one of 65536 counters", m.Subject)
		}
	}
	if count < 200 {
		t.Errorf("saw %d writes, want one for each of 200 attempts", count)
	}
	if most, err := issuer.ThrottleMaxBytes(within(t), r.Issuer); err != nil || most != -1 {
		t.Errorf("the bucket drops records beyond %d bytes %v, want never", most, err)
	}
	r.want("after the flood", r.tryLogin("ann", password), 429, "temporarily_unavailable")
}

// TestThrottleCountsBeforeItTells: guesses at once are worth no more than guesses in a row: so many are answered as there are
// tokens, at all replicas together, and nothing is hashed when the counter is known to be empty.
func TestThrottleCountsBeforeItTells(t *testing.T) {
	r, c, _ := throttled(t, server(t).URL(), func(cfg *issuer.Config) { cfg.AddressBurst = 1000 })
	other := startWith(t, r.nats, r.cfg)
	issuer.SetThrottleClock(other.Issuer, c.now)
	r.user("ann")
	var hashes atomic.Int64
	for _, at := range []*rig{r, other} {
		issuer.OnDerive(at.Issuer, func(issuer.Argon2) { hashes.Add(1) })
	}
	const guesses = 24
	answers := make(chan answer, guesses)
	for n := range guesses {
		go func() { answers <- []*rig{r, other}[n%2].tryLogin("ann", "guess") }()
	}
	count := map[int]int{}
	for range guesses {
		a := <-answers
		count[a.status]++
	}
	if count[401] != 3 || count[429] != guesses-3 {
		t.Errorf("got %v, want three guesses judged and the others refused", count)
	}
	if n := hashes.Load(); n < 3 || n > 6 { // each of two replicas may hash one that the other one's takes the token from
		t.Errorf("%d hashes, want three to six", n)
	}
	before := hashes.Load()
	r.want("the right one", r.tryLogin("ann", password), 429, "temporarily_unavailable")
	other.want("the right one", other.tryLogin("ann", password), 429, "temporarily_unavailable")
	if n := hashes.Load(); n != before {
		t.Errorf("%d hashes for an empty counter", n-before)
	}
}
