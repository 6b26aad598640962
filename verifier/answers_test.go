package verifier_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/quash-auth/quash/verifier"
)

// The letters are the rows of the table of answers: RFC 6750 section 3.1 and RFC 9110 section 15.5.
func TestM1_Answers(t *testing.T) {
	const (
		realm     = `Bearer realm="api"`
		malformed = realm + `, error="invalid_token", error_description="malformed"`
		signature = realm + `, error="invalid_token", error_description="signature"`
		invalid   = realm + `, error="invalid_token", error_description="The access token is invalid"`
	)
	metadata := verifier.HTTPConfig{ResourceMetadata: "https://api.example/.well-known/oauth-protected-resource"}
	for _, tt := range []struct {
		row       string
		err       error
		config    verifier.HTTPConfig
		status    int
		challenge string
	}{
		{"a", verifier.ErrMissing, verifier.HTTPConfig{}, 401, realm},
		{"a", verifier.ErrMissing, metadata, 401, realm + `, resource_metadata="https://api.example/.well-known/oauth-protected-resource"`},
		{"a", verifier.ErrMissing, verifier.HTTPConfig{Realm: "my shop"}, 401, `Bearer realm="my shop"`},
		{"b", verifier.ErrRequest, metadata, 400, realm + `, error="invalid_request", error_description="The request must carry exactly one access token in one Authorization header"`},
		{"c", verifier.ErrMalformed, metadata, 401, malformed},
		{"d", verifier.ErrAlgorithm, verifier.HTTPConfig{}, 401, signature},
		{"d", verifier.ErrNoKey, verifier.HTTPConfig{}, 401, signature},
		{"d", verifier.ErrSignature, verifier.HTTPConfig{}, 401, signature},
		{"e", verifier.ErrType, verifier.HTTPConfig{}, 401, invalid},
		{"f", verifier.ErrIssuer, verifier.HTTPConfig{}, 401, invalid},
		{"g", verifier.ErrAudience, verifier.HTTPConfig{}, 401, invalid},
		{"h", verifier.ErrExpired, verifier.HTTPConfig{}, 401, realm + `, error="invalid_token", error_description="The access token expired"`},
		{"h", verifier.ErrNotYet, verifier.HTTPConfig{}, 401, invalid},
		{"i", verifier.ErrRevoked, verifier.HTTPConfig{}, 401, realm + `, error="invalid_token", error_description="The access token was revoked"`},
		{"i", verifier.ErrUsed, verifier.HTTPConfig{}, 401, realm + `, error="invalid_token", error_description="The access token was already used"`},
		{"i", verifier.ErrOnce, verifier.HTTPConfig{}, 401, realm + `, error="invalid_token", error_description="A one-time token is good where one is asked for, and nowhere else"`},
		{"j", verifier.ErrClaims, verifier.HTTPConfig{}, 401, invalid},
		{"j", verifier.ErrLifetime, verifier.HTTPConfig{}, 401, invalid},
		{"c-j", verifier.ErrInvalid, verifier.HTTPConfig{}, 401, invalid},
		{"k", verifier.ErrScope, verifier.HTTPConfig{Scope: []string{"orders:write"}}, 403, realm + `, error="insufficient_scope", scope="orders:write"`},
		{"k", verifier.ErrScope, verifier.HTTPConfig{Scope: []string{"a", "b"}}, 403, realm + `, error="insufficient_scope", scope="a b"`},
		{"k", verifier.ErrScope, verifier.HTTPConfig{}, 403, realm + `, error="insufficient_scope"`},
		{"l", verifier.ErrCrossOrigin, verifier.HTTPConfig{}, 403, ""},
		{"p", verifier.ErrStale, verifier.HTTPConfig{}, 503, ""},
		{"p", errors.Join(verifier.ErrNoKey, verifier.ErrStale), verifier.HTTPConfig{}, 503, ""},
		{"p", context.DeadlineExceeded, verifier.HTTPConfig{}, 503, ""},
		{"-", verifier.ErrConfig, verifier.HTTPConfig{}, 500, ""},
		{"-", errors.New("something else"), verifier.HTTPConfig{}, 500, ""},
		{"-", nil, verifier.HTTPConfig{}, 500, ""},
	} {
		for _, err := range []error{tt.err, wrapped(tt.err)} {
			t.Run(fmt.Sprintf("%s %v", tt.row, err), func(t *testing.T) {
				w := httptest.NewRecorder()
				verifier.WriteError(w, err, tt.config)
				checkAnswer(t, w, tt.status, tt.challenge)
			})
		}
	}
}

