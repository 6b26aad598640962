package bench_test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/quash-auth/quash/cache"
)

// startRedis starts a redis-server of our own on a free loopback port.
func startRedis(b *testing.B) string {
	b.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		b.Fatal("redis-server is not on the PATH: install it to compare with it")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(path, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", b.TempDir())
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if err = client.Ping(b.Context()).Err(); err == nil {
			return addr
		}
		if time.Now().After(deadline) {
			b.Fatalf("redis-server did not answer: %v", err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

const (
	statements = 1_000_000
	issuerURL  = "https://issuer.example"
)

func fullDenylist(b *testing.B) *cache.Denylist {
	b.Helper()
	deny, err := cache.New(cache.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { deny.Close() })
	until := time.Now().Add(time.Hour).Unix()
	scopes := []cache.Scope{cache.Token, cache.Session, cache.Subject}
	batch := make([]cache.Statement, 0, 10_000)
	for i := 0; i < statements; {
		batch = batch[:0]
		for ; len(batch) < cap(batch) && i < statements; i++ {
			s := cache.Statement{Scope: scopes[i%3], Issuer: issuerURL, Key: fmt.Sprintf("0198c2f0-7e1d-7000-8000-%012d", i), Until: until}
			if s.Scope == cache.Subject {
				s.Before = until - 7200
			}
			batch = append(batch, s)
		}
		if err := deny.Apply(batch); err != nil {
			b.Fatal(err)
		}
	}
	// One of each rare scope, so that no question is saved.
	if err := deny.Apply([]cache.Statement{
		{Scope: cache.Client, Issuer: issuerURL, Key: "gone", Before: 1, Until: until},
		{Scope: cache.Key, Issuer: issuerURL, Key: "gone", Before: 1, Until: until},
		{Scope: cache.Issuer, Issuer: "https://other.example", Before: 1, Until: until},
	}); err != nil {
		b.Fatal(err)
	}
	return deny
}

// claims are of tokens that nobody revoked.
func claims(n int) []cache.Claims {
	out := make([]cache.Claims, n)
	for i := range out {
		out[i] = cache.Claims{
			Issuer: issuerURL, ID: fmt.Sprintf("0298c2f0-7e1d-7000-8000-%012d", i),
			Session: fmt.Sprintf("0398c2f0-7e1d-7000-8000-%012d", i), Subject: fmt.Sprintf("0498c2f0-7e1d-7000-8000-%012d", i),
			Client: "web", KeyID: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", IssuedAt: time.Now().Unix(), HasIssuedAt: true,
		}
	}
	return out
}

// BenchmarkCheckAgainstRedis asks whether a token is revoked: all six scopes in
// memory, hashing included, against one EXISTS on loopback; one after the other,
// and each at its best in parallel (rueidis pipelines by itself).
func BenchmarkCheckAgainstRedis(b *testing.B) {
	addr := startRedis(b)
	deny := fullDenylist(b)
	tokens := claims(4096)
	serial := redis.NewClient(&redis.Options{Addr: addr})
	defer serial.Close()
	parallel, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true})
	if err != nil {
		b.Fatal(err)
	}
	defer parallel.Close()
	check := func(i int) {
		ref := deny.Ref(tokens[i%len(tokens)])
		if deny.Check(&ref).Revoked {
			b.Error("a token that nobody revoked was found revoked")
		}
	}
	for b.Loop() {
		var q1, r1, q2, r2 []float64
		for range 5 {
			q1 = append(q1, perOp(1, 200_000, check))
			r1 = append(r1, perOp(1, 5_000, func(i int) {
				if n, err := serial.Exists(b.Context(), tokens[i%len(tokens)].ID).Result(); err != nil || n != 0 {
					b.Error(n, err)
				}
			}))
			q2 = append(q2, perOp(2, 200_000, check))
			best := 0.0
			for _, workers := range []int{16, 128, 512} {
				ns := perOp(workers, 60_000, func(i int) {
					cmd := parallel.B().Exists().Key(tokens[i%len(tokens)].ID).Build()
					if n, err := parallel.Do(context.Background(), cmd).AsInt64(); err != nil || n != 0 {
						b.Error(n, err)
					}
				})
				if best == 0 || ns < best {
					best = ns
				}
			}
			r2 = append(r2, best)
		}
		b.ReportMetric(median(q1), "quash-ns")
		b.ReportMetric(median(r1), "redis-ns")
		b.ReportMetric(median(r1)/median(q1), "serial-redis/quash")
		b.ReportMetric(median(q2), "quash-parallel-ns")
		b.ReportMetric(median(r2), "redis-parallel-ns")
		b.ReportMetric(median(r2)/median(q2), "parallel-redis/quash")
	}
}

// perOp runs f total times on so many goroutines and returns wall nanoseconds
// per call.
func perOp(workers, total int, f func(i int)) float64 {
	var wg sync.WaitGroup
	start := time.Now()
	for w := range workers {
		wg.Go(func() {
			for i := w; i < total; i += workers {
				f(i)
			}
		})
	}
	wg.Wait()
	return float64(time.Since(start).Nanoseconds()) / float64(total)
}

func median(v []float64) float64 {
	sort.Float64s(v)
	return v[len(v)/2]
}
