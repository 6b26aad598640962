package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/rpc"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	bloomfilter "github.com/krakendio/bloomfilter/v2"
	"github.com/krakendio/bloomfilter/v2/krakend"
	"github.com/krakendio/bloomfilter/v2/rotate"
	bloomrpc "github.com/krakendio/bloomfilter/v2/rpc"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
)

const pool = 32 // connections to a store: one for each client

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func withRedis(_ context.Context, n node, _ *http.ServeMux, next http.Handler) (http.Handler, error) {
	redis.SetLogger(silent{}) // it says that the store is dead, which we know
	c := redis.NewClient(&redis.Options{Addr: n.Redis, PoolSize: pool})
	return withJWT(n, next, func(ctx context.Context, claims jwt.MapClaims) (bool, error) {
		found, err := c.Exists(ctx, "denied:"+jti(claims)).Result()
		return found > 0, err
	})
}

func withRueidis(_ context.Context, n node, _ *http.ServeMux, next http.Handler) (http.Handler, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{n.Redis}, DisableCache: true})
	if err != nil {
		return nil, err
	}
	return withJWT(n, next, func(ctx context.Context, claims jwt.MapClaims) (bool, error) {
		return c.Do(ctx, c.B().Exists().Key("denied:"+jti(claims)).Build()).AsBool()
	})
}

// withRueidisCache keeps answers, "there is none" too, until the server says that the key changed.
func withRueidisCache(_ context.Context, n node, _ *http.ServeMux, next http.Handler) (http.Handler, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{n.Redis}})
	if err != nil {
		return nil, err
	}
	return withJWT(n, next, func(ctx context.Context, claims jwt.MapClaims) (bool, error) {
		err := c.DoCache(ctx, c.B().Get().Key("denied:"+jti(claims)).Cache(), 10*time.Minute).Error()
		if rueidis.IsRedisNil(err) {
			return false, nil
		}
		return err == nil, err
	})
}

func withPostgres(ctx context.Context, n node, _ *http.ServeMux, next http.Handler) (http.Handler, error) {
	cfg, err := pgxpool.ParseConfig(n.Postgres)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = pool
	c, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return withJWT(n, next, func(ctx context.Context, claims jwt.MapClaims) (found bool, err error) {
		err = c.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM denied WHERE jti = $1)", jti(claims)).Scan(&found)
		return found, err
	})
}

// withBloom is KrakenD's: its own filter, rejecter and RPC, with the settings of its documentation. Only its listener is
// ours, because its own is on all interfaces.
func withBloom(ctx context.Context, n node, mux *http.ServeMux, next http.Handler) (http.Handler, error) {
	cfg := bloomrpc.Config{Config: rotate.Config{TTL: 1500, Config: bloomfilter.Config{N: 10_000_000, P: 1e-7, HashName: bloomfilter.HASHER_OPTIMAL}}}
	filter := bloomrpc.New(ctx, cfg)
	s := rpc.NewServer()
	if err := s.Register(&filter.BloomfilterRPC); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go s.Accept(l)
	mux.HandleFunc("/rpc", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, l.Addr()) })
	r := krakend.Rejecter{BF: filter.Bloomfilter(), TokenKeys: []string{"jti"}}
	return withJWT(n, next, func(_ context.Context, claims jwt.MapClaims) (bool, error) { return r.RejectToken(claims), nil })
}

// withIntrospection asks for each request (RFC 7662) and trusts the answer alone.
func withIntrospection(_ context.Context, n node, _ *http.ServeMux, next http.Handler) (http.Handler, error) {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: pool, MaxConnsPerHost: pool}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, ok := bearer(r)
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, n.Introspec, strings.NewReader(url.Values{"token": {raw}}.Encode()))
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth("gateway", n.Secret)
		var answer struct{ Active bool }
		res, err := c.Do(req)
		if err == nil {
			err = json.NewDecoder(res.Body).Decode(&answer)
			_ = res.Body.Close()
		}
		switch {
		case err != nil || res.StatusCode != http.StatusOK:
			w.WriteHeader(http.StatusServiceUnavailable)
		case !answer.Active:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, r)
		}
	}), nil
}

// withOracle is an introspection endpoint that does nothing but look into a map: what introspection costs at least.
func withOracle(_ context.Context, _ node, mux *http.ServeMux, next http.Handler) (http.Handler, error) {
	var denied sync.Map
	mux.HandleFunc("/introspect", func(w http.ResponseWriter, r *http.Request) {
		_, no := denied.Load(r.PostFormValue("token"))
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"active":%t}`, !no)
	})
	mux.HandleFunc("/deny", func(_ http.ResponseWriter, r *http.Request) { denied.Store(r.PostFormValue("token"), true) })
	return next, nil
}

// withQuash is the middleware as the README shows it. It serves at once: before its first sync it answers 503.
func withQuash(ctx context.Context, n node, mux *http.ServeMux, next http.Handler) (http.Handler, error) {
	nc, err := events.Connect(events.ConnectConfig{URL: n.NATS})
	if err != nil {
		return nil, err
	}
	v, err := verifier.New(verifier.Config{
		NATS: nc, MaxStaleness: n.Stale, MemoBytes: n.Memo,
		Issuers: []verifier.Issuer{{Issuer: n.Issuer, Audience: []string{"api"}, Algorithms: []string{"ES256"}, JWKSURL: n.JWKS}},
	})
	if err != nil {
		return nil, err
	}
	go func() { _ = v.Run(ctx) }()
	return v.Middleware(verifier.HTTPConfig{})(next), nil
}
