package issuer

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
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

// A change is over, or was cut off, one Timeout after it began: then a repair may end the sessions of a user who is disabled. A
// change that cannot be seen may have been sent and not arrived yet: that repair waits for maxAlteration Timeouts.
// Replicas' clocks differ, so each counts from when it first saw the pointer.
const maxAlteration = 3

// sightings are when the repair loop first saw each alteration.
type sightings struct {
	mu   sync.Mutex // guards what follows
	seen map[string]sighting
}

type sighting struct {
	revision uint64
	at       time.Time
}

// age of an alteration, by this replica's clock.
func (s *sightings) age(a alteration, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string]sighting{}
	}
	if s.seen[a.key].revision != a.revision {
		s.seen[a.key] = sighting{a.revision, now}
	}
	return now.Sub(s.seen[a.key].at)
}

// keep forgets the others.
func (s *sightings) keep(keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.seen, func(key string, _ sighting) bool { return !slices.Contains(keys, key) })
}

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
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
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
	switch err = i.change(ctx, sub, func(u *User) bool { f(u); return true }); {
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

// repairAccount ends the sessions of an account if the change was made, or may have been, and whoever made it is not at it any more:
// a second statement would end a login that came after the first.
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
	patience := time.Duration(i.patience.Load())
	if !u.Disabled {
		patience *= maxAlteration
	}
	if i.sightings.age(a, i.cfg.Now()) < patience {
		return nil // under way
	}
	return i.endAltered(ctx, a, string(sub))
}

func (i *Issuer) endAltered(ctx context.Context, a alteration, sub string) error {
	i.log.Info("ending the sessions of an account that was changed", "sub", sub, "began", time.UnixMilli(a.Began))
	if _, err := i.Revoke(ctx, a.statement(sub)); err != nil {
		return err
	}
	return i.altered(ctx, a)
}

// endDisabled ends the sessions of a user whose disabling was cut off before it could: done by a repair after she was enabled, it
// would end her next login.
func (i *Issuer) endDisabled(ctx context.Context, sub string) error {
	u, err := i.users.Get(ctx, sub)
	if err != nil || !u.Disabled {
		return err
	}
	pointer, err := i.store.get(ctx, pointerKey(userKey(sub)))
	if err != nil || !pointer.exists() {
		return err
	}
	a, err := decodeAlteration(pointer)
	if err != nil {
		return err
	}
	return i.endAltered(ctx, a, sub)
}
