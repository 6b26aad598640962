package cache_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/quash-auth/quash/cache"
)

// BenchmarkExpiry1M: one million statements expire in one second. How long does a new
// statement take meanwhile, until it is effective and until it is acknowledged? Baseline:
// the same before anything expires.
func BenchmarkExpiry1M(b *testing.B) {
	for b.Loop() {
		clock := newFakeClock()
		d := newDenylist(b, cache.Config{Now: clock.Now, SweepInterval: time.Second})
		start := clock.unix.Load()
		fill(b, d, million, start+3600)
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()

		next := million
		one := func() time.Duration {
			s := statements(next, 1, start+100_000)
			next++
			begin := time.Now()
			if err := d.Apply(s); err != nil {
				b.Fatal(err)
			}
			return time.Since(begin)
		}
		// One new statement a millisecond, before and while the million leaves.
		tick := time.NewTicker(time.Millisecond)
		var quiet, busy []time.Duration
		for range 1000 {
			<-tick.C
			quiet = append(quiet, one())
		}
		clock.unix.Store(start + 3600 + 121)
		for d.Stats().Entries > next-million { // until only the new ones are left
			<-tick.C
			busy = append(busy, one())
		}
		tick.Stop()
		cancel()
		<-ended
		left := d.Stats().Entries
		d.Close()
		us := func(of []time.Duration, q float64) float64 {
			slices.Sort(of)
			return float64(of[int(q*float64(len(of)-1))].Nanoseconds()) / 1e3
		}
		b.ReportMetric(us(busy, 0.5), "µs-p50")
		b.ReportMetric(us(busy, 0.99), "µs-p99")
		b.ReportMetric(us(busy, 1), "µs-max")
		b.ReportMetric(us(quiet, 0.5), "µs-p50-quiet")
		b.ReportMetric(us(quiet, 0.99), "µs-p99-quiet")
		b.ReportMetric(us(quiet, 1), "µs-max-quiet")
		b.ReportMetric(float64(len(busy)), "statements-meanwhile")
		b.ReportMetric(float64(left), "entries-left")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkSweep1M: the cost of looking at, and of removing, one entry.
func BenchmarkSweep1M(b *testing.B) {
	for b.Loop() {
		clock := newFakeClock()
		d := newDenylist(b, cache.Config{Now: clock.Now, Grace: time.Second})
		start := clock.unix.Load()
		fill(b, d, million/2, start+10)
		for from := million / 2; from < million; from += 10_000 {
			if err := d.Apply(statements(from, 10_000, start+100)); err != nil {
				b.Fatal(err)
			}
		}
		clock.unix.Store(start + 20)
		begin := time.Now()
		half := d.Sweep()
		first := time.Since(begin)
		clock.unix.Store(start + 200)
		begin = time.Now()
		d.Sweep()
		rest := time.Since(begin)
		if d.Stats().Entries != 0 {
			b.Fatal("entries left")
		}
		d.Close()
		b.ReportMetric(float64(first.Nanoseconds())/million, "ns/entry-half-expired")
		b.ReportMetric(float64(rest.Nanoseconds())/float64(million-half), "ns/entry-all-expired")
	}
	b.ReportMetric(0, "ns/op")
}
