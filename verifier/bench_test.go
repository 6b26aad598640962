package verifier_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
)

// Every benchmark here measures golang-jwt's parse and verify of the same tokens in the same run, in turns with ours, and
// reports the ratio. Targets: a seen token at least 60 times faster, with at most 1 allocation; a new one at most 1.10
// times the baseline alone.

// world is a verifier that holds living statements of every scope, tokens, and the baseline.
type world struct {
	*rig
	tokens []string
	theirs *jwt.Parser
}

const livingStatements = 100_000

func newWorld(b *testing.B, tokens int, change func(*verifier.Config, *memFeed)) *world {
	b.Helper()
	w := &world{rig: newRig(b, change)}
	batch := make([]events.Revocation, 0, 1000)
	for i := range livingStatements {
		scope := events.Scopes()[i%5]
		batch = append(batch, events.Revocation{Scope: scope, Key: fmt.Sprintf("revoked-%d", i)})
		if len(batch) == cap(batch) {
			w.revoke(b, batch...)
			batch = batch[:0]
		}
	}
	now := w.clock.Now()
	for i := range tokens {
		w.tokens = append(w.tokens, mint(now, object{
			"jti": fmt.Sprintf("0197f3c4-7b1e-7cc2-9a55-%012d", i), "sid": fmt.Sprintf("5e2d8f10-9a55-%d", i),
			"sub": fmt.Sprintf("user-%d", i%997), "client_id": "web", "gen": 1,
		}))
	}
	w.theirs = jwt.NewParser(
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(issA), jwt.WithAudience(api),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithTimeFunc(w.clock.Now),
	)
	return w
}

func (w *world) ours(b *testing.B, i int) {
	if _, err := w.Verify(context.Background(), w.tokens[i%len(w.tokens)]); err != nil {
		b.Fatal(err)
	}
}

func (w *world) baseline(b *testing.B, i int) {
	var claims jwt.RegisteredClaims
	if _, err := w.theirs.ParseWithClaims(w.tokens[i%len(w.tokens)], &claims, func(*jwt.Token) (any, error) { return keyA.public(), nil }); err != nil {
		b.Fatal(err)
	}
}

// warm verifies every token until the memo has them.
func (w *world) warm(b *testing.B) {
	for range 100 {
		before := w.Stats().MemoMisses
		for i := range w.tokens {
			w.ours(b, i)
		}
		if w.Stats().MemoMisses == before {
			return
		}
	}
	b.Log("the memo did not take all tokens")
}

// inTurns runs f of both sides in rounds over the given goroutines and reports the medians of ns per call and of the ratio; n is the number of calls of ours in a round, of theirs n/scale.
func inTurns(b *testing.B, goroutines, n, scale int, ours, theirs func(*testing.B, int)) {
	b.Helper()
	side := func(n int, f func(*testing.B, int)) time.Duration {
		var all sync.WaitGroup
		start := time.Now()
		for g := range goroutines {
			all.Go(func() {
				for i := range n {
					f(b, g*n+i)
				}
			})
		}
		all.Wait()
		return time.Since(start)
	}
	var mine, other, ratios []float64
	for b.Loop() {
		o := float64(side(max(n/scale, 1), theirs).Nanoseconds()) / float64(max(n/scale, 1)*goroutines)
		m := float64(side(n, ours).Nanoseconds()) / float64(n*goroutines)
		mine, other, ratios = append(mine, m), append(other, o), append(ratios, m/o)
	}
	b.ReportMetric(0, "ns/op") // a round, which says nothing
	b.ReportMetric(middle(mine), "quash-ns")
	b.ReportMetric(middle(other), "golang-jwt-ns")
	b.ReportMetric(1/middle(ratios), "times-faster")
	b.ReportMetric(middle(ratios), "of-baseline")
}

func middle(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

func BenchmarkVerifySeen(b *testing.B) {
	for _, goroutines := range []int{1, 2} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			w := newWorld(b, 1024, nil)
			w.warm(b)
			inTurns(b, goroutines, 5_000, 100, w.ours, w.baseline)
			b.ReportMetric(testing.AllocsPerRun(1000, func() { w.ours(b, 1) }), "allocs")
		})
	}
}

// BenchmarkVerifyNew is a token's first time: everything is paid, the memo's miss and filling included. The memo is too
// small to keep anything.
func BenchmarkVerifyNew(b *testing.B) {
	for _, goroutines := range []int{1, 2} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			w := newWorld(b, 256, func(c *verifier.Config, _ *memFeed) { c.MemoBytes = 1 })
			inTurns(b, goroutines, 50, 1, w.ours, w.baseline)
			if s := w.Stats(); s.MemoHits > 0 {
				b.Fatalf("%d tokens had been seen", s.MemoHits)
			}
			b.ReportMetric(testing.AllocsPerRun(100, func() { w.ours(b, 1) }), "allocs")
			b.ReportMetric(testing.AllocsPerRun(100, func() { w.baseline(b, 1) }), "golang-jwt-allocs")
		})
	}
}

// BenchmarkVerifyRefused is what an attacker can make the node do: tokens of a revoked session, seen before.
func BenchmarkVerifyRefused(b *testing.B) {
	w := newWorld(b, 64, nil)
	w.warm(b)
	w.revoke(b, events.Revocation{Scope: events.Client, Key: "web"})
	for b.Loop() {
		if _, err := w.Verify(context.Background(), w.tokens[0]); err == nil {
			b.Fatal("accepted")
		}
	}
}

// BenchmarkWatchApply is one statement among many watches: its cost must not grow with them.
func BenchmarkWatchApply(b *testing.B) {
	for _, watches := range []int{0, 10, 10_000} {
		b.Run(fmt.Sprintf("watches=%d", watches), func(b *testing.B) {
			r := newRig(b, nil)
			now := r.clock.Now()
			token := r.accepts(b, "good", mint(now, nil))
			for range watches {
				_, cancel := r.Watch(context.Background(), token)
				defer cancel()
			}
			var n atomic.Int64
			for b.Loop() {
				r.revoke(b, events.Revocation{Scope: events.Token, Key: fmt.Sprint("other-", n.Add(1))})
			}
		})
	}
}
