package issuer

import (
	"context"
	"errors"
	"fmt"

	"github.com/quash-auth/quash/events"
)

// Cause is who ends something and why, for the audit trail.
type Cause struct {
	// By is admin, user, policy or system; empty is admin.
	By string
	// Actor, Reason, Txn as in events.Revocation.
	Actor, Reason, Txn string
}

func (c Cause) of(scope events.Scope, key string) events.Revocation {
	if c.By == "" {
		c.By = "admin"
	}
	return events.Revocation{Scope: scope, Key: key, By: c.By, Actor: c.Actor, Reason: c.Reason, Txn: c.Txn}
}

// CreateUser stores a new account with a random subject. Errors: ErrUser, ErrUserExists, ErrUnavailable.
func (i *Issuer) CreateUser(ctx context.Context, name, password string, scopes ...string) (User, error) {
	u := User{Sub: token(16), Name: name, Scopes: scopes, Created: i.cfg.Now().UTC()}
	if err := u.validate(); err != nil {
		return User{}, err
	}
	var err error
	if u.PasswordHash, err = i.passwords.hash(ctx, password); err != nil {
		return User{}, err
	}
	return i.users.Create(ctx, u)
}

// SetPassword changes the password and then ends all sessions of the user. On an error the call may be repeated. Errors: ErrUser,
// ErrNoUser, ErrUnavailable.
func (i *Issuer) SetPassword(ctx context.Context, sub, password string, why Cause) error {
	_, err := i.setPassword(ctx, sub, password, why)
	return err
}

func (i *Issuer) setPassword(ctx context.Context, sub, password string, why Cause) (events.Ack, error) {
	hash, err := i.passwords.hash(ctx, password)
	if err != nil {
		return events.Ack{}, err
	}
	return i.alter(ctx, sub, why, func(u *User) { u.PasswordHash = hash })
}

// Disable bars the user from login and refresh, and then ends all sessions. On an error the call may be repeated. Errors:
// ErrNoUser, ErrUnavailable.
func (i *Issuer) Disable(ctx context.Context, sub string, why Cause) error {
	_, err := i.disable(ctx, sub, why)
	return err
}

func (i *Issuer) disable(ctx context.Context, sub string, why Cause) (events.Ack, error) {
	return i.alter(ctx, sub, why, func(u *User) { u.Disabled = true })
}

// Enable lets the user log in again. What was revoked stays revoked. Errors: ErrNoUser, ErrUnavailable.
func (i *Issuer) Enable(ctx context.Context, sub string) error {
	if err := i.endDisabled(ctx, sub); err != nil {
		return fmt.Errorf("end the sessions of a disabled user: %w", err)
	}
	return i.change(ctx, sub, func(u *User) bool { u.Disabled = false; return true })
}

// change stores what f makes of the account, unless f returns false. Of two at once each sees what the other has done.
func (i *Issuer) change(ctx context.Context, sub string, f func(*User) bool) error {
	for range maxRounds {
		u, err := i.users.Get(ctx, sub)
		if err != nil {
			return fmt.Errorf("change user: %w", err)
		}
		if !f(&u) {
			return nil
		}
		if _, err := i.users.Update(ctx, u); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return errContended
}
