package issuer

import (
	"context"
	"fmt"
	"slices"

	"github.com/quash-auth/quash/events"
)

// ScopeChange says what an account may do from now on.
type ScopeChange struct {
	// Set takes the place of all it has; nil: Add and Remove say what changes.
	Set []string
	// Add and Remove, at least one. What the account has already, or has not, does no harm; a scope in both is an error.
	Add, Remove []string
}

func (c ScopeChange) of(was []string) []string {
	if c.Set != nil {
		was = c.Set
	}
	now := slices.DeleteFunc(slices.Clone(was), func(s string) bool { return slices.Contains(c.Remove, s) })
	for _, s := range c.Add {
		if !slices.Contains(now, s) {
			now = append(now, s)
		}
	}
	return now
}

// problem names the member of the request's body.
func (c ScopeChange) problem() string {
	switch {
	case c.Set != nil && len(c.Add)+len(c.Remove) > 0:
		return "scopes: says all that the account has, so add and remove say nothing: send one or the other"
	case c.Set == nil && len(c.Add)+len(c.Remove) == 0:
		return "scopes: is required, or add and remove"
	}
	for _, s := range c.Add {
		if slices.Contains(c.Remove, s) {
			return "add: has a scope that is in remove as well"
		}
	}
	return ""
}

// SetScopes changes what the user may do. If she loses a scope, all her sessions end: access tokens that carry it would live on.
// On an error the call may be repeated. Errors: ErrUser, ErrNoUser, ErrUnavailable.
func (i *Issuer) SetScopes(ctx context.Context, sub string, scopes []string, why Cause) error {
	_, err := i.changeScopes(ctx, sub, ScopeChange{Set: append([]string{}, scopes...)}, why)
	return err
}

// ChangeScopes is SetScopes for one who does not know all that the user has: of two at once neither undoes the other.
func (i *Issuer) ChangeScopes(ctx context.Context, sub string, c ScopeChange, why Cause) error {
	_, err := i.changeScopes(ctx, sub, c, why)
	return err
}

func (i *Issuer) changeScopes(ctx context.Context, sub string, c ScopeChange, why Cause) (events.Ack, error) {
	if p := c.problem(); p != "" {
		return events.Ack{}, fmt.Errorf("%w: %s", ErrUser, p)
	}
	// A change that was cut off may have taken a scope, and not have ended the sessions: this one does.
	pending, err := i.store.get(ctx, pointerKey(userKey(sub)))
	if err != nil {
		return events.Ack{}, err
	}
	loses := pending.exists()
	if !loses {
		err = i.change(ctx, sub, func(u *User) bool {
			now := c.of(u.Scopes)
			loses = slices.ContainsFunc(u.Scopes, func(s string) bool { return !slices.Contains(now, s) })
			u.Scopes = now
			return !loses
		})
	}
	if err != nil || !loses {
		return events.Ack{}, err
	}
	return i.alter(ctx, sub, why, func(u *User) { u.Scopes = c.of(u.Scopes) })
}
