package issuer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/quash-auth/quash/events"
)

// mark is the durable refresh side of everything wider than a session: one record per subject, client, key and for the
// issuer. Sessions are never touched one by one: they are compared with the marks when they are refreshed.
type mark struct {
	Gen    uint64 `json:"gen"`    // subject: sessions with a smaller gen are over; at least 1
	Cutoff int64  `json:"cutoff"` // sessions of logins at or before this second are over
	// Pending statements: decided, and perhaps not published yet.
	Pending []json.RawMessage `json:"pending,omitempty"`

	key      string
	revision uint64
}

func markKey(s events.Scope, key string) string {
	if s == events.Issuer {
		return "m.issuer"
	}
	return "m." + s.String() + "." + base64.RawURLEncoding.EncodeToString([]byte(key))
}

func decodeMark(r record) (mark, error) {
	m := mark{Gen: 1, key: r.key, revision: r.revision}
	if !r.exists() {
		return m, nil
	}
	err := r.decode(kindMark, field{name: "gen", into: &m.Gen}, field{name: "cutoff", into: &m.Cutoff},
		field{name: "pending", into: &m.Pending, optional: true})
	if err == nil && m.Gen == 0 {
		err = badRecord(r.key, errors.New("gen: is 0"))
	}
	if err != nil {
		return mark{}, err
	}
	return m, nil
}

func (m mark) write() (write, error) {
	value, err := encodeRecord(kindMark, m.key, m)
	if err != nil {
		return write{}, err
	}
	return write{key: m.key, value: value, revision: m.revision}, nil
}

// apply gives a subject's statement its generation: the next one, or what was asked for. If there is no room for another, the
// statement has none and is about the time, as those about clients are.
func (m *mark) apply(r events.Revocation, asked uint64, now time.Time) events.Revocation {
	if r.Scope != events.Subject {
		return r
	}
	earlier, tried := m.pending(r.ID) // in an earlier round
	switch {
	case tried && earlier.Gen == 0:
		r.Gen = 0
	case asked != 0 && m.Gen <= events.MaxGen:
		r.Gen = max(m.Gen, asked)
	case tried: // raised already
		r.Gen = m.Gen
	case m.Gen < events.MaxGen:
		r.Gen = m.next(now)
	default:
		r.Gen = 0
	}
	return r
}

// next is one more, or the number of this second since 2025 if that is more. Records that were put back from a backup do not know the
// generations of tokens that were issued since; those are smaller, whatever the clock does to later ones.
func (m *mark) next(now time.Time) uint64 {
	return max(m.Gen+1, uint64(min(max(now.Unix()-generationZero, 0), events.MaxGen)))
}

var generationZero = time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC).Unix()

// join raises the mark to the statement; it only ever rises. A cutoff stays below latest: a publisher's clock may be ahead a
// little, but nobody shuts out the logins of years to come. It reports whether anything changed.
func (m *mark) join(r events.Revocation, latest time.Time) bool {
	was := *m
	if r.Scope == events.Subject && r.Gen > 0 {
		m.Gen = max(m.Gen, min(r.Gen, events.MaxGen)) // our tokens carry gen, so Before says nothing about them
	} else if at := r.Before; !at.IsZero() || r.Scope == events.Key {
		if at.IsZero() {
			at = r.At // a key is revoked whole; the mark says since when
		}
		m.Cutoff = max(m.Cutoff, min(at.Unix(), latest.Unix()))
	}
	return m.Gen != was.Gen || m.Cutoff != was.Cutoff
}

func pendingID(text json.RawMessage) string {
	r, err := events.Decode(text)
	if err != nil {
		return ""
	}
	return r.ID
}

func (m *mark) pendingID(id string) bool {
	_, ok := m.pending(id)
	return ok
}

// pending is the statement with this ID.
func (m *mark) pending(id string) (events.Revocation, bool) {
	for _, p := range m.Pending {
		if r, err := events.Decode(p); err == nil && r.ID == id {
			return r, true
		}
	}
	return events.Revocation{}, false
}

// drop takes a statement off the pending ones.
func (m *mark) drop(id string) {
	var kept []json.RawMessage
	for _, p := range m.Pending {
		if pendingID(p) != id {
			kept = append(kept, p)
		}
	}
	m.Pending = kept
}

// latestCutoff of a statement that is written into a mark now.
func (i *Issuer) latestCutoff() time.Time { return i.retention.Until(i.cfg.Now()) }

// marks is what decides whether a session is over although its own record says live.
type marks struct {
	subject, client, issuer mark
}

func marksKeys(sub, client string) []string {
	return []string{markKey(events.Subject, sub), markKey(events.Client, client), markKey(events.Issuer, "")}
}

func decodeMarks(rs []record) (m marks, err error) {
	for n, dst := range []*mark{&m.subject, &m.client, &m.issuer} {
		if *dst, err = decodeMark(rs[n]); err != nil {
			return marks{}, err
		}
	}
	return m, nil
}

func (i *Issuer) marks(ctx context.Context, sub, client string) (marks, error) {
	rs, err := i.store.getAll(ctx, marksKeys(sub, client)...)
	if err != nil {
		return marks{}, err
	}
	return decodeMarks(rs)
}

// standing is what decides whether a user may have tokens: the marks, and then the user, or both of one instant. Disabling writes the
// user first and the mark second, so whoever misses the first sees the second. If only the user is missing the error is
// ErrNoUser; any other is ErrUnavailable.
func (i *Issuer) standing(ctx context.Context, sub, client string) (marks, User, error) {
	if ours, ok := i.users.(kvUsers); ok && ours.b == i.store && printable(sub, maxSubject) {
		rs, err := i.store.getAll(ctx, append(marksKeys(sub, client), userKey(sub))...)
		if err != nil {
			return marks{}, User{}, err
		}
		m, err := decodeMarks(rs)
		if err == nil && !rs[3].exists() {
			err = ErrNoUser
		}
		if err != nil {
			return m, User{}, err
		}
		u, err := decodeUser(rs[3])
		return m, u, err
	}
	m, err := i.marks(ctx, sub, client)
	if err != nil {
		return marks{}, User{}, err
	}
	u, err := i.users.Get(ctx, sub)
	if err != nil && !errors.Is(err, ErrNoUser) {
		err = unavailable(err)
	}
	return m, u, err
}

// cutoff is the last second of which logins are over.
func (m marks) cutoff() int64 { return max(m.subject.Cutoff, m.client.Cutoff, m.issuer.Cutoff) }

// over reports whether the session was ended by something wider. A session made with a generation above the mark's is
// not over: the mark was read from a replica that lags.
func (m marks) over(s *session) bool {
	return s.Gen < m.subject.Gen || s.Auth <= m.cutoff()
}
