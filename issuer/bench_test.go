package issuer_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/quash-auth/quash/issuer"
)

// BenchmarkIssue compares an access token of the client credentials grant with the bare ES256 signature in the same run:
// the function alone, and POST /token over HTTP with a handler that only signs.
func BenchmarkIssue(b *testing.B) {
	r := start(b, server(b).URL(), func(c *issuer.Config) { c.Clients = []issuer.Client{job("read", "write")} })
	signer, err := issuer.RawSigner(r.Issuer)
	if err != nil {
		b.Fatal(err)
	}
	key := signer.(*ecdsa.PrivateKey)
	payload := bytes.Repeat([]byte("x"), 450)
	bare := func() error {
		sum := sha256.Sum256(payload)
		_, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		return err
	}
	b.Run("function", func(b *testing.B) {
		versus(b, 16, "raw", "issue", bare, func() error {
			_, err := issuer.IssueForClient(b.Context(), r.Issuer, "job")
			return err
		})
	})
	b.Run("http", func(b *testing.B) {
		plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
			if bare() != nil {
				w.WriteHeader(500)
			}
			_, _ = w.Write(payload)
		}))
		defer plain.Close()
		form := url.Values{"grant_type": {credentials}, "client_id": {"job"}, "client_secret": {"secret of job"}}.Encode()
		versus(b, 16, "handler", "issue", func() error { return post(plain.URL, form) }, func() error { return post(r.url+"/token", form) })
	})
}

// BenchmarkIntrospect compares POST /introspect of a living token with a handler that does nothing, both over HTTP.
func BenchmarkIntrospect(b *testing.B) {
	r := start(b, server(b).URL(), func(c *issuer.Config) { c.Clients = gateways() })
	r.user("ann")
	s := r.login("ann")
	body := []byte(r.introspect("web", s.Access).raw)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}))
	defer plain.Close()
	form := url.Values{"token": {s.Access}, "client_id": {"web"}, "client_secret": {"secret of web"}}.Encode()
	versus(b, 16, "handler", "introspect", func() error { return post(plain.URL, form) }, func() error { return post(r.url+"/introspect", form) })
}

// BenchmarkLogin compares POST /login at the default cost of a password with the bare Argon2id of that cost.
func BenchmarkLogin(b *testing.B) {
	cost := issuer.Argon2Default()
	r := start(b, server(b).URL(), func(c *issuer.Config) { c.Argon2 = cost })
	r.user("ann")
	salt := make([]byte, 16)
	versus(b, 1, "argon2id", "login", func() error {
		argon2.IDKey([]byte(password), salt, cost.Time, cost.Memory, cost.Threads, 32)
		return nil
	}, func() error {
		if a := r.tryLogin("ann", password); a.status != 200 {
			return fmt.Errorf("got %d", a.status)
		}
		return nil
	})
}

func post(to, form string) error {
	res, err := http.Post(to, formType, strings.NewReader(form))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != 200 {
		return fmt.Errorf("got %d", res.StatusCode)
	}
	return nil
}

// versus times batches of two functions in turn, so that both see the same machine, and reports the medians and how many of the first
// one's rate the second one reaches.
func versus(b *testing.B, batch int, one, other string, f, g func() error) {
	var fs, gs []float64
	timed := func(f func() error) float64 {
		at := time.Now()
		for range batch {
			if err := f(); err != nil {
				b.Fatal(err)
			}
		}
		return float64(time.Since(at).Nanoseconds()) / float64(batch)
	}
	for b.Loop() {
		fs, gs = append(fs, timed(f)), append(gs, timed(g))
	}
	slices.Sort(fs)
	slices.Sort(gs)
	x, y := fs[len(fs)/2], gs[len(gs)/2]
	b.ReportMetric(x, one+"-ns/op")
	b.ReportMetric(y, other+"-ns/op")
	b.ReportMetric(x/y, "of-"+one+"-rate")
}

// BenchmarkRefresh compares POST /token over HTTP with the bare compare-and-set rate of the same server, both with as many clients.
func BenchmarkRefresh(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			r := start(b, server(b).URL())
			r.user("ann")
			tokens := make([]string, clients)
			revisions := make([]uint64, clients)
			for n := range tokens {
				tokens[n] = r.login("ann").Refresh
			}
			value := bytes.Repeat([]byte("x"), 600)
			var cas, refresh time.Duration
			rounds := 0
			each := func(f func(n int) error) time.Duration {
				var all sync.WaitGroup
				var failed atomic.Pointer[error]
				at := time.Now()
				for n := range clients {
					all.Go(func() {
						if err := f(n); err != nil {
							failed.Store(&err)
						}
					})
				}
				all.Wait()
				if err := failed.Load(); err != nil {
					b.Fatal(*err)
				}
				return time.Since(at)
			}
			for b.Loop() {
				cas += each(func(n int) (err error) {
					for range 8 {
						if revisions[n], err = issuer.CAS(b.Context(), r.Issuer, fmt.Sprintf("b.%d", n), value, revisions[n]); err != nil {
							return err
						}
					}
					return nil
				})
				refresh += each(func(n int) error {
					for range 8 {
						a := r.refresh(tokens[n])
						if a.status != 200 {
							return fmt.Errorf("refresh: %d %s", a.status, a.raw)
						}
						tokens[n] = a.Refresh
					}
					return nil
				})
				rounds++
			}
			total := float64(rounds * clients * 8)
			b.ReportMetric(total/cas.Seconds(), "cas/s")
			b.ReportMetric(total/refresh.Seconds(), "refresh/s")
			b.ReportMetric(float64(cas)/float64(refresh), "of-cas-rate")
			b.ReportMetric(float64(runtime.GOMAXPROCS(0)), "procs")
		})
	}
}

// BenchmarkRevokeAll: the cost does not depend on the number of sessions.
func BenchmarkRevokeAll(b *testing.B) {
	for _, sessions := range []int{1, 1000} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			r := start(b, server(b).URL())
			u := r.user("ann")
			for range sessions {
				r.login("ann")
			}
			before := len(r.statements())
			n := 0
			for b.Loop() {
				if err := r.Issuer.SetPassword(b.Context(), u.Sub, password, issuer.Cause{}); err != nil {
					b.Fatal(err)
				}
				n++
			}
			b.ReportMetric(float64(len(r.statements())-before)/float64(n), "statements/op")
		})
	}
}