// wrapped adds what must never reach the bearer.
func wrapped(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(`fired: "stolen\device" é: %w`, err)
}

func checkAnswer(t *testing.T, w *httptest.ResponseRecorder, status int, challenge string) {
	t.Helper()
	if w.Code != status {
		t.Errorf("status: got %d, want %d", w.Code, status)
	}
	want := []string{challenge}
	if challenge == "" {
		want = nil
	}
	if got := w.Result().Header.Values("WWW-Authenticate"); !slices.Equal(got, want) {
		t.Errorf("WWW-Authenticate:\n got %q\nwant %q", got, want)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control: got %q, want no-store", got)
	}
	if got := w.Header().Get("Retry-After"); (got == "5") != (status == 503) || got != "" && got != "5" {
		t.Errorf("Retry-After: got %q with status %d", got, status)
	}
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type: got %q", got)
	}
	var body struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("body %q: %v", w.Body, err)
	}
	if body.Type != "about:blank" || body.Status != status || body.Title != http.StatusText(status) || body.Detail == "" {
		t.Errorf("body: got %+v", body)
	}
	for _, secret := range []string{"fired", "stolen"} {
		if strings.Contains(fmt.Sprint(w.Header(), w.Body), secret) {
			t.Errorf("the answer tells why: %v %s", w.Header(), w.Body)
		}
	}
}

var descriptionPattern = regexp.MustCompile(`error_description="([^"]*)"`)

// Whatever the error says and whatever the config holds, a challenge stays within RFC 6750 section 3.
func FuzzChallenge(f *testing.F) {
	kinds := []error{verifier.ErrMissing, verifier.ErrRequest, verifier.ErrMalformed, verifier.ErrSignature, verifier.ErrExpired,
		verifier.ErrRevoked, verifier.ErrAudience, verifier.ErrScope, verifier.ErrCrossOrigin, verifier.ErrStale, verifier.ErrConfig}
	for i := range kinds {
		f.Add(uint8(i), `why "quoted" \ é`, `realm"`, "https://api.example/\r\nSet-Cookie: x", "a b")
	}
	f.Fuzz(func(t *testing.T, kind uint8, why, realm, metadata, scope string) {
		w := httptest.NewRecorder()
		err := fmt.Errorf("%s: %w", why, kinds[int(kind)%len(kinds)])
		verifier.WriteError(w, err, verifier.HTTPConfig{Realm: realm, ResourceMetadata: metadata, Scope: []string{scope}})
		line := w.Header().Get("WWW-Authenticate")
		for i := range len(line) {
			if c := line[i]; c < 0x20 || c > 0x7e || c == '\\' {
				t.Fatalf("%q has %q", line, c)
			}
		}
		if strings.Count(line, `"`)%2 != 0 {
			t.Fatalf("quotes do not match: %q", line)
		}
		if m := descriptionPattern.FindStringSubmatch(line); m != nil && len(why) > 60 && strings.Contains(m[1], why) {
			t.Fatalf("%q repeats the error", line)
		}
		if strings.Contains(line, "error_description") && descriptionPattern.FindStringSubmatch(line) == nil {
			t.Fatalf("%q has a description that is not plain", line)
		}
	})
}
