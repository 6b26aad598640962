package renew

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/quash-auth/quash/internal/strictjson"
	"github.com/quash-auth/quash/verifier"
)

// exchange is one token's renewal. What is below done is set before done is closed.
type exchange struct {
	done chan struct{}

	access  string // empty: there is none
	expires time.Time
}

// exchange returns the renewal of a token, begun by whoever came first, or nil if none is tried.
func (r *Renewer) exchange(t *verifier.Token, raw string, now time.Time) *exchange {
	key := name{t.ID, t.Subject, t.Session, t.Client}
	r.mu.Lock()
	defer r.mu.Unlock()
	if x := r.held.tokens[key]; x != nil {
		return x
	}
	if r.closed || now.Before(r.paused) {
		return nil
	}
	x := &exchange{done: make(chan struct{})}
	if !r.held.add(key, x) {
		return nil
	}
	r.all.Go(func() {
		again := r.renew(x, t, raw)
		r.mu.Lock()
		defer r.mu.Unlock()
		close(x.done)
		r.held.answered(key)
		if again {
			r.held.remove(key)
			r.paused = r.c.Now().Add(pause)
		}
	})
	return x
}

var errRefused = errors.New("the issuer refuses to renew")

// renew does one exchange. After a failure that may pass, the token may be tried again; after a refusal it stays as it is.
func (r *Renewer) renew(x *exchange, old *verifier.Token, raw string) (again bool) {
	ctx, cancel := context.WithTimeout(r.ctx, r.c.Timeout)
	defer cancel()
	access, err := r.ask(ctx, raw)
	var next *verifier.Token
	if err == nil {
		// Nobody gets what he could not have used, or what is somebody else's.
		switch next, err = r.v.Verify(ctx, access); {
		case errors.Is(err, verifier.ErrRevoked): // meanwhile; if it were a failure, one user could stop renewal for all by logging out
			err = fmt.Errorf("%w: %w", errRefused, err)
		case err == nil && !successor(old, next):
			err = errors.New("the new token is not of the same session")
		}
	}
	switch {
	case err == nil:
		x.access, x.expires = access, next.Expires
		r.renewed.Add(1)
		return false
	case errors.Is(err, errRefused):
		r.refused.Add(1)
		r.c.Logger.Debug("access token not renewed", "err", err)
		return false
	case r.ctx.Err() != nil:
		return false
	}
	r.failed.Add(1)
	r.c.Logger.Warn("renewing access tokens fails; requests go on with those they have", "err", err, "next_try_in", pause)
	return true
}

// successor reports whether next goes on where old was.
func successor(old, next *verifier.Token) bool {
	return next.Issuer == old.Issuer && next.Subject == old.Subject && next.Session == old.Session && next.Client == old.Client &&
		next.ID != old.ID
}

// ask sends the exchange (RFC 8693 section 2.1) and returns the new token's text. No error holds a token.
func (r *Renewer) ask(ctx context.Context, raw string) (string, error) {
	form := url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {raw},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.c.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(r.c.ClientID), url.QueryEscape(r.c.ClientSecret))
	resp, err := r.http.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	switch {
	case err != nil:
		return "", fmt.Errorf("read the answer: %w", err)
	case resp.StatusCode == http.StatusBadRequest:
		return "", fmt.Errorf("%w: %s", errRefused, errorCode(body))
	case resp.StatusCode != http.StatusOK:
		return "", fmt.Errorf("the token endpoint answers %d %s", resp.StatusCode, errorCode(body))
	}
	return accessToken(body)
}

// accessToken reads the answer (RFC 8693 section 2.2.1).
func accessToken(body []byte) (string, error) {
	var access, kind string
	err := strictjson.Object(body, func(name string, raw []byte) (err error) {
		switch name {
		case "access_token":
			access, err = strictjson.String(raw)
		case "token_type":
			kind, err = strictjson.String(raw)
		}
		return err
	})
	switch {
	case err != nil:
		return "", errors.New("the token endpoint's answer is not a strict JSON object")
	case !strings.EqualFold(kind, "Bearer") || access == "":
		return "", errors.New("the token endpoint's answer holds no bearer token")
	}
	for i := range len(access) {
		if access[i] <= 0x20 || access[i] > 0x7e {
			return "", errors.New("the new token cannot stand in a header")
		}
	}
	return access, nil
}

// errorCode is the error member of an answer, made safe for a log; what else it says is not repeated.
func errorCode(body []byte) string {
	code := ""
	_ = strictjson.Object(body, func(name string, raw []byte) (err error) { // without a code the status says enough
		if name == "error" {
			code, err = strictjson.String(raw)
		}
		return err
	})
	return fmt.Sprintf("%.40q", code)
}
