package cache_test

import (
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/quash-auth/quash/cache"
)

// BenchmarkApplyOne is one new statement, from the call to the acknowledgement.
func BenchmarkApplyOne(b *testing.B) {
	d := newDenylist(b, cache.Config{})
	fill(b, d, 100_000, later())
	const n = 10_000
	batch := statements(million, n, later())
	took := make([]time.Duration, n)
	for i := range batch {
		start := time.Now()
		if err := d.Apply(batch[i : i+1]); err != nil {
			b.Fatal(err)
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	for i := 0; b.Loop(); i++ {
		if err := d.Apply(batch[i%n : i%n+1]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(took[n/2].Nanoseconds()), "ns-p50")
	b.ReportMetric(float64(took[n*99/100].Nanoseconds()), "ns-p99")
}

// BenchmarkApply is the replay of one million statements, until they are in force and until
// every detail is in ristretto and read back, against ristretto's own Set in a loop that
// retries.
func BenchmarkApply(b *testing.B) {
	const n = million
	batch := statements(0, n, later())
	for b.Loop() {
		d := newDenylist(b, cache.Config{})
		start := time.Now()
		for from := 0; from < n; from += 1000 {
			if err := d.Apply(batch[from : from+1000]); err != nil {
				b.Fatal(err)
			}
		}
		applied := time.Since(start)
		d.Settle()
		ours := time.Since(start)
		d.Close()
		plain, err := ristretto.NewCache(&ristretto.Config[string, uint64]{
			NumCounters: 1 << 10, MaxCost: math.MaxInt64, IgnoreInternalCost: true, BufferItems: 64,
		})
		if err != nil {
			b.Fatal(err)
		}
		start = time.Now()
		for i := range batch {
			for !plain.SetWithTTL(batch[i].Key, batch[i].Sequence, 0, time.Hour) {
				runtime.Gosched()
			}
		}
		plain.Wait()
		theirs := time.Since(start)
		plain.Close()
		b.ReportMetric(n/applied.Seconds(), "statements/s")
		b.ReportMetric(n/ours.Seconds(), "details/s")
		b.ReportMetric(n/theirs.Seconds(), "ristretto-sets/s")
		b.ReportMetric(theirs.Seconds()/ours.Seconds(), "x-ristretto")
	}
	b.ReportMetric(0, "ns/op")
}
