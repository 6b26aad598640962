package issuer_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quash-auth/quash/issuer"
)

// BenchmarkIssue compares an access token with the bare ES256 signature in the same run.
func BenchmarkIssue(b *testing.B) {
	r := start(b, server(b).URL())
	signer, err := issuer.RawSigner(r.Issuer)
	if err != nil {
		b.Fatal(err)
	}
	key := signer.(*ecdsa.PrivateKey)
	payload := bytes.Repeat([]byte("x"), 450)
	var raw, issue time.Duration
	n := 0
	for b.Loop() { // alternating, so that both see the same machine
		at := time.Now()
		sum := sha256.Sum256(payload)
		if _, _, err := ecdsa.Sign(rand.Reader, key, sum[:]); err != nil {
			b.Fatal(err)
		}
		mid := time.Now()
		if _, err := issuer.Sign(r.Issuer); err != nil {
			b.Fatal(err)
		}
		raw += mid.Sub(at)
		issue += time.Since(mid)
		n++
	}
	b.ReportMetric(float64(raw.Nanoseconds())/float64(n), "raw-ns/op")
	b.ReportMetric(float64(issue.Nanoseconds())/float64(n), "issue-ns/op")
	b.ReportMetric(float64(raw)/float64(issue), "of-raw-rate")
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
