package issuer

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/quash-auth/quash/events"
)

// alteration is the pointer at an account that is being changed in a way that must end its sessions. It is written before the
// change and deleted after the sessions have ended: accounts may live in another store, so that the change and the
// intent cannot be one write, and a crash between them must not leave a barred user whose access tokens work.
type alteration struct {
	Began  int64  `json:"began"` // ms
	By     string `json:"by"`
	Actor  string `json:"actor,omitempty"`
	Reason string `json:"reason,omitempty"`
	Txn    string `json:"txn,omitempty"`

	key      string
	revision uint64
}

// maxAlteration is when a change that is not seen to have happened is taken for one that a crash cut off, in Timeouts.
const maxAlteration = 3

func decodeAlteration(r record) (alteration, error) {
	a := alteration{key: r.key, revision: r.revision}
	opt := true
	err := r.decode(kindAlteration, field{"began", &a.Began, !opt}, field{"by", &a.By, !opt}, field{"actor", &a.Actor, opt},
		field{"reason", &a.Reason, opt}, field{"txn", &a.Txn, opt})
	return a, err
}

func (a alteration) write() (write, error) {
	value, err := encodeRecord(kindAlteration, a.key, a)
	return write{key: a.key, value: value, revision: anyRevision}, err
}

func (a alteration) statement(sub string) events.Revocation {
	return Cause{By: a.By, Actor: a.Actor, Reason: a.Reason, Txn: a.Txn}.of(events.Subject, sub)
}

// alter changes an account and then ends its sessions.
func (i *Issuer) alter(ctx context.Context, sub string, why Cause, f func(*User)) (ack events.Ack, err error) {
	r := why.of(events.Subject, sub)
	a := alteration{Began: i.cfg.Now().UnixMilli(), By: r.By, Actor: r.Actor, Reason: r.Reason, Txn: r.Txn, key: pointerKey(userKey(sub))}
	w, err := a.write()
	if err != nil {
		return ack, err
	}
	r.Issuer = i.cfg.Issuer
	if _, err := i.complete(ctx, r); err != nil { // before anything is written
		return ack, err
	}
	if a.revision, err = i.store.put(ctx, w); err != nil {
		return ack, err
	}
	switch err = i.change(ctx, sub, f); {
	case errors.Is(err, ErrNoUser), errors.Is(err, ErrUser):
		return ack, errors.Join(err, i.altered(ctx, a)) // nothing was changed
	case err == nil:
		ack, err = i.Revoke(ctx, r)
	}
	if err != nil {
		return ack, err
	}
	if err := i.altered(ctx, a); err != nil { // the next repair ends the sessions once more, and that is all
		i.log.Warn("account changed and its sessions ended, the pointer to it not deleted yet", "error", err)
	}
	return ack, nil
}

// altered deletes the pointer, unless somebody has begun another change meanwhile: then it is theirs.
func (i *Issuer) altered(ctx context.Context, a alteration) error {
	_, err := i.store.put(ctx, write{key: a.key, revision: a.revision})
	if errors.Is(err, ErrConflict) {
		return nil
	}
	return err
}

// repairAccount ends the sessions of an account if the change was made, or may have been.
func (i *Issuer) repairAccount(ctx context.Context, pointer record) error {
	a, err := decodeAlteration(pointer)
	if err != nil {
		return err
	}
	sub, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(a.key, pointerKey("u.")))
	if err != nil {
		return badRecord(a.key, errors.New("names no account"))
	}
	u, err := i.users.Get(ctx, string(sub))
	if err != nil && !errors.Is(err, ErrNoUser) {
		return unavailable(err)
	}
	age := i.cfg.Now().Sub(time.UnixMilli(a.Began)).Abs() // replicas' clocks differ
	if !u.Disabled && age < maxAlteration*i.cfg.Timeout {
		return nil // under way
	}
	i.log.Info("ending the sessions of an account that was changed", "sub", string(sub))
	if _, err := i.Revoke(ctx, a.statement(string(sub))); err != nil {
		return err
	}
	return i.altered(ctx, a)
}
