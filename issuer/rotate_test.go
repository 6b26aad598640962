package issuer_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// ring is a key directory as one replica has it; the key delay is 20 minutes, a retired key goes after 2 hours.
type ring struct {
	t testing.TB
	*issuer.Keyring
	dir string
	c   *clock
}

func openRing(t testing.TB, dir string, c *clock) *ring {
	t.Helper()
	k, err := issuer.OpenKeyring(dir, "ES256", 20*time.Minute, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return &ring{t, k, dir, c}
}

func (r *ring) rotate() string {
	r.t.Helper()
	kid, err := r.Rotate()
	if err != nil {
		r.t.Fatal(err)
	}
	return kid
}

func (r *ring) tidy() {
	r.t.Helper()
	if err := r.Tidy(0, func(at time.Time) time.Time { return at.Add(2 * time.Hour) }); err != nil {
		r.t.Fatal(err)
	}
}

func (r *ring) wants(what, signer string, published ...string) {
	r.t.Helper()
	got, err := r.Signer()
	set := r.Published()
	slices.Sort(set)
	slices.Sort(published)
	if err != nil || got != signer || !slices.Equal(set, published) {
		r.t.Errorf("%s: got signer %s %v of %q, want %s of %q", what, got, err, set, signer, published)
	}
}

func (r *ring) files() []string {
	r.t.Helper()
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			r.t.Errorf("%s: got mode %v %v, want 0600", e.Name(), info.Mode(), err)
		}
	}
	return names
}

// TestKeyRotation: published first, signing after the delay, the old one retired and in the end removed.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	c := &clock{}
	r := openRing(t, filepath.Join(t.TempDir(), "keys"), c)
	if info, err := os.Stat(r.dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: got %v %v, want mode 0700", info, err)
	}
	first, _ := r.Signer()
	second := r.rotate()
	r.tidy()
	r.wants("published", first, first, second)
	if again := r.rotate(); again != second {
		t.Errorf("rotated while a key waits: got %s, want the waiting one", again)
	}
	c.advance(19 * time.Minute)
	r.tidy()
	r.wants("not known everywhere yet", first, first, second)
	c.advance(time.Minute)
	r.tidy()
	r.wants("signing", second, first, second)
	other := openRing(t, r.dir, c)
	other.wants("another replica", second, first, second)
	c.advance(2*time.Hour - time.Second)
	other.tidy()
	other.wants("the old key's last token may be alive", second, first, second)
	c.advance(time.Second)
	other.tidy()
	other.wants("the old key is gone", second, second)
	r.tidy()
	r.wants("for the first replica as well", second, second)
	for _, name := range r.files() {
		if strings.HasPrefix(name, first) && name != first {
			t.Errorf("left behind: %s", name)
		}
	}
}

