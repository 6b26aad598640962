package verifier_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/verifier"
)

func TestKeySetFromURL(t *testing.T) {
	t.Parallel()
	server := newKeyServer(t, setOf(jwkOf(keyA, nil)))
	r := newRig(t, byURL(server.URL))
	token := r.accepts(t, "first token waits for the first fetch", mint(r.clock.Now(), nil))
	if token.KeyID != "a1" {
		t.Errorf("kid: got %q", token.KeyID)
	}
	is := r.Status().Issuers[0]
	if is.Source != "url" || len(is.KeyIDs) != 1 || is.KeyIDs[0] != "a1" || is.Error != "" || is.ReadAt.IsZero() {
		t.Errorf("status: got %+v", is)
	}
}

func TestPeerBug04_FirstLoadFails(t *testing.T) {
	t.Parallel()
	server := newKeyServer(t, "")
	server.handle(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) })
	r := newRig(t, byURL(server.URL))
	raw := mint(r.clock.Now(), nil)
	r.refuses(t, "no keys", raw, verifier.ErrStale)
	if err := r.Ready(); !errors.Is(err, verifier.ErrNoKey) || !strings.Contains(err.Error(), issA) {
		t.Errorf("Ready: got %v, want ErrNoKey that names the issuer", err)
	}
	server.serve(setOf(jwkOf(keyA, nil)))
	eventually(t, "ready once the keys are there", func() bool { return r.Ready() == nil })
	r.accepts(t, "with keys", raw)
}

func TestPeerBug04_FirstSyncMissing(t *testing.T) {
	t.Parallel()
	for _, policy := range []verifier.StalePolicy{verifier.Deny, verifier.Allow} {
		r := newRig(t, func(c *verifier.Config, f *memFeed) { c.OnStale = policy; f.synced.Store(false) })
		raw := mint(r.clock.Now(), nil)
		r.refuses(t, policy.String(), raw, verifier.ErrStale)
		if _, err := r.VerifyWithin(context.Background(), raw, verifier.FreshnessRule{OnStale: verifier.Allow, MaxStaleness: time.Hour, Set: true}); !errors.Is(err, verifier.ErrStale) {
			t.Errorf("no rule may let a token through before the first sync: got %v", err)
		}
		if err := r.Ready(); !errors.Is(err, verifier.ErrStale) {
			t.Errorf("Ready: got %v, want ErrStale", err)
		}
		r.feed.synced.Store(true)
		r.accepts(t, "synced", raw)
		if err := r.Ready(); err != nil {
			t.Errorf("Ready: got %v", err)
		}
	}
}

func TestUnknownKidFlood(t *testing.T) {
	t.Parallel()
	server := newKeyServer(t, setOf(jwkOf(keyA, nil)))
	r := newRig(t, byURL(server.URL))
	r.accepts(t, "known kid", mint(r.clock.Now(), nil))
	base := server.asked.Load()
	flood := func() {
		var all sync.WaitGroup
		for i := range 64 {
			all.Go(func() {
				s := signer{fmt.Sprintf("junk-%d", i), keyA.method, keyA.key}
				for range 8 {
					raw := s.compact(text(s.header()), text(goodClaims(issA, r.clock.Now())))
					if _, err := r.Verify(context.Background(), raw); !errors.Is(err, verifier.ErrNoKey) || errors.Is(err, verifier.ErrStale) {
						t.Errorf("unknown kid: got %v, want ErrNoKey", err)
					}
				}
			})
		}
		all.Wait()
	}
	for round := int64(1); round <= 3; round++ {
		flood()
		if got := server.asked.Load() - base; got != round {
			t.Fatalf("after flood %d: %d requests, want %d", round, got, round)
		}
		r.clock.Advance(9 * time.Second)
		flood()
		if got := server.asked.Load() - base; got != round {
			t.Fatalf("9 s after flood %d: %d requests, want %d", round, got, round)
		}
		r.clock.Advance(time.Second)
	}
	r.accepts(t, "known kid afterwards", mint(r.clock.Now(), nil))
}

func TestUnknownKidIsFetchedOnceForAllWhoWait(t *testing.T) {
	t.Parallel()
	next := newES256("a2")
	server := newKeyServer(t, setOf(jwkOf(keyA, nil)))
	r := newRig(t, byURL(server.URL))
	r.accepts(t, "old key", mint(r.clock.Now(), nil))
	release, entered := make(chan struct{}), make(chan struct{}, 8)
	server.handle(func(w http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		<-release
		_, _ = w.Write([]byte(setOf(jwkOf(keyA, nil), jwkOf(next, nil))))
	})
	raw := next.compact(text(next.header()), text(goodClaims(issA, r.clock.Now())))

	// Who gives up ends only his own wait.
	impatient, cancel := context.WithCancel(context.Background())
	gone := make(chan error, 1)
	go func() { _, err := r.Verify(impatient, raw); gone <- err }()
	<-entered
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) || !errors.Is(err, verifier.ErrStale) || errors.Is(err, verifier.ErrInvalid) {
		t.Fatalf("impatient caller: got %v, want canceled and ErrStale", err)
	}
	base := server.asked.Load()
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			if _, err := r.Verify(context.Background(), raw); err != nil {
				t.Errorf("waiting caller: %v", err)
			}
		})
	}
	close(release)
	all.Wait()
	if got := server.asked.Load(); got != base {
		t.Errorf("requests: got %d more, want none", got-base)
	}
}

