package interop

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/httprc/v3"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"golang.org/x/oauth2"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
	"github.com/quash-auth/quash/verifier"
)

const (
	// keyDelay stands for the 20 minutes of a real issuer, and learn for what its
	// verifiers are set to: they look at the key set more often than that.
	keyDelay = 10 * time.Second
	learn    = time.Second
)

// TestM17_StrangersFollowARotation rotates the signing key while other people's
// verifiers judge every token the moment it is issued: not one is refused.
func TestM17_StrangersFollowARotation(t *testing.T) {
	t.Parallel()
	w := newWorldWithOperator(t, "--key-delay", keyDelay.String())
	tokens := w.freshTokens()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	old, first := tokens()

	load := &load{t: t, strangers: map[string]*stranger{}}
	for name, verify := range followers(t, ctx, w) {
		load.strangers[name] = &stranger{verify: verify}
	}
	// The control: it reads the key set once, and so it must come to refuse.
	static, err := newGoJOSE(ctx, w.issuer, w.jwks(), "ES256")
	if err != nil {
		t.Fatal(err)
	}
	control := &stranger{verify: static}

	rotated := ""
	for n := 0; n < 300 || rotated == "" || load.least(rotated) < 50; n++ {
		if n == 100 {
			w.operate("keys", "rotate")
		}
		raw, kid := tokens()
		if kid != first {
			rotated = kid
		}
		load.judge(ctx, raw, kid)
		load.judge(ctx, old, first) // what the old key signed lives on
		control.judge(ctx, raw, kid)
		if n > 100_000 {
			t.Fatal("the new key never signed")
		}
	}
	for name, s := range load.strangers {
		if s.refused > 0 {
			t.Errorf("%s refused %d good tokens, the first one because of %v", name, s.refused, s.why)
		}
		t.Logf("%s: %d accepted, %d of them of the new key", name, s.accepted[first]+s.accepted[rotated], s.accepted[rotated])
	}
	if control.refused == 0 || control.accepted[first] == 0 {
		t.Errorf("the control took %d tokens of the first key and refused %d: the rotation was not seen", control.accepted[first], control.refused)
	}
}

