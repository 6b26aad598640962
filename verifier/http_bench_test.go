package verifier_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/quash-auth/quash/verifier"
	"github.com/quash-auth/quash/verifier/verifiertest"
)

const benchConnections = 32

// BenchmarkHandler measures one small JSON handler over real HTTP/1.1 on loopback with 32 connections that are kept
// open: with no auth at all, behind golang-jwt alone (ES256), and behind quash with tokens it has seen before. The
// three take turns in short rounds, so that a change of the machine's mood hits all of them; what is
// reported are the medians of the rates and of the ratios, with the spread of the ratios.
func BenchmarkHandler(b *testing.B) {
	iss := verifiertest.New(b)
	var keys jwt.Keyfunc = func(*jwt.Token) (any, error) { return iss.PublicKey(), nil }
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithAudience(verifiertest.APIAudience),
		jwt.WithIssuer(verifiertest.IssuerURL), jwt.WithExpirationRequired(), jwt.WithTimeFunc(iss.Now))
	golangJWT := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			raw, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if !ok {
				http.Error(w, "no token", http.StatusUnauthorized)
				return
			}
			if _, err := parser.ParseWithClaims(raw, jwt.MapClaims{}, keys); err != nil {
				http.Error(w, "bad token", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"orders":[{"id":1,"total":"12.50"},{"id":2,"total":"3.20"}]}`)
	})
	mux := http.NewServeMux()
	mux.Handle("GET /none", handler)
	mux.Handle("GET /jwt", golangJWT(handler))
	mux.Handle("GET /quash", iss.Verifier().Middleware(verifier.HTTPConfig{})(handler))
	server := httptest.NewServer(mux)
	defer server.Close()

	names := []string{"none", "jwt", "quash"}
	pools := make(map[string]*pool)
	for _, name := range names {
		pools[name] = newPool(b, server.Listener.Addr().String(), "/"+name, iss)
		pools[name].round(b, 4*benchConnections) // every token has been seen
	}
	for _, path := range []string{"/jwt", "/quash"} {
		if w := askAt(mux, http.MethodGet, path, "Authorization", "Bearer "+verifiertest.New(b).Mint()); w.Code != http.StatusUnauthorized {
			b.Fatalf("%s lets a foreign token through: %d", path, w.Code)
		}
	}
	const perRound = 4000
	rates := make(map[string][]float64)
	var toNone, toJWT []float64
	before := iss.Verifier().Stats()
	for b.Loop() {
		last := make(map[string]float64)
		names = append(names[1:], names[0]) // none profits from its place
		for _, name := range names {
			last[name] = perRound / pools[name].round(b, perRound).Seconds()
			rates[name] = append(rates[name], last[name])
		}
		toNone = append(toNone, last["quash"]/last["none"])
		toJWT = append(toJWT, last["quash"]/last["jwt"])
	}
	after := iss.Verifier().Stats()
	if want := uint64(len(toNone)) * perRound; after.Accepted-before.Accepted != want || after.MemoHits-before.MemoHits != want {
		b.Fatalf("quash accepted %d tokens, %d of them seen before; want %d", after.Accepted-before.Accepted, after.MemoHits-before.MemoHits, want)
	}
	for _, name := range names {
		b.ReportMetric(median(rates[name]), name+"-req/s")
	}
	b.ReportMetric(median(toNone), "x-no-auth")
	b.ReportMetric(median(toJWT), "x-golang-jwt")
	b.Logf("%s, %d CPUs, %d rounds: quash/no auth %.2f (%.2f to %.2f), quash/golang-jwt %.2f (%.2f to %.2f)", runtime.Version(),
		runtime.GOMAXPROCS(0), len(toNone), median(toNone), slices.Min(toNone), slices.Max(toNone), median(toJWT), slices.Min(toJWT), slices.Max(toJWT))
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return s[len(s)/2]
}

// pool is 32 connections, each with a token of its own. It writes requests that are ready made and reads as little
// of the answers as it can, to leave the machine to the server.
type pool struct {
	conns    []net.Conn
	readers  []*bufio.Reader
	requests [][]byte
}

func newPool(b *testing.B, addr, path string, iss *verifiertest.Issuer) *pool {
	p := new(pool)
	for i := range benchConnections {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close() })
		token := iss.Mint(verifiertest.Subject("user-"+strconv.Itoa(i)), verifiertest.Scope("orders:read", "profile"))
		p.conns = append(p.conns, c)
		p.readers = append(p.readers, bufio.NewReader(c))
		p.requests = append(p.requests, []byte("GET "+path+" HTTP/1.1\r\nHost: api.test\r\nAccept: application/json\r\nAuthorization: Bearer "+token+"\r\n\r\n"))
	}
	return p
}

// round sends n requests over all connections and returns how long that took.
func (p *pool) round(b *testing.B, n int) time.Duration {
	var all sync.WaitGroup
	errs := make(chan error, len(p.conns))
	start := time.Now()
	for i := range p.conns {
		all.Go(func() {
			for range n / len(p.conns) {
				if err := p.exchange(i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	took := time.Since(start)
	select {
	case err := <-errs:
		b.Fatal(err)
	default:
	}
	return took
}

func (p *pool) exchange(i int) error {
	if _, err := p.conns[i].Write(p.requests[i]); err != nil {
		return err
	}
	r, length := p.readers[i], -1
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !strings.HasPrefix(string(line), "HTTP/1.1 200 ") {
			return fmt.Errorf("got %q", line)
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("the answer has no length")
	}
	_, err := r.Discard(length)
	return err
}
