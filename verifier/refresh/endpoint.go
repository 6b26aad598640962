package refresh

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxAnswer     = 1 << 20       // bytes of a token response
	maxRetryAfter = 1 * time.Hour // an issuer cannot silence a client for longer
)

// exchange sends one refresh (RFC 6749 section 6), or a Machine's request. A failure is always an *Error.
func (c Config) exchange(ctx context.Context, old Tokens) (Tokens, error) {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {old.Refresh}}
	if c.Machine {
		form = url.Values{"grant_type": {"client_credentials"}}
		if len(c.Scope) > 0 {
			form.Set("scope", strings.Join(c.Scope, " "))
		}
	}
	if c.ClientSecret == "" {
		form.Set("client_id", c.ClientID)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return Tokens{}, &Error{Kind: ErrClient, Err: err}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if c.ClientSecret != "" {
		req.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.ClientSecret))
	}
	resp, err := c.Base.RoundTrip(req)
	if err != nil {
		return Tokens{}, &Error{Kind: ErrUnavailable, Err: fmt.Errorf("send the refresh: %w", err)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return Tokens{}, &Error{Kind: ErrUnavailable, Status: resp.StatusCode, Err: fmt.Errorf("read the token response: %w", err)}
	}
	if resp.StatusCode != http.StatusOK {
		return Tokens{}, c.refusal(resp, body)
	}
	return c.accept(body, old)
}

// accept reads a successful token response (RFC 6749 section 5.1).
func (c Config) accept(body []byte, old Tokens) (Tokens, error) {
	var answer struct {
		Access  string          `json:"access_token"`
		Type    string          `json:"token_type"`
		Refresh string          `json:"refresh_token"`
		Scope   string          `json:"scope"`
		Expires json.RawMessage `json:"expires_in"`
	}
	broken := func(err error) (Tokens, error) {
		return Tokens{}, &Error{Kind: ErrUnavailable, Status: http.StatusOK, Err: err}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return broken(errors.New("the token response is not a JSON object")) // its text may hold tokens
	}
	if !headerSafe(answer.Access) {
		return broken(errors.New("the token response has no usable access_token"))
	}
	if answer.Type != "" && !strings.EqualFold(answer.Type, "Bearer") {
		return Tokens{}, &Error{Kind: ErrClient, Status: http.StatusOK, Err: fmt.Errorf("token_type %.20q is not Bearer", answer.Type)}
	}
	tokens := Tokens{Access: answer.Access, Refresh: answer.Refresh, Scope: answer.Scope}
	switch {
	case c.Machine:
		tokens.Refresh = "" // it would outlive the client's right to be served (RFC 6749 section 4.4.3)
	case tokens.Refresh == "":
		tokens.Refresh = old.Refresh
	}
	if tokens.Scope == "" {
		tokens.Scope = old.Scope
	}
	// Some issuers send expires_in as a string.
	if seconds, err := strconv.ParseFloat(string(bytes.Trim(answer.Expires, `"`)), 64); err == nil && seconds > 0 && seconds < 1e9 {
		tokens.Expires = c.Now().Add(time.Duration(seconds * float64(time.Second)))
	}
	return tokens, nil
}

// refusal sorts an unsuccessful token response (RFC 6749 section 5.2).
func (c Config) refusal(resp *http.Response, body []byte) *Error {
	var answer struct {
		Code string `json:"error"`
	}
	_ = json.Unmarshal(body, &answer) // without a code the status decides
	e := &Error{Kind: ErrClient, Status: resp.StatusCode, Code: answer.Code}
	switch {
	case resp.StatusCode == http.StatusBadRequest && answer.Code == "invalid_grant":
		e.Kind = ErrSignedOut
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusRequestTimeout:
		e.Kind = ErrUnavailable
		e.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), c.Now())
	}
	return e
}

// retryAfter reads seconds or an HTTP date (RFC 9110 section 10.2.3); 0 if there is neither.
func retryAfter(s string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(s, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(s); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// headerSafe reports whether an access token can stand in a header: visible ASCII, not empty.
func headerSafe(s string) bool {
	for i := range len(s) {
		if s[i] <= 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return s != ""
}
