package issuer

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/quash-auth/quash/events"
)

// In browsers a refresh does not go on with its session: the old one ends and a new one begins, of the same login and with
// the same absolute end. So whoever has planted a session in a browser, or listed its identifier, loses it with the first
// refresh. Both happen in one write. The sessions of one login are a family: whatever ends one of them ends the one
// that lives. All their identifiers begin with the same characters, so that one whose record has left the store still
// tells which family is meant.

// family says which session of a login is the newest.
type family struct {
	Newest string `json:"newest"`
}

// Of the 16 random bytes of an identifier the first 9, which are 12 characters, are the family's.
const (
	familyBytes = 9
	familyChars = familyBytes * 4 / 3
)

func familyKey(sid string) string { return "l." + sid[:familyChars] }

func decodeFamily(r record) (family, error) {
	var f family
	err := r.decode(kindFamily, field{name: "newest", into: &f.Newest})
	if err == nil && !sidForm(f.Newest) {
		err = badRecord(r.key, errors.New("newest: is no session identifier"))
	}
	return f, err
}

// heir is a new session for the same login, and its first secret: whoever holds the old one and the old record's salt can
// compute it again.
func (s *session) heir(presented []byte, now time.Time, idle time.Duration) (*session, []byte) {
	h := *s
	h.sid, h.revision = s.sid[:familyChars]+base64.RawURLEncoding.EncodeToString(random(16-familyBytes)), 0
	h.Idle = min(now.Add(idle).Unix(), s.End)
	h.Tag, h.Prev, h.Salt, h.Rotated, h.Count = random(32), nil, nil, 0, 0
	h.Next, h.State, h.Intent, h.Ended, h.Sequence = "", live, nil, "", 0
	s.Next, s.Salt, s.Rotated = h.sid, random(32), now.UnixMilli()
	secret := s.heirSecret(&h, presented)
	h.Current = hashSecret(secret)
	return &h, secret
}

func (s *session) heirSecret(h *session, presented []byte) []byte {
	m := hmac.New(sha256.New, presented)
	m.Write([]byte("quash session successor\x00"))
	m.Write([]byte(s.sid))
	m.Write([]byte(h.sid))
	m.Write(s.Salt)
	return h.secret(m.Sum(nil))
}

// renew ends the session and begins its heir: first both records with the intent to publish, then the statement, then the
// answer. What a crash leaves between is repaired like every ending.
func (i *Issuer) renew(ctx context.Context, s *session, secret []byte, asked []string, issued time.Time) (*grant, error) {
	if err := i.step("renew"); err != nil {
		return nil, err
	}
	scope, err := i.stillGranted(ctx, s, asked) // before the write: who is refused keeps a cookie that was not used up
	if err != nil {
		return nil, err
	}
	if err := i.haste.token(s.Sub); err != nil {
		return nil, err
	}
	h, next := s.heir(secret, issued, i.cfg.RefreshIdle)
	statement, err := i.complete(ctx, events.Revocation{ID: events.NewID(), Issuer: i.cfg.Issuer, Scope: events.Session, Key: s.sid,
		By: "user", Actor: s.Sub, Reason: "renewed: a new session took its place"})
	if err != nil {
		return nil, err
	}
	if s.Intent, err = events.Encode(statement); err != nil {
		return nil, err
	}
	s.State = ending
	err = i.writeHeir(ctx, s, h)
	if errors.Is(err, ErrConflict) {
		return nil, err
	}
	if err == nil {
		err = i.step("renewed")
	}
	if err == nil {
		_, err = i.publishSession(ctx, s)
	}
	var g *grant
	if err == nil {
		g, err = i.grant(h, next, scope, issued)
	}
	if err != nil { // the browser keeps its cookie and must be able to try again
		i.unanswered.add(s, issued)
		return nil, unavailable(err)
	}
	return g, nil
}

