package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

func stepStart(ctx context.Context, d *demo) (found, error) {
	began := time.Now()
	if err := d.world.open(ctx); err != nil {
		return found{}, err
	}
	d.client = newClient(d.world.issuerURL(), d.world.size)
	d.client.waits = d.waits
	return found{fmt.Sprintf("issuer and %d nodes ready", d.world.size), time.Since(began)}, nil
}

func stepLogin(ctx context.Context, d *demo) (found, error) {
	began := time.Now()
	user := d.world.creds.user
	var err error
	if d.first, err = d.client.login(ctx, user.name, user.password); err != nil {
		return found{}, err
	}
	took := time.Since(began)
	if d.other, err = d.client.login(ctx, user.name, user.password); err != nil {
		return found{}, err
	}
	claims, err := claimsOf(d.first.Access)
	if err != nil {
		return found{}, err
	}
	d.sub = claims.Sub
	return found{"200, twice", took}, nil
}

func stepCall(ctx context.Context, d *demo) (found, error) {
	began := time.Now()
	for _, t := range []tokens{d.first, d.other} {
		if err := d.everyNodeAtLast(ctx, t.Access, http.StatusOK); err != nil {
			return found{}, err
		}
	}
	return found{fmt.Sprintf("200 from %d of %d, both", d.world.size, d.world.size), time.Since(began)}, nil
}

func stepRefresh(ctx context.Context, d *demo) (found, error) {
	began := time.Now()
	a, err := d.client.refresh(ctx, d.first.Refresh)
	if err != nil {
		return found{}, err
	}
	if a.status != http.StatusBadRequest || !strings.Contains(string(a.body), `"invalid_grant"`) {
		return found{}, fmt.Errorf("answered %d %s", a.status, a.text())
	}
	return found{"400 invalid_grant", time.Since(began)}, nil
}

func stepOther(ctx context.Context, d *demo) (found, error) {
	if err := d.everyNodeAtLast(ctx, d.other.Access, http.StatusOK); err != nil {
		return found{}, err
	}
	a, err := d.client.refresh(ctx, d.other.Refresh)
	if err != nil {
		return found{}, err
	}
	var renewed tokens
	if a.status != http.StatusOK || json.Unmarshal(a.body, &renewed) != nil || renewed.Access == "" {
		return found{}, fmt.Errorf("its refresh answered %d %s", a.status, a.text())
	}
	d.revoked = append(d.revoked, d.other.Access) // soon: by "revoke all"
	d.other = renewed
	if err := d.everyNodeAtLast(ctx, d.other.Access, http.StatusOK); err != nil {
		return found{}, err
	}
	return found{fmt.Sprintf("200 from %d of %d, refresh 200", d.world.size, d.world.size), 0}, nil
}

// stepAgain must happen within one second of the wall clock to prove anything, so
// it begins early in one and tries again if the machine was too slow.
func stepAgain(ctx context.Context, d *demo) (found, error) {
	admin, err := d.client.login(ctx, d.world.creds.admin.name, d.world.creds.admin.password)
	if err != nil {
		return found{}, err
	}
	for range 20 {
		d.revoked = append(d.revoked, d.other.Access)
		if err := sleepUntil(ctx, time.Now().Truncate(time.Second).Add(time.Second+10*time.Millisecond)); err != nil {
			return found{}, err
		}
		began := time.Now()
		a, err := d.client.revoke(ctx, admin.Access, map[string]any{"scope": "subject", "key": d.sub, "reason": "demo: revoke all"})
		if err != nil {
			return found{}, err
		}
		if a.status/100 != 2 {
			return found{}, fmt.Errorf("POST /admin/revocations answered %d %s", a.status, a.text())
		}
		if d.latest, err = d.client.login(ctx, d.world.creds.user.name, d.world.creds.user.password); err != nil {
			return found{}, err
		}
		if err := d.everyNodeSoon(ctx, d.revoked, http.StatusUnauthorized); err != nil {
			return found{}, err
		}
		if err := d.everyNodeAtLast(ctx, d.latest.Access, http.StatusOK); err != nil {
			return found{}, fmt.Errorf("the new login: %w", err)
		}
		took := time.Since(began)
		claims, err := claimsOf(d.latest.Access)
		if err != nil {
			return found{}, err
		}
		if claims.IssuedAt == began.Unix() {
			return found{fmt.Sprintf("old 401, new 200 on %d of %d, iat in the second of the revocation", d.world.size, d.world.size), took}, nil
		}
		d.other = d.latest
	}
	return found{}, errors.New("this machine needs more than a second for a revocation and a login, so nothing was proven")
}

// everyNode asks each node once.
func (d *demo) everyNode(ctx context.Context, token string, want int) error {
	return d.askNodes(ctx, nil, token, want)
}

// everyNodeAtLast is everyNode for a client that waits where a node says "not now".
func (d *demo) everyNodeAtLast(ctx context.Context, token string, want int) error {
	return d.askNodes(ctx, d.waits, token, want)
}

var errNotNow = errors.New("not now")

// askNodes joins an error for each node that differs; errNotNow is one that answers 503.
func (d *demo) askNodes(ctx context.Context, p *waits, token string, want int) error {
	errs := make([]error, len(d.world.members))
	var wg sync.WaitGroup
	for i, m := range d.world.members {
		wg.Go(func() {
			a, err := p.ask(ctx, m.name, func() (answer, error) { return d.client.get(ctx, m.url(), token) })
			switch {
			case err != nil:
				errs[i] = err
			case a.status != want:
				errs[i] = fmt.Errorf("%s answered %d instead of %d: %s", m.name, a.status, want, a.text())
				if a.status == http.StatusServiceUnavailable {
					errs[i] = fmt.Errorf("%w: %w", errNotNow, errs[i])
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// everyNodeSoon asks until each node gives the wanted answer for each token.
func (d *demo) everyNodeSoon(ctx context.Context, tokens []string, want int) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, t := range tokens {
		if err := poll(ctx, func() error { return d.everyNode(ctx, t, want) }); err != nil {
			return err
		}
	}
	return nil
}

func sleepUntil(ctx context.Context, t time.Time) error {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tokenClaims is what the demo reads of its own tokens. It trusts them: it got
// them from its own issuer.
type tokenClaims struct {
	Sub      string `json:"sub"`
	Sid      string `json:"sid"`
	IssuedAt int64  `json:"iat"`
}

func claimsOf(token string) (tokenClaims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return tokenClaims{}, errors.New("the access token is not a JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return tokenClaims{}, fmt.Errorf("decoding the access token: %w", err)
	}
	var c tokenClaims
	if err := json.Unmarshal(payload, &c); err != nil {
		return tokenClaims{}, fmt.Errorf("decoding the access token: %w", err)
	}
	return c, nil
}
