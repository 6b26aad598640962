package cache_test

import (
	"os"
	"runtime"
	"testing"

	"github.com/quash-auth/quash/cache"
)

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkMemory1M: bytes per living statement, every detail kept; and the same if every
// one of them is about a subject, whose cutoff is pinned as well. Baseline: a ristretto
// alone that holds the same million with a TTL.
func BenchmarkMemory1M(b *testing.B) {
	for b.Loop() {
		before := heap()
		d := newDenylist(b, cache.Config{})
		fill(b, d, million, later())
		all := (heap() - before) / million
		st := d.Stats()
		d.Close()
		runtime.KeepAlive(d)
		before = heap()
		subjects := newDenylist(b, cache.Config{})
		for from := 0; from < million; from += 10_000 {
			batch := make([]cache.Statement, 10_000)
			for i := range batch {
				batch[i] = cache.Statement{Scope: cache.Subject, Issuer: iss, Key: benchKey(from + i), Before: 1, Until: later(), Sequence: 1}
			}
			if err := subjects.Apply(batch); err != nil {
				b.Fatal(err)
			}
		}
		subjects.Settle()
		perSubject := (heap() - before) / million
		subjects.Close()
		runtime.KeepAlive(subjects)
		before = heap()
		plain := plainMillion(b)
		alone := (heap() - before) / million
		plain.Close()
		runtime.KeepAlive(plain)
		b.ReportMetric(all, "B/statement")
		b.ReportMetric(float64(st.IndexBytes)/million, "B/statement-index")
		b.ReportMetric(perSubject, "B/subject")
		b.ReportMetric(alone, "B/ristretto")
		b.ReportMetric(all/alone, "x-ristretto")
		b.ReportMetric(float64(st.RecordMissing.Lost), "lost")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMemory10M: bytes per living statement at ten million with a budget for
// details. It takes a minute and a gigabyte: set QUASH_BENCH_LARGE=1 for the whole size,
// otherwise it runs with 100,000.
func BenchmarkMemory10M(b *testing.B) {
	n := 100_000
	if os.Getenv("QUASH_BENCH_LARGE") == "1" {
		n = 10 * million
	}
	for b.Loop() {
		before := heap()
		d := newDenylist(b, cache.Config{DetailBytes: int64(n) * 16})
		fill(b, d, n, later())
		all := (heap() - before) / float64(n)
		st := d.Stats()
		d.Close()
		runtime.KeepAlive(d)
		b.ReportMetric(float64(n), "statements")
		b.ReportMetric(all, "B/statement")
		b.ReportMetric(float64(st.IndexBytes)/float64(n), "B/statement-index")
		b.ReportMetric(all-16, "B/statement-beyond-budget")
	}
	b.ReportMetric(0, "ns/op")
}