func (i *Issuer) writeHeir(ctx context.Context, s, h *session) error {
	over, err := s.write(i.life(s))
	if err != nil {
		return err
	}
	pointer, err := pointerTo(sessionKey(s.sid))
	if err != nil {
		return err
	}
	key := familyKey(s.sid)
	value, err := encodeRecord(kindFamily, key, family{h.sid})
	if err != nil {
		return err
	}
	// Any revision: only the newest can have an heir, and its own record is compared.
	newest := write{key: key, value: value, revision: anyRevision, life: i.life(h)}
	// The old one's index record would only be in the way: a page of a browser leaves hundreds of them.
	if err := i.createSession(ctx, h, over, pointer, newest, write{key: s.index().key(), revision: anyRevision}); err != nil {
		return err
	}
	s.revision = h.revision + 2 // a batch is stored in one piece: the heir, its index record, this one
	return nil
}

// renewed answers a refresh token whose session has an heir: with the same heir once more if the answer may have been lost,
// see mayRepeat, and nobody has used it; else it was used twice.
func (i *Issuer) renewed(ctx context.Context, s *session, secret []byte, want string, issued time.Time) (*grant, error) {
	if !i.mayRepeat(s, secret, issued) {
		return nil, i.reused(ctx, s)
	}
	h, err := i.session(ctx, s.Next)
	if err != nil {
		return nil, err
	}
	if h == nil {
		return nil, ErrGrant
	}
	next := s.heirSecret(h, secret)
	switch {
	case h.Next != "" || !same(h.Current, next):
		return nil, i.reused(ctx, s)
	case h.State != live || h.expired(issued):
		return nil, ErrGrant
	}
	if s.State == ending { // true before it is answered, whoever else is about to publish it
		if _, err := i.publishSession(ctx, s); err != nil {
			return nil, err
		}
	}
	asked, err := h.narrow(want)
	if err != nil {
		return nil, err
	}
	scope, err := i.stillGranted(ctx, h, asked)
	if err != nil {
		return nil, err
	}
	return i.grant(h, next, scope, issued)
}

// narrow is the scope asked for, which must lie within the session's.
func (s *session) narrow(want string) ([]string, error) {
	if want == "" {
		return s.Scope, nil
	}
	asked := strings.Fields(want)
	if slices.ContainsFunc(asked, func(x string) bool { return !slices.Contains(s.Scope, x) }) {
		return nil, errBadScope
	}
	return asked, nil
}

// meant is the session that somebody means who names this one: it, or the one that lives on from the same login, however
// long ago it had this identifier. nil if there is none any more.
func (i *Issuer) meant(ctx context.Context, sid string) (*session, error) {
	s, err := i.session(ctx, sid)
	if err != nil || s != nil && s.Next == "" || !sidForm(sid) {
		return s, err
	}
	rec, err := i.store.get(ctx, familyKey(sid))
	switch {
	case err != nil:
		return nil, err
	case !rec.exists() && s != nil:
		return nil, badRecord(rec.key, errors.New("is missing although a session has an heir"))
	case !rec.exists():
		return nil, nil
	}
	f, err := decodeFamily(rec)
	if err != nil {
		return nil, err
	}
	if familyKey(f.Newest) != rec.key {
		return nil, badRecord(rec.key, errors.New("newest: is of another family"))
	}
	return i.session(ctx, f.Newest)
}

// life of a session's records: they leave the bucket some time after nobody can use them. One with an heir is only kept to
// tell reuse, as long as its own holder could have come back with it, and that the statement about its end is about it alone.
func (i *Issuer) life(s *session) time.Duration {
	now := i.cfg.Now()
	if s.Next != "" {
		return max(time.Unix(s.Idle, 0).Sub(now), i.retention.Total()) + time.Hour
	}
	return max(time.Unix(s.End, 0).Sub(now)+24*time.Hour, 24*time.Hour)
}

// about reports whether a statement is the session's own end, which an heir survives.
func (s *session) about(id string) bool {
	return s.Ended == id || len(s.Intent) > 0 && pendingID(s.Intent) == id
}