// TestKeyRotationAtOnce: replicas that rotate in the same moment make one key.
func TestKeyRotationAtOnce(t *testing.T) {
	t.Parallel()
	c := &clock{}
	dir := filepath.Join(t.TempDir(), "keys")
	for round := range 10 {
		var mu sync.Mutex
		made := map[string]int{}
		var rings []*ring
		for range 4 {
			rings = append(rings, openRing(t, dir, c))
		}
		var all sync.WaitGroup
		for _, r := range rings {
			all.Go(func() {
				kid, err := r.Rotate()
				if err != nil {
					t.Errorf("rotate: %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				made[kid]++
			})
		}
		all.Wait()
		if len(made) != 1 {
			t.Fatalf("round %d: got keys %v, want all replicas to agree on one", round, made)
		}
		late := openRing(t, dir, c)
		if n := len(late.Published()); n != 2 {
			t.Fatalf("round %d: got %d keys, want the old and the new one", round, n)
		}
		c.advance(time.Hour)
		late.tidy()
		c.advance(2 * time.Hour)
		late.tidy()
	}
}

// TestFirstKeyAtOnce: replicas that start together on an empty directory, or lose their only key together, make one key.
func TestFirstKeyAtOnce(t *testing.T) {
	t.Parallel()
	c := &clock{}
	dir := filepath.Join(t.TempDir(), "keys")
	rings := make([]*ring, 4)
	var all sync.WaitGroup
	for n := range rings {
		all.Go(func() { rings[n] = openRing(t, dir, c) })
	}
	all.Wait()
	first, err := openRing(t, dir, c).Signer()
	if n := len(openRing(t, dir, c).Published()); n != 1 || err != nil {
		t.Fatalf("got %d first keys %v, want 1", n, err)
	}
	for _, r := range rings {
		all.Go(func() {
			if err := r.Revoke(first); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	second, err := rings[0].Signer()
	if err != nil || second == first {
		t.Fatalf("after the revocation: got %s %v", second, err)
	}
	for _, r := range rings {
		r.wants("after the revocation of the only key", second, second)
	}
}

// TestRetireKey stops a key at once and never leaves the issuer without one.
func TestRetireKey(t *testing.T) {
	t.Parallel()
	c := &clock{}
	r := openRing(t, filepath.Join(t.TempDir(), "keys"), c)
	first, _ := r.Signer()
	if err := r.Retire(first); !errors.Is(err, issuer.ErrRetireLast) {
		t.Errorf("the only key: got %v, want a refusal", err)
	}
	second := r.rotate()
	if err := r.Retire(first); !errors.Is(err, issuer.ErrRetireLast) {
		t.Errorf("before the next one may sign: got %v, want a refusal", err)
	}
	if err := r.Retire(second); err != nil { // a rotation called off
		t.Error(err)
	}
	r.wants("called off", first, first, second)
	third := r.rotate()
	if third == second {
		t.Error("a retired key was taken for the waiting one")
	}
	c.advance(20 * time.Minute)
	r.wants("the third signs", third, first, second, third)
	for range 2 {
		if err := r.Retire(first); err != nil {
			t.Error(err)
		}
	}
	if err := r.Retire(third); !errors.Is(err, issuer.ErrRetireLast) {
		t.Errorf("the last: got %v, want a refusal", err)
	}
	if err := r.Retire("unknown"); err == nil {
		t.Error("an unknown key: got nil")
	}
	c.advance(2 * time.Hour)
	r.tidy()
	r.wants("later", third, third)
}

// TestKeyCrashes: whatever a crash leaves in the directory, the next replica goes on.
func TestKeyCrashes(t *testing.T) {
	t.Parallel()
	for name, crash := range map[string]func(r *ring, first, second string){
		"a key without its claim": func(r *ring, first, _ string) { _ = os.Remove(filepath.Join(r.dir, first+".next")) },
		"a claim without its key": func(r *ring, _, second string) { _ = os.Remove(filepath.Join(r.dir, second+".pem")) },
		"an empty note":           func(r *ring, first, _ string) { _ = os.WriteFile(filepath.Join(r.dir, first+".retired"), nil, 0o600) },
		"a note without a key":    func(r *ring, _, _ string) { _ = os.WriteFile(filepath.Join(r.dir, "x.retired"), nil, 0o600) },
		"half a private key": func(r *ring, _, _ string) {
			_ = os.WriteFile(filepath.Join(r.dir, ".new-1"), []byte("-----BEGIN"), 0o600)
		},
		"a removal that was cut off": func(r *ring, first, _ string) {
			_ = os.WriteFile(filepath.Join(r.dir, first+"x.next"), []byte(first), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &clock{}
			r := openRing(t, filepath.Join(t.TempDir(), "keys"), c)
			first, _ := r.Signer()
			crash(r, first, r.rotate())
			old := time.Now().Add(-2 * time.Hour)
			for _, f := range r.files() {
				if err := os.Chtimes(filepath.Join(r.dir, f), old, old); err != nil {
					t.Fatal(err)
				}
			}
			r = openRing(t, r.dir, c)
			next := r.rotate()
			c.advance(20 * time.Minute)
			r.tidy()
			if got, err := r.Signer(); err != nil || got != next {
				t.Errorf("got signer %s %v, want the key of the rotation that was tried again, %s", got, err, next)
			}
			c.advance(3 * time.Hour)
			r.tidy()
			r.wants("in the end", next, next)
			for _, f := range r.files() {
				if f != next+".pem" && f != "first.next" {
					t.Errorf("left behind: %s", f)
				}
			}
		})
	}
}

// TestKeyRotateEvery: keys follow each other by themselves.
func TestKeyRotateEvery(t *testing.T) {
	t.Parallel()
	c := &clock{}
	a := openRing(t, filepath.Join(t.TempDir(), "keys"), c)
	b := openRing(t, a.dir, c)
	first, _ := a.Signer()
	tick := func(r *ring) {
		t.Helper()
		if err := r.Tidy(24*time.Hour, func(at time.Time) time.Time { return at.Add(2 * time.Hour) }); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{first: true}
	for range 4 * 24 * 6 {
		c.advance(10 * time.Minute)
		tick(a)
		tick(b)
		signer, err := b.Signer()
		if err != nil {
			t.Fatal(err)
		}
		seen[signer] = true
	}
	if len(seen) != 4 && len(seen) != 5 {
		t.Errorf("got %d signing keys in four days, want one a day", len(seen))
	}
	if n := len(a.Published()); n > 2 {
		t.Errorf("got %d published keys, want 2 at most", n)
	}
}

// TestAdminKeys: rotation, retirement and compromise over HTTP, on record.
func TestAdminKeys(t *testing.T) {
	t.Parallel()
	var l logs
	n := server(t)
	r := start(t, n.URL(), func(c *issuer.Config) { c.KeyDelay, c.Logger = 3*time.Second, l.logger() })
	other := startWith(t, n.URL(), r.cfg)
	root := r.user("root", issuer.ScopeAdmin)
	r.user("fraud", issuer.ScopeRevoke)
	admin, system := r.login("root").Access, r.login("fraud").Access
	first := issuer.KeyID(r.Issuer, admin)
	states := func(a answer) map[string]string {
		out := map[string]string{}
		ks, _ := a.body["keys"].([]any)
		for _, k := range ks {
			out[k.(object)["kid"].(string)] = k.(object)["state"].(string)
		}
		return out
	}
	list := func() map[string]string { return states(other.with("GET", "/admin/keys", admin)) }
	if got := list(); len(got) != 1 || got[first] != "signing" {
		t.Errorf("list: got %v", got)
	}
	r.want("list with too little", r.with("GET", "/admin/keys", system), 403, "insufficient_scope")
	r.want("rotate with too little", r.send("POST", "/admin/keys/rotate", system, object{}), 403, "insufficient_scope")
	r.want("retire the last", r.send("POST", "/admin/keys/"+first+"/retire", admin, object{}), 409, "invalid_request")
	r.want("retire none", r.send("POST", "/admin/keys/nope/retire", admin, object{}), 404, "invalid_request")
	rotated := r.send("POST", "/admin/keys/rotate", admin, object{"reason": "yearly", "txn": "t1"})
	r.want("rotate", rotated, 200, "")
	second, _ := rotated.body["kid"].(string)
	if rotated.body["state"] != "waiting" || rotated.body["signs_at"] == nil || rotated.body["txn"] != "t1" {
		t.Errorf("rotate: got %s", rotated.raw)
	}
	until(t, "the new key signs on both replicas, the old one is retired", func() bool {
		return list()[second] == "signing" && list()[first] == "retired" && issuer.KeyID(r.Issuer, r.login("root").Access) == second
	})
	r.alive("a token of the retired key", admin)

	s := r.login("fraud") // by the second key
	if issuer.KeyID(r.Issuer, s.Access) != second {
		t.Fatal("not by the second key")
	}
	at := "/admin/keys/" + url.PathEscape(second) + "/revoke"
	r.want("revoke without confirmation", r.send("POST", at, admin, object{"reason": "stolen"}), 400, "invalid_request")
	r.want("revoke none", r.send("POST", "/admin/keys/nope/revoke", admin, object{"reason": "stolen", "confirm": "nope"}), 404, "invalid_request")
	if p := r.send("POST", at, admin, object{"dry_run": true}); p.status != 200 || p.body["signing"] != true {
		t.Errorf("preview: got %d %s", p.status, p.raw)
	}
	r.alive("after a preview", s.Access)
	revoked := r.send("POST", at, admin, object{"reason": "stolen", "confirm": second, "txn": "t2"})
	r.want("revoke", revoked, 200, "")
	r.dead("a token of the revoked key", s.Access)
	r.alive("a token of another key", admin)
	all := r.statements()
	found := slices.IndexFunc(all, func(s events.Revocation) bool { return s.ID == revoked.ID }) // the other replica may have renewed it already
	if found < 0 {
		t.Fatalf("%s is not on record", revoked.ID)
	}
	if last := all[found]; last.Scope != events.Key || last.Key != second || last.Actor != root.Sub || last.Reason != "stolen" || last.Txn != "t2" {
		t.Errorf("on record: got %+v", last)
	}
	fresh := r.refresh(s.Refresh) // the session is untouched: only the key's tokens die
	r.want("refresh", fresh, 200, "")
	third := issuer.KeyID(r.Issuer, fresh.Access)
	if third == second || third == "" {
		t.Errorf("after the revocation %s signs", third)
	}
	until(t, "both replicas agree", func() bool {
		got := list()
		set := other.with("GET", "/.well-known/jwks.json", "")
		return got[second] == "revoked" && !strings.Contains(set.raw, second) && strings.Contains(set.raw, third) && other.refresh(fresh.Refresh).status != 503
	})
	if strings.Contains(l.String(), "PRIVATE") {
		t.Error("a private key was logged")
	}
	for _, file := range []string{first, second} {
		text, err := os.ReadFile(filepath.Join(r.cfg.KeysDir, file+".pem"))
		if err != nil {
			t.Fatal(err)
		}
		line := strings.Split(string(text), "\n")[4]
		if body, err := json.Marshal(list()); err != nil || strings.Contains(l.String(), line) || strings.Contains(string(body), line) {
			t.Errorf("a line of the private key %s was told %v", file, err)
		}
	}
}

// TestKeyIDsAreNoFlags: they are typed and pasted as arguments.
func TestKeyIDsAreNoFlags(t *testing.T) {
	t.Parallel()
	for range 1000 {
		if kid, err := issuer.NewKeyID("EdDSA"); err != nil || kid[0] == '-' {
			t.Fatalf("got %q %v", kid, err)
		}
	}
}

// TestKeysRetiredAtOnce: two replicas that each retire the other's last key are not left without one.
func TestKeysRetiredAtOnce(t *testing.T) {
	t.Parallel()
	c := &clock{}
	a := openRing(t, filepath.Join(t.TempDir(), "keys"), c)
	first, _ := a.Signer()
	second := a.rotate()
	c.advance(20 * time.Minute)
	var between func()
	slow, err := issuer.OpenKeyring(a.dir, "ES256", 20*time.Minute, func() time.Time {
		if do := between; do != nil {
			between = nil
			do()
		}
		return c.now()
	})
	if err != nil {
		t.Fatal(err)
	}
	b := &ring{t, slow, a.dir, c}
	between = func() { // it has seen that the other key may sign
		if err := a.Retire(second); err != nil {
			t.Errorf("retire the one: %v", err)
		}
	}
	if err := b.Retire(first); err != nil || between != nil {
		t.Fatalf("retire the other: got %v, and the first meanwhile: %v", err, between == nil)
	}
	third, err := b.Signer()
	if err != nil || third == first || third == second {
		t.Fatalf("got signer %q %v, want a new one", third, err)
	}
	a.tidy()
	a.wants("the other replica", third, first, second, third)

	// A replica that crashed in the middle leaves it to the next round, of whomever.
	if err := os.WriteFile(filepath.Join(a.dir, third+".retired"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	both.Go(a.tidy)
	both.Go(b.tidy)
	both.Wait()
	a.tidy()
	b.tidy()
	fourth, err := a.Signer()
	if err != nil || fourth == third {
		t.Fatalf("got signer %q %v, want a new one", fourth, err)
	}
	a.wants("one replica", fourth, first, second, third, fourth)
	b.wants("the other", fourth, first, second, third, fourth)

	if err := os.WriteFile(filepath.Join(a.dir, fourth+".retired"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if kid, err := openRing(t, a.dir, c).Signer(); err != nil || kid == fourth {
		t.Errorf("after a restart: got signer %q %v, want a new one", kid, err)
	}
}
