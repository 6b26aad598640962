package interop

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/storage"
	"github.com/ory/fosite/token/jwt"
	"golang.org/x/crypto/bcrypt"
	xoauth2 "golang.org/x/oauth2"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// fositeServer is an OAuth server built with ory/fosite as its users build theirs.
// All it knows of quash is the hook in its store.
type fositeServer struct {
	url      string
	provider fosite.OAuth2Provider
	key      *ecdsa.PrivateKey
	strict   bool // its tokens are those of RFC 9068; otherwise what fosite makes by itself
}

// hookedStore is the whole integration: whenever fosite ends what a grant gave
// (revocation, reuse of a refresh token or of a code), a statement is published.
// Rotation is not among them: it goes through RotateRefreshToken.
type hookedStore struct {
	*storage.MemoryStore
	issuer    string
	publisher *events.Publisher
}

func (s *hookedStore) RevokeAccessToken(ctx context.Context, requestID string) error {
	if err := s.MemoryStore.RevokeAccessToken(ctx, requestID); err != nil {
		return err
	}
	_, err := s.publisher.Publish(ctx, events.Revocation{Issuer: s.issuer, Scope: events.Session, Key: requestID, By: "user", Reason: "ended by fosite"})
	return err
}

const (
	fositeClient   = "shop"
	fositeSecret   = "a secret of the shop"
	fositeRedirect = "http://127.0.0.1/callback"
)

func newFosite(t testing.TB, strict bool, natsURL string) *fositeServer {
	t.Helper()
	nc, err := events.Connect(events.ConnectConfig{URL: natsURL, Name: "fosite"})
	if err != nil {
		t.Fatal(err)
	}
	natstest.Connected(t, nc)
	t.Cleanup(nc.Close)
	publisher, err := events.NewPublisher(events.PublisherConfig{Conn: nc})
	if err != nil {
		t.Fatal(err)
	}
	f := &fositeServer{key: newKey(t, "ES256").(*ecdsa.PrivateKey), strict: strict}
	mux := http.NewServeMux()
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	f.url = web.URL

	hash, err := bcrypt.GenerateFromPassword([]byte(fositeSecret), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	store := &hookedStore{MemoryStore: storage.NewMemoryStore(), issuer: f.url, publisher: publisher}
	store.Clients[fositeClient] = &fosite.DefaultClient{ID: fositeClient, Secret: hash, Audience: []string{audience},
		GrantTypes: []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"}, Scopes: []string{"orders", "offline"},
		RedirectURIs: []string{fositeRedirect}}
	cfg := &fosite.Config{AccessTokenIssuer: f.url, GlobalSecret: []byte("thirty-two bytes of global secret"), AccessTokenLifespan: 10 * time.Minute}
	if strict {
		cfg.JWTScopeClaimKey = jwt.JWTScopeFieldString
	}
	sign := func(context.Context) (any, error) { return f.key, nil }
	f.provider = compose.Compose(cfg, store,
		&compose.CommonStrategy{CoreStrategy: compose.NewOAuth2JWTStrategy(sign, compose.NewOAuth2HMACStrategy(cfg), cfg)},
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2PKCEFactory,
		compose.OAuth2RefreshTokenGrantFactory, compose.OAuth2TokenRevocationFactory)
	mux.HandleFunc("GET /authorize", f.authorize)
	mux.HandleFunc("POST /token", f.token)
	mux.HandleFunc("POST /revoke", func(w http.ResponseWriter, r *http.Request) {
		f.provider.WriteRevocationResponse(r.Context(), w, f.provider.NewRevocationRequest(r.Context(), r))
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: f.key.Public(), KeyID: "f1", Algorithm: "ES256", Use: "sig"}}})
	})
	return f
}

// authorize has no login page: it takes the subject at its word.
func (f *fositeServer) authorize(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, err := f.provider.NewAuthorizeRequest(ctx, r)
	if err != nil {
		f.provider.WriteAuthorizeError(ctx, w, request, err)
		return
	}
	for _, s := range request.GetRequestedScopes() {
		request.GrantScope(s)
	}
	request.GrantAudience(audience)
	response, err := f.provider.NewAuthorizeResponse(ctx, request, &oauth2.JWTSession{Subject: r.FormValue("login_hint")})
	if err != nil {
		f.provider.WriteAuthorizeError(ctx, w, request, err)
		return
	}
	f.provider.WriteAuthorizeResponse(ctx, w, request, response)
}

func (f *fositeServer) token(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, err := f.provider.NewAccessRequest(ctx, r, &oauth2.JWTSession{})
	if err != nil {
		f.provider.WriteAccessError(ctx, w, request, err)
		return
	}
	session := request.GetSession().(*oauth2.JWTSession)
	// The grant's ID stays the same from refresh to refresh: it is the session.
	session.JWTClaims = &jwt.JWTClaims{Subject: session.Subject, JTI: uuid.NewString(), Extra: map[string]any{"sid": request.GetID()}}
	session.JWTHeader = &jwt.Headers{Extra: map[string]any{"kid": "f1"}}
	if f.strict {
		session.JWTClaims.Extra["client_id"] = request.GetClient().GetID()
		session.JWTHeader.Extra["typ"] = "at+jwt"
	}
	response, err := f.provider.NewAccessResponse(ctx, request)
	if err != nil {
		f.provider.WriteAccessError(ctx, w, request, err)
		return
	}
	f.provider.WriteAccessResponse(ctx, w, request, response)
}

func (f *fositeServer) client() *xoauth2.Config {
	return &xoauth2.Config{ClientID: fositeClient, ClientSecret: fositeSecret, Scopes: []string{"orders", "offline"}, RedirectURL: fositeRedirect,
		Endpoint: xoauth2.Endpoint{AuthURL: f.url + "/authorize", TokenURL: f.url + "/token", AuthStyle: xoauth2.AuthStyleInHeader}}
}

// login is code and PKCE with x/oauth2.
func (f *fositeServer) login(t testing.TB, name string) *xoauth2.Token {
	t.Helper()
	verifier := xoauth2.GenerateVerifier()
	b := newBrowser(t, fositeRedirect)
	status, page := b.open(f.client().AuthCodeURL("a state long enough", xoauth2.S256ChallengeOption(verifier), xoauth2.SetAuthURLParam("login_hint", name)))
	if b.landed == nil {
		t.Fatalf("authorization: %d %s", status, page)
	}
	token, err := f.client().Exchange(t.Context(), b.landed.Query().Get("code"), xoauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	return token
}
