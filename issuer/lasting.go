package issuer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
)

// lasting is what the issuer says again and again: a key was revoked whole. Who stole it makes tokens with any iat and exp, so there is no
// instant after which none of them can be alive. The record is made once, and never deleted.
type lasting struct {
	// Own: the key was in our directory. Anybody who may publish can invent others.
	Own bool `json:"own"`
	// Asked: it was revoked through an issuer. Nobody but an operator can have many of these.
	Asked bool `json:"asked,omitempty"`
	// Statement is the one by which it was revoked: who, when and why.
	Statement json.RawMessage `json:"statement"`

	kid      string
	revision uint64
	said     events.Revocation
}

const lastingPrefix = "e.key."

func lastingKey(kid string) string {
	return lastingPrefix + base64.RawURLEncoding.EncodeToString([]byte(kid))
}

func decodeLasting(r record) (lasting, error) {
	l := lasting{revision: r.revision}
	err := r.decode(kindLasting, field{name: "own", into: &l.Own}, field{name: "statement", into: &l.Statement},
		field{name: "asked", into: &l.Asked, optional: true})
	if err != nil {
		return lasting{}, err
	}
	if l.said, err = events.Decode(l.Statement); err == nil && (l.said.Scope != events.Key || lastingKey(l.said.Key) != r.key) {
		err = errors.New("is about something else")
	}
	if err != nil {
		return lasting{}, badRecord(r.key, fmt.Errorf("statement: %w", err))
	}
	l.kid, l.Asked = l.said.Key, l.Asked || !l.Own
	return l, nil
}

func (l lasting) write() (write, error) {
	value, err := encodeRecord(kindLasting, lastingKey(l.kid), l)
	return write{key: lastingKey(l.kid), value: value, revision: l.revision}, err
}

// last is what has to be written so that a statement about a key is said for ever: nothing, if that was written before, or if it is
// about the tokens of a good key. asked: by somebody who may ask the issuer for it; he may ask again, for the newest are renewed.
// Others' statements last if the key is ours.
func (i *Issuer) last(ctx context.Context, r events.Revocation, asked bool) ([]write, error) {
	if r.Scope != events.Key || !r.Before.IsZero() {
		return nil, nil
	}
	i.renewals.again(lastingKey(r.Key))
	own := i.keys.ours(r.Key)
	if !asked && !own {
		return nil, nil
	}
	rec, err := i.store.get(ctx, lastingKey(r.Key))
	if err != nil {
		return nil, err
	}
	if rec.exists() {
		l, damaged := decodeLasting(rec) // which the rounds report, and renew what they can
		if !asked || damaged != nil || l.Own && l.Asked || l.said.ID == r.ID {
			return nil, nil
		}
		own = own || l.Own
	}
	text, err := events.Encode(sayable(r))
	if err != nil {
		return nil, err
	}
	w, err := lasting{Own: own, Asked: asked, Statement: text, kid: r.Key, revision: rec.revision}.write()
	return []write{w}, err
}

// readLasting fills known with what was written since. What cannot be read lasts as well.
func (i *Issuer) readLasting(ctx context.Context) (map[string]lasting, error) {
	keys, err := i.store.keys(ctx, lastingPrefix+"*")
	if err != nil {
		return nil, err
	}
	known := i.renewals.known
	for _, key := range i.renewals.stale() {
		if l := known[key]; !l.Own || !l.Asked {
			delete(known, key)
		}
	}
	rs, err := i.store.getAll(ctx, slices.DeleteFunc(keys, func(key string) bool { _, ok := known[key]; return ok })...)
	if err != nil {
		return nil, err
	}
	all, failed := map[string]lasting{}, error(nil)
	for _, r := range rs {
		if !r.exists() {
			continue
		}
		l, err := decodeLasting(r)
		if err != nil {
			failed = errors.Join(failed, err)
			kid, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(r.key, lastingPrefix))
			if err != nil {
				continue // names no key
			}
			all[string(kid)] = lasting{Own: i.keys.ours(string(kid)), Asked: true, kid: string(kid), revision: r.revision, said: i.bare(string(kid), time.Time{})}
			continue
		}
		known[r.key] = l
	}
	for _, l := range known {
		all[l.kid] = l
	}
	return all, failed
}

// bare is a statement about a key of which nothing else is known.
func (i *Issuer) bare(kid string, at time.Time) events.Revocation {
	return events.Revocation{ID: events.NewID(), Issuer: i.cfg.Issuer, Scope: events.Key, Key: kid, At: at, By: "system"}
}

// adopt makes those last that the directory knows of: of before there were such records, of after the records were backed up, and
// keys that were new when the statement came. It leaves a note beside the keys as well: of the two stores one may be lost.
func (i *Issuer) adopt(ctx context.Context, all map[string]lasting) error {
	var failed error
	for kid, noted := range i.keys.takenOut() {
		l, known := all[kid]
		err := error(nil)
		if !known || !l.Own {
			l, known, err = i.adoptKey(ctx, kid, noted, l)
		}
		if err == nil && known && noted.IsZero() {
			if err = i.keys.note(kid); err == nil {
				i.log.Info("key revoked for good", "kid", kid)
			}
		}
		if known {
			all[kid] = l
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

func (i *Issuer) adoptKey(ctx context.Context, kid string, noted time.Time, l lasting) (_ lasting, adopted bool, err error) {
	if noted.IsZero() {
		if e, ok := i.deny.Lookup(cache.Key, i.cfg.Issuer, kid); ok && e.Before != cache.Always {
			return l, false, nil // so far only tokens of the past are refused: the key was good
		}
		if m, err := i.store.get(ctx, markKey(events.Key, kid)); err != nil || !m.exists() {
			return l, false, err // on its way into the records, with who and why
		}
		noted = i.cfg.Now()
	}
	if l.Statement == nil {
		l = lasting{kid: kid, revision: l.revision, said: i.bare(kid, noted)}
		l.said.Until = i.retention.Until(noted)
		if l.Statement, err = events.Encode(l.said); err != nil {
			return l, false, fmt.Errorf("key %.64q: %w", kid, err)
		}
	}
	l.Own = true
	w, err := l.write()
	if err == nil {
		l.revision, err = i.store.put(ctx, w)
	}
	if errors.Is(err, ErrConflict) {
		delete(i.renewals.known, lastingKey(kid)) // another replica was first: the next round reads what it wrote
		return l, false, nil
	}
	if err == nil {
		i.renewals.known[lastingKey(kid)] = l
	}
	return l, err == nil, err
}
