package bench_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/verifier"
)

// signer is a key of the benchmark's own, so that golang-jwt can verify what
// the kit's verifier accepts.
type signer struct{ key *ecdsa.PrivateKey }

func (s signer) mint(b *testing.B, i int) string {
	b.Helper()
	now := time.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": issuerURL, "aud": "api", "sub": fmt.Sprintf("user-%d", i), "client_id": "web",
		"sid": fmt.Sprintf("session-%d", i), "jti": fmt.Sprintf("token-%d", i), "scope": "orders:read orders:write",
		"iat": now.Unix(), "exp": now.Add(30 * time.Minute).Unix(),
	})
	t.Header["typ"], t.Header["kid"] = "at+jwt", "k1"
	raw, err := t.SignedString(s.key)
	if err != nil {
		b.Fatal(err)
	}
	return raw
}

// BenchmarkHandler measures requests per second of one handler behind nothing,
// golang-jwt alone, golang-jwt and one Redis EXISTS, and quash with tokens it
// has seen before; 32 connections, the kinds in turns, in one run.
func BenchmarkHandler(b *testing.B) {
	redisAddr := startRedis(b)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	s := signer{key}
	tokens := make([]string, 1000)
	for i := range tokens {
		tokens[i] = s.mint(b, i)
	}
	v := readyVerifier(b, &key.PublicKey)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = []string{"application/json"}
		fmt.Fprint(w, `{"orders":[{"id":1,"state":"open"},{"id":2,"state":"sent"}]}`)
	})
	client := redis.NewClient(&redis.Options{Addr: redisAddr, PoolSize: connections})
	defer client.Close()
	kinds := []string{"none", "jwt", "jwt+redis", "quash"}
	servers := map[string]string{
		"none":      serve(b, handler),
		"jwt":       serve(b, jwtOnly(&key.PublicKey, nil, handler)),
		"jwt+redis": serve(b, jwtOnly(&key.PublicKey, client, handler)),
		"quash":     serve(b, v.Middleware(verifier.HTTPConfig{})(handler)),
	}
	for b.Loop() {
		rates := make(map[string][]float64)
		for range 5 {
			for _, kind := range kinds {
				rates[kind] = append(rates[kind], requestsPerSecond(b, servers[kind], tokens, time.Second))
			}
		}
		for _, kind := range kinds {
			b.ReportMetric(median(rates[kind]), kind+"-req/s")
		}
		q := median(rates["quash"])
		b.ReportMetric(q/median(rates["none"]), "quash/none")
		b.ReportMetric(q/median(rates["jwt"]), "quash/jwt")
		b.ReportMetric(q/median(rates["jwt+redis"]), "quash/jwt+redis")
	}
}

// readyVerifier follows a real server, as in production.
func readyVerifier(b *testing.B, key *ecdsa.PublicKey) *verifier.Verifier {
	b.Helper()
	srv := natstest.Start(b)
	js, err := jetstream.New(srv.Connect(b))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := events.EnsureStream(b.Context(), js, events.Layout{}); err != nil {
		b.Fatal(err)
	}
	v, err := verifier.New(verifier.Config{
		NATS: srv.Connect(b),
		Issuers: []verifier.Issuer{{
			Issuer: issuerURL, Audience: []string{"api"}, Algorithms: []string{"ES256"},
			Keys: []verifier.PublicKey{{ID: "k1", Algorithm: "ES256", Key: key}},
		}},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = v.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-ended })
	for v.Ready() != nil {
		<-time.After(time.Millisecond)
	}
	return v
}

// jwtOnly is the usual middleware: parse, verify, and with a client one EXISTS.
func jwtOnly(key *ecdsa.PublicKey, denied *redis.Client, next http.Handler) http.Handler {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(issuerURL), jwt.WithAudience("api"), jwt.WithExpirationRequired())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		claims := jwt.MapClaims{}
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if _, err := parser.ParseWithClaims(raw, claims, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if denied != nil {
			jti, _ := claims["jti"].(string)
			if n, err := denied.Exists(r.Context(), "denied:"+jti).Result(); err != nil || n > 0 {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func serve(b *testing.B, h http.Handler) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(l) }()
	b.Cleanup(func() {
		_ = srv.Shutdown(context.Background())
		<-ended
	})
	return l.Addr().String()
}
