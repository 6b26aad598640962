package issuer

import (
	"context"
	"errors"
	"net/http"

	"github.com/quash-auth/quash/events"
)

// errWrongPassword is no 401: the access token is fine, and a client must not try to renew it for this.
var errWrongPassword = &fault{status: http.StatusForbidden, code: "invalid_credentials", description: "the current password is wrong"}

// servePassword changes the user's own password. It asks for the current one, under the same limits as a login, and ends all
// sessions, the one at hand included.
func (i *Issuer) servePassword(w http.ResponseWriter, r *http.Request) error {
	c, err := i.own(r)
	if err != nil {
		return err
	}
	if i.reach(c).client != "" {
		return &fault{status: http.StatusForbidden, code: "access_denied", description: "this client may not change passwords"}
	}
	var current, password string
	if err := readMembers(r, field{"current_password", &current, false}, field{"new_password", &password, false}); err != nil {
		return err
	}
	switch {
	case current == "" || len(current) > maxPassword:
		return badRequest("current_password: must be 1 to 1024 bytes")
	case password == "" || len(password) > maxPassword:
		return badRequest("new_password: must be 1 to 1024 bytes")
	case password == current:
		return badRequest("new_password: is the current one")
	}
	u, err := i.account(r.Context(), c.Subject)
	if err != nil {
		return err
	}
	if _, elsewhere := i.users.(PasswordChecker); elsewhere && u.PasswordHash == "" {
		return &fault{status: http.StatusForbidden, code: "access_denied", description: "the password is not kept here: change it where it is"}
	}
	err = i.attempt(r.Context(), u.Name, i.origin(r).address, func(try *attempt) error {
		err := i.judge(r.Context(), try, u, current)
		if err == nil {
			try.right(r.Context())
		}
		return err
	})
	if errors.Is(err, ErrCredentials) {
		return errWrongPassword
	}
	if err != nil {
		return err
	}
	ack, err := i.replacePassword(r.Context(), u, password)
	if err != nil {
		return err
	}
	i.log.Info("password changed by its user", "sub", u.Sub)
	i.forget(w, r)
	i.revokedAnswer(w, ack, "")
	return nil
}

// replacePassword sets the password unless the one that was shown is not the current one any more.
func (i *Issuer) replacePassword(ctx context.Context, u User, password string) (events.Ack, error) {
	hash, err := i.passwords.hash(ctx, password)
	if err != nil {
		return events.Ack{}, err
	}
	stale := false
	ack, err := i.alter(ctx, u.Sub, Cause{By: "user", Actor: u.Sub, Reason: "password changed"}, func(now *User) {
		if stale = now.PasswordHash != u.PasswordHash || now.Disabled; !stale {
			now.PasswordHash = hash
		}
	})
	if err == nil && stale {
		err = errWrongPassword
	}
	return ack, err
}
