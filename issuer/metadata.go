package issuer

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// metadata is RFC 8414 §2. It names only what exists.
type metadata struct {
	Issuer             string   `json:"issuer"`
	Authorization      string   `json:"authorization_endpoint"`
	TokenEndpoint      string   `json:"token_endpoint"`
	UserInfo           string   `json:"userinfo_endpoint"`
	RevocationEndpoint string   `json:"revocation_endpoint"`
	Introspection      string   `json:"introspection_endpoint"`
	KeySet             string   `json:"jwks_uri"`
	ResponseTypes      []string `json:"response_types_supported"`
	ResponseModes      []string `json:"response_modes_supported"`
	ChallengeMethods   []string `json:"code_challenge_methods_supported"`
	ResponseIssuer     bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207
	Prompts            []string `json:"prompt_values_supported"`
	IDTokenAlgorithms  []string `json:"id_token_signing_alg_values_supported"`
	Claims             []string `json:"claims_supported"`
	GrantTypes         []string `json:"grant_types_supported"`
	TokenEndpointAuth  []string `json:"token_endpoint_auth_methods_supported"`
	RevocationAuth     []string `json:"revocation_endpoint_auth_methods_supported"`
	IntrospectionAuth  []string `json:"introspection_endpoint_auth_methods_supported"`
	Scopes             []string `json:"scopes_supported"`
	SubjectTypes       []string `json:"subject_types_supported"` // required by OpenID Connect Discovery
}

// serveMetadata answers both addresses with the same values.
func (i *Issuer) serveMetadata(w http.ResponseWriter, _ *http.Request) error {
	base := strings.TrimSuffix(i.cfg.Issuer, "/")
	secret := []string{"client_secret_basic", "client_secret_post"}
	auth := append(slices.Clone(secret), "none") // public clients
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Del("Pragma")
	i.respond(w, http.StatusOK, metadata{
		Issuer: i.cfg.Issuer, TokenEndpoint: base + "/token", RevocationEndpoint: base + "/revoke", Introspection: base + "/introspect",
		KeySet: base + "/.well-known/jwks.json", GrantTypes: []string{GrantAuthorizationCode, GrantRefresh, GrantClientCredentials, GrantTokenExchange},
		Authorization: base + "/authorize", UserInfo: base + "/userinfo", ResponseTypes: []string{"code"}, ResponseModes: []string{"query"},
		ChallengeMethods: []string{"S256"}, ResponseIssuer: true, Prompts: []string{"none", "login"}, IDTokenAlgorithms: i.keys.algorithms(),
		Claims:            []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "sid", "at_hash", "preferred_username"},
		TokenEndpointAuth: auth, RevocationAuth: auth, IntrospectionAuth: secret, Scopes: []string{scopeOpenID, scopeProfile, ScopeAdmin}, SubjectTypes: []string{"public"},
	})
	return nil
}

// serveKeys may be cached, for less than it takes a new key to sign.
func (i *Issuer) serveKeys(w http.ResponseWriter, _ *http.Request) error {
	age := min(300, int64(i.cfg.KeyDelay.Seconds())/2)
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", age))
	w.Header().Del("Pragma")
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(i.keys.jwks()) // the client may be gone
	return nil
}

func (i *Issuer) serveLive(w http.ResponseWriter, _ *http.Request) error {
	i.respond(w, http.StatusOK, map[string]string{"status": "alive"})
	return nil
}

// What the last probe of readiness was told.
const (
	neverProbed = iota
	probedReady
	probedNotReady
)

// serveReady logs only what changes: probes come every second or so, also while an issuer that has just started reads the stream.
func (i *Issuer) serveReady(w http.ResponseWriter, _ *http.Request) error {
	err := i.Ready()
	if err == nil {
		if i.probed.Swap(probedReady) != probedReady {
			i.log.Info("ready")
		}
		i.respond(w, http.StatusOK, map[string]string{"status": "ready"})
		return nil
	}
	switch i.probed.Swap(probedNotReady) {
	case neverProbed:
		i.log.Info("not ready yet", "error", err)
	case probedReady:
		i.log.Warn("not ready any more", "error", err)
	}
	return &fault{status: http.StatusServiceUnavailable, code: "temporarily_unavailable", description: err.Error(), after: retryAfter * 1e9, logged: true}
}