func TestPeerBug22_RemovedKid(t *testing.T) {
	t.Parallel()
	next := newES256("a2")
	server := newKeyServer(t, setOf(jwkOf(keyA, nil), jwkOf(next, nil)))
	r := newRig(t, func(c *verifier.Config, f *memFeed) {
		byURL(server.URL)(c, f)
		c.Issuers[0].Refresh = 20 * time.Millisecond
	})
	old := mint(r.clock.Now(), nil)
	kept := next.compact(text(next.header()), text(goodClaims(issA, r.clock.Now())))
	r.remember(t, old)
	r.remember(t, kept)
	server.serve(setOf(jwkOf(next, nil)))
	eventually(t, "the refresh", func() bool { ids := r.Status().Issuers[0].KeyIDs; return len(ids) == 1 })
	r.refuses(t, "remembered token of the removed key", old, verifier.ErrNoKey)
	hits := r.Stats().MemoHits
	r.accepts(t, "token of the key that stayed", kept)
	if r.Stats().MemoHits == hits {
		t.Error("a key that stayed lost its remembered tokens")
	}
	// The same kid with another key is another key.
	impostor := newES256("a2")
	server.serve(setOf(jwkOf(impostor, nil)))
	eventually(t, "the new key", func() bool {
		_, err := r.Verify(context.Background(), kept)
		return errors.Is(err, verifier.ErrSignature)
	})
	// An empty set is a set: nothing is accepted any more.
	server.serve(setOf())
	eventually(t, "not ready", func() bool { return errors.Is(r.Ready(), verifier.ErrNoKey) })
}

func TestKeySetIsKeptWhenTheNewOneIsBad(t *testing.T) {
	t.Parallel()
	good := setOf(jwkOf(keyA, nil))
	server := newKeyServer(t, good)
	other := newKeyServer(t, good)
	r := newRig(t, func(c *verifier.Config, f *memFeed) {
		byURL(server.URL)(c, f)
		c.Issuers[0].Refresh = 10 * time.Millisecond
	})
	raw := mint(r.clock.Now(), nil)
	r.accepts(t, "before", raw)
	plain := func(doc string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(doc)) }
	}
	for _, test := range []struct {
		what, reason string
		answer       http.HandlerFunc
	}{
		{"status", "503", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }},
		{"no content", "204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }},
		{"too large", "longer", plain(good + strings.Repeat(" ", 1<<20))},
		{"not JSON", "JWK Set", plain("<html>")},
		{"cut off", "JWK Set", plain(good[:len(good)-3])},
		{"no keys member", "keys", plain(`{"KEYS":[]}`)},
		{"two keys members", "duplicate", plain(`{"keys":[],"keys":[]}`)},
		{"keys is an object", "array", plain(`{"keys":{}}`)},
		{"one kid, two keys", "two different keys", plain(setOf(jwkOf(keyA, nil), jwkOf(keyB, object{"kid": "a1"})))},
		{"redirect to another host", "another host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusFound)
		}},
		{"redirect for ever", "redirects", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
		}},
		{"connection cut", "EOF", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	} {
		server.handle(test.answer)
		eventually(t, test.what+": an error that says so", func() bool {
			return strings.Contains(r.Status().Issuers[0].Error, test.reason)
		})
		r.accepts(t, test.what, raw)
		if err := r.Ready(); err != nil {
			t.Errorf("%s: Ready: %v", test.what, err)
		}
		unknown := signer{"zz", keyA.method, keyA.key}
		r.refuses(t, test.what+": unknown kid cannot be judged", unknown.compact(text(unknown.header()), text(goodClaims(issA, r.clock.Now()))), verifier.ErrStale)
		server.serve(good)
		eventually(t, "healed after "+test.what, func() bool { return r.Status().Issuers[0].Error == "" })
	}
	if n := other.asked.Load(); n != 0 {
		t.Errorf("the other host was asked %d times", n)
	}
}

func TestKeySetFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jwks.json")
	put := func(doc string) {
		next := path + ".new"
		if err := errors.Join(os.WriteFile(next, []byte(doc), 0o600), os.Rename(next, path)); err != nil {
			t.Fatal(err)
		}
	}
	put(setOf(jwkOf(keyA, nil)))
	r := newRig(t, func(c *verifier.Config, _ *memFeed) { c.Issuers[0].Keys, c.Issuers[0].JWKSFile = nil, path })
	raw := mint(r.clock.Now(), nil)
	r.accepts(t, "at once", raw)

	next := newES256("a2")
	put(setOf(jwkOf(keyA, nil), jwkOf(next, nil)))
	r.accepts(t, "unknown kid makes it read again", next.compact(text(next.header()), text(goodClaims(issA, r.clock.Now()))))

	put("{broken")
	eventually(t, "the broken file is noticed", func() bool { return r.Status().Issuers[0].Error != "" })
	r.accepts(t, "the old keys stay", raw)
	put(setOf(jwkOf(next, nil)))
	eventually(t, "the changed file is read", func() bool { return r.Status().Issuers[0].Error == "" })
	r.refuses(t, "removed key", raw, verifier.ErrNoKey)
}
