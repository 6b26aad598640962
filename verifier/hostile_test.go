package verifier_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/verifier"
)

// TestHostileKeyServer: whatever the key server does with its answer, it costs a bounded part of it, the old keys stay, and
// who has a token of a known key does not wait.
func TestHostileKeyServer(t *testing.T) {
	t.Parallel()
	good := setOf(jwkOf(keyA, nil))
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	for range 64 {
		_, _ = z.Write(bytes.Repeat([]byte(" "), 1<<20))
	}
	_ = z.Close()
	endless := func(w http.ResponseWriter, r *http.Request) {
		chunk := bytes.Repeat([]byte(" "), 64<<10)
		for sent := 0; r.Context().Err() == nil; {
			n, err := w.Write(chunk)
			if sent += n; sent > 64<<20 { // what is read, and what the sockets hold
				t.Errorf("the reader took %d bytes", sent)
				return
			}
			if err != nil {
				return
			}
		}
	}
	for _, test := range []struct {
		what, reason string
		answer       http.HandlerFunc
	}{
		{"endless body", "longer", endless},
		{"64 MiB in a small gzip", "longer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		}},
		{"one byte and silence", "Timeout", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("{"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}},
		{"no answer", "Timeout", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{"endless header", "headers", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 20_000 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 1000))
			}
		}},
		{"a member 150,000 times", "duplicate", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[],` + strings.Repeat(`"a":1,`, 150_000) + `"b":1}`))
		}},
		{"nested", "deep", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(strings.Repeat(`[`, 1<<20))) }},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			server := newKeyServer(t, good)
			r := newRig(t, func(c *verifier.Config, f *memFeed) {
				byURL(server.URL)(c, f)
				c.Issuers[0].Refresh = 10 * time.Millisecond
				c.HTTPClient.Timeout = 2 * time.Second // 10 s unless somebody says so
			})
			raw := mint(r.clock.Now(), nil)
			eventually(t, "the keys are read", func() bool { return r.Ready() == nil })
			r.accepts(t, "before", raw)
			asked := make(chan struct{}, 1)
			server.handle(func(w http.ResponseWriter, q *http.Request) {
				select {
				case asked <- struct{}{}:
				default:
				}
				test.answer(w, q)
			})
			<-asked
			r.accepts(t, "meanwhile", mint(r.clock.Now(), object{"jti": "new"}))
			eventually(t, "an error that says so", func() bool { return strings.Contains(r.Status().Issuers[0].Error, test.reason) })
			r.accepts(t, "afterwards", raw)
		})
	}
}

// TestManyKeys: a set of 10,000 keys is used, one beyond the size limit is refused as a whole.
func TestManyKeys(t *testing.T) {
	t.Parallel()
	many := func(n int) string {
		keys := []object{jwkOf(keyA, nil)}
		for i := range n {
			x := sha256.Sum256(fmt.Append(nil, i))
			keys = append(keys, object{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(x[:])})
		}
		return setOf(keys...)
	}
	server := newKeyServer(t, many(10_000))
	r := newRig(t, byURL(server.URL))
	r.accepts(t, "one key of 10,001", mint(r.clock.Now(), nil))
	if n := len(r.Status().Issuers[0].KeyIDs); n != 10_001 {
		t.Errorf("%d keys are in use", n)
	}
	server = newKeyServer(t, many(15_000))
	r = newRig(t, byURL(server.URL))
	r.refuses(t, "a set that is too large", mint(r.clock.Now(), nil), verifier.ErrStale)
	if err := r.Ready(); !errors.Is(err, verifier.ErrNoKey) || !strings.Contains(err.Error(), "longer") {
		t.Errorf("Ready: got %v", err)
	}
}

// TestMemoFlood: valid tokens, each used once, do not make the memo grow beyond its bytes, and a token in use keeps being
// accepted.
func TestMemoFlood(t *testing.T) {
	t.Parallel()
	const bound = 256 << 10
	r := newRig(t, func(c *verifier.Config, _ *memFeed) { c.MemoBytes = bound })
	now, padding := r.clock.Now(), strings.Repeat("x", 2000)
	held := mint(now, nil)
	r.remember(t, held)
	most := int64(0)
	for i := range 1000 {
		r.accepts(t, "flood", mint(now, object{"jti": fmt.Sprint("flood-", i), "x": padding}))
		r.accepts(t, "in use", held)
		most = max(most, verifier.MemoBytes(r.Verifier))
	}
	if most == 0 || most > bound {
		t.Errorf("the memo weighed up to %d bytes of %d", most, bound)
	}
	t.Logf("1,000 tokens of 3 KB: the memo weighed up to %d bytes of %d", most, bound)
}

// hostile is what a bearer can send to make work.
func hostile(now time.Time) map[string]string {
	header, claims := text(keyA.header()), text(goodClaims(issA, now))
	rest := strings.TrimSuffix(claims, "}") + `,"x":`
	fill := func(unit string, n int) string { return strings.Repeat(unit, n/len(unit)) }
	members := `{`
	for i := range 900 {
		members += fmt.Sprintf(`"m%d":1,`, i)
	}
	other := keyA.compact(header, text(with(goodClaims(issA, now), object{"sub": "other"})))
	good := keyA.compact(header, claims)
	return map[string]string{
		"1 MiB":             strings.Repeat("A", 1<<20),
		"10,000 dots":       strings.Repeat(".", 10_000),
		"wrong signature":   good[:strings.LastIndexByte(good, '.')] + other[strings.LastIndexByte(other, '.'):],
		"deep claims":       b64(header) + "." + b64(rest+fill("[", 8000)) + ".AAAA",
		"deep header":       b64(`{"alg":"ES256","x":`+fill("[", 8000)) + "." + b64(claims) + ".AAAA",
		"many members":      b64(header) + "." + b64(members+claims[1:]) + ".AAAA",
		"long string":       b64(header) + "." + b64(rest+`"`+fill(`\u0041`, 9000)+`"}`) + ".AAAA",
		"long number":       b64(header) + "." + b64(rest+fill("1", 9000)+"e999999999}") + ".AAAA",
		"many audiences":    b64(header) + "." + b64(strings.Replace(claims, `"aud":`, `"aud":[`+fill(`"a",`, 9000)+`"b"],"y":`, 1)) + ".AAAA",
		"many header names": b64(members+header[1:]) + "." + b64(claims) + ".AAAA",
	}
}

func TestHostileTokens(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for what, raw := range hostile(r.clock.Now()) {
		if _, err := r.Verify(context.Background(), raw); !errors.Is(err, verifier.ErrInvalid) {
			t.Errorf("%s: got %v", what, err)
		}
		if what != "1 MiB" && len(raw) > 16<<10 {
			t.Errorf("%s: %d bytes are refused unread: it tests nothing", what, len(raw))
		}
	}
	for i := range 3 {
		r.accepts(t, "a good token between them", mint(r.clock.Now(), object{"jti": fmt.Sprint(i)}))
	}
}

// BenchmarkHostile is the work that a refused token makes, beside that of a good one which was not seen before.
func BenchmarkHostile(b *testing.B) {
	r := newRig(b, func(c *verifier.Config, _ *memFeed) { c.MemoBytes = -1 })
	list := hostile(r.clock.Now())
	list["a good token"] = mint(r.clock.Now(), nil)
	for what, raw := range list {
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Verify(context.Background(), raw); (err == nil) != (what == "a good token") {
					b.Fatal(err)
				}
			}
		})
	}
}
