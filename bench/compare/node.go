package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// nodeEnv holds, for a child, what it is to be.
const nodeEnv = "QUASH_COMPARE_NODE"

// node is what a contender's process is told.
type node struct {
	Kind      string
	Issuer    string
	JWKS      string // URL
	Redis     string
	Postgres  string
	NATS      string
	Introspec string // URL
	Secret    string
	Stale     time.Duration
	Memo      int64
}

// guard wraps the handler in what is compared. It must be ready to judge when it returns.
type guard func(ctx context.Context, n node, mux *http.ServeMux, next http.Handler) (http.Handler, error)

var guards = map[string]guard{
	"none": func(_ context.Context, _ node, _ *http.ServeMux, next http.Handler) (http.Handler, error) {
		return next, nil
	},
	"jwt": func(_ context.Context, n node, _ *http.ServeMux, next http.Handler) (http.Handler, error) {
		return withJWT(n, next, nil)
	},
	"redis": withRedis, "rueidis": withRueidis, "rueidis-cache": withRueidisCache, "postgres": withPostgres,
	"bloom": withBloom, "introspect": withIntrospection, "quash": withQuash, "oracle": withOracle,
}

// runNode serves until its standard input ends, which it does with the parent.
func runNode(text string) error {
	var n node
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	mux := http.NewServeMux()
	h, err := guards[n.Kind](ctx, n, mux, http.HandlerFunc(orders))
	if err != nil {
		return err
	}
	mux.Handle("/secure", h)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); _ = srv.Close() }()
	fmt.Println(l.Addr())
	_ = srv.Serve(l)
	return nil
}

// orders is the handler that is protected.
func orders(w http.ResponseWriter, _ *http.Request) {
	w.Header()["Content-Type"] = []string{"application/json"}
	fmt.Fprint(w, `{"orders":[{"id":1,"state":"open"},{"id":2,"state":"sent"}]}`)
}

// denied asks a store whether a token was revoked. An error means that it did not say.
type denied func(ctx context.Context, claims jwt.MapClaims) (bool, error)

// withJWT is the usual middleware: parse, verify, and ask. What the store does not answer is refused with 503: whoever
// lets it pass instead accepts revoked tokens in exactly these cases.
func withJWT(n node, next http.Handler, ask denied) (http.Handler, error) {
	keys, err := fetchKeys(n.JWKS)
	if err != nil {
		return nil, err
	}
	key := func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		if k, ok := keys[kid]; ok {
			return k, nil
		}
		return nil, fmt.Errorf("unknown kid")
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(n.Issuer), jwt.WithAudience("api"), jwt.WithExpirationRequired())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims := jwt.MapClaims{}
		raw, ok := bearer(r)
		if ok {
			_, err := parser.ParseWithClaims(raw, claims, key)
			ok = err == nil
		}
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if ask != nil {
			switch no, err := ask(r.Context(), claims); {
			case err != nil:
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			case no:
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
		}
		next.ServeHTTP(w, r)
	}), nil
}

func bearer(r *http.Request) (string, bool) {
	return strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
}

func jti(c jwt.MapClaims) string {
	id, _ := c["jti"].(string)
	return id
}

// tokenID reads the jti without verifying anything.
func tokenID(raw string) string {
	c := jwt.MapClaims{}
	_, _, _ = jwt.NewParser().ParseUnverified(raw, c)
	return jti(c)
}