// TestM17_StrangersDropARevokedKey: nodes behind our verifier refuse its tokens because
// the statement says so, other people's once they have read the key set again.
func TestM17_StrangersDropARevokedKey(t *testing.T) {
	t.Parallel()
	w := newWorldWithOperator(t)
	tokens := w.freshTokens()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	api := newNodes(t, w.nats.URL(), w.issuer, w.jwks(), verifier.Strict)
	strangers := followers(t, ctx, w)
	old, kid := tokens()
	api.accept("a token", old)
	for name, verify := range strangers {
		if _, err := verify(ctx, old); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.operate("keys", "revoke", kid, "--confirm", kid, "--reason", "stolen")
	api.soonRefuse("a token of the revoked key", old)
	fresh, other := tokens()
	if other == kid {
		t.Fatal("the revoked key still signs")
	}
	if _, err := strangers["go-oidc key set"](ctx, old); err != nil {
		t.Errorf("go-oidc drops a key by itself now (%v): change docs/interop.md", err)
	}
	for name, verify := range strangers {
		until(t, name+" accepts a token of the new key", func() bool { _, err := verify(ctx, fresh); return err == nil })
		until(t, name+" refuses one of the revoked key", func() bool { _, err := verify(ctx, old); return err != nil })
	}
	until(t, "our verifier accepts a token of the new key", func() bool { _, err := api.library.Verify(ctx, fresh); return err == nil })
	api.accept("a token of the new key", fresh)
}

// followers are set up as their documentation says, with times below the key delay.
func followers(t testing.TB, ctx context.Context, w *world) map[string]verifies {
	t.Helper()
	k, err := keyfunc.NewDefaultOverrideCtx(ctx, []string{w.jwks()}, keyfunc.Override{RefreshInterval: learn})
	if err != nil {
		t.Fatal(err)
	}
	cache, err := jwk.NewCache(ctx, httprc.NewClient())
	if err != nil {
		t.Fatal(err)
	}
	if err := cache.Register(ctx, w.jwks(), jwk.WithConstantInterval(learn)); err != nil {
		t.Fatal(err)
	}
	set, err := cache.CachedSet(w.jwks())
	if err != nil {
		t.Fatal(err)
	}
	remote, err := newRemoteKeySet(ctx, w.issuer, w.jwks(), "ES256")
	if err != nil {
		t.Fatal(err)
	}
	q := question{Issuer: w.issuer, JWKS: w.jwks(), Audience: audience, Alg: "ES256", Learn: learn.Seconds()}
	all := map[string]verifies{
		"keyfunc and golang-jwt": golangJWT(k, w.issuer, "ES256"),
		"lestrrat jwx":           jwxSet(set, w.issuer, "ES256"),
		"go-oidc key set":        remote,
		"npm jose":               startFollower(t, node("follow_jose.mjs"), q),
		"python jwt":             startFollower(t, python("follow_pyjwt.py"), q),
	}
	// keyfunc fetches for an unknown kid once in 5 minutes, and whoever sends it any kid
	// spends that. It must live by its interval.
	forged := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": w.issuer})
	forged.Header["kid"] = "made up"
	raw, err := forged.SignedString(newKey(t, "ES256"))
	if err != nil {
		t.Fatal(err)
	}
	for name, verify := range all {
		if _, err := verify(ctx, raw); err == nil {
			t.Errorf("%s accepted a made-up kid", name)
		}
	}
	return all
}

// stranger counts one verifier's verdicts on good tokens.
type stranger struct {
	verify   verifies
	accepted map[string]int // by kid
	refused  int
	why      error
}

func (s *stranger) judge(ctx context.Context, raw, kid string) {
	if _, err := s.verify(ctx, raw); err != nil {
		if s.refused++; s.why == nil {
			s.why = err
		}
		return
	}
	if s.accepted == nil {
		s.accepted = map[string]int{}
	}
	s.accepted[kid]++
}

type load struct {
	t         testing.TB
	strangers map[string]*stranger
}

// judge shows a token to all at once.
func (l *load) judge(ctx context.Context, raw, kid string) {
	var all sync.WaitGroup
	for _, s := range l.strangers {
		all.Go(func() { s.judge(ctx, raw, kid) })
	}
	all.Wait()
}

// least is how many tokens of a key the one with the fewest has judged.
func (l *load) least(kid string) int {
	least := -1
	for _, s := range l.strangers {
		if n := s.accepted[kid] + s.refused; least < 0 || n < least {
			least = n
		}
	}
	return least
}

// TestM17_TheDefaultDelayIsEnough: of the verifiers here jwx asks least often, if
// nobody tells it anything, and does not ask again for a kid it does not know.
func TestM17_TheDefaultDelayIsEnough(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64 // of the issuer's clock
	w := newLibraryIssuer(t, func(c *issuer.Config) {
		c.MaxStaleness = 24 * time.Hour // the broker's clock stays where it is
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	tokens := w.freshTokens()
	_, first := tokens()
	if _, err := w.library.RotateKey(); err != nil {
		t.Fatal(err)
	}
	until(t, "both keys are published", func() bool {
		var set jose.JSONWebKeySet
		if err := getJSON(t.Context(), w.jwks(), &set); err != nil {
			t.Fatal(err)
		}
		return len(set.Keys) == 2
	})
	ahead.Store(int64(httprc.DefaultMinInterval + time.Minute))
	if _, kid := tokens(); kid != first {
		t.Errorf("the new key signs before jwx looks for it, which is every %v", httprc.DefaultMinInterval)
	}
	ahead.Store(int64(time.Hour))
	if _, kid := tokens(); kid == first {
		t.Error("the new key does not sign after an hour")
	}
}

// newLibraryIssuer embeds an issuer, for its clock.
func newLibraryIssuer(t testing.TB, change func(*issuer.Config)) *world {
	t.Helper()
	broker := natstest.Start(t)
	var handler atomic.Value
	web := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { handler.Load().(http.Handler).ServeHTTP(rw, r) }))
	t.Cleanup(web.Close)
	w := &world{t: t, nats: broker, issuer: web.URL, keysDir: filepath.Join(t.TempDir(), "keys")}
	nc, err := events.Connect(events.ConnectConfig{URL: broker.URL(), Name: "issuer"})
	if err != nil {
		t.Fatal(err)
	}
	natstest.Connected(t, nc)
	t.Cleanup(nc.Close)
	cfg := issuer.Config{
		Issuer: w.issuer, Audience: []string{audience}, Conn: nc, KeysDir: w.keysDir, EnsureStream: true,
		RepairInterval: 50 * time.Millisecond, Argon2: issuer.Argon2{Memory: 64, Time: 1},
	}
	change(&cfg)
	i, err := issuer.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.library = i
	handler.Store(i.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- i.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
	})
	if _, err := i.CreateUser(t.Context(), user, password); err != nil {
		t.Fatal(err)
	}
	until(t, "the issuer is ready", func() bool { return i.Ready() == nil })
	return w
}

// freshTokens gives a token at each call, and its kid.
func (w *world) freshTokens() func() (raw, kid string) {
	w.t.Helper()
	refresh := w.login().Refresh
	return func() (string, string) {
		w.t.Helper()
		var next *oauth2.Token
		var err error
		until(w.t, "the issuer answers a refresh with something but 503", func() bool {
			var busy *oauth2.RetrieveError
			next, err = public(w).TokenSource(w.t.Context(), expired(refresh)).Token()
			return !errors.As(err, &busy) || busy.Response.StatusCode != http.StatusServiceUnavailable
		})
		if err != nil {
			w.t.Fatal(err)
		}
		refresh = next.RefreshToken
		parsed, _, err := jwt.NewParser().ParseUnverified(next.AccessToken, jwt.MapClaims{})
		if err != nil {
			w.t.Fatal(err)
		}
		return next.AccessToken, parsed.Header["kid"].(string)
	}
}

const operator = "root"

// newWorldWithOperator is one with somebody who may operate it.
func newWorldWithOperator(t testing.TB, more ...string) *world {
	t.Helper()
	return newWorld(t, "ES256", append(more, "--admin-user", operator+":"+password)...)
}

// operate runs a command of quash as the operator.
func (w *world) operate(args ...string) {
	w.t.Helper()
	runProgram(w.t, nil, binary, append(args, "--issuer", w.issuer, "--admin", operator+":"+password)...)
}
