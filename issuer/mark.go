package issuer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/quash-auth/quash/events"
)

// mark is the durable refresh side of everything wider than a session: one record per subject, client, key and for the
// issuer. Sessions are never touched one by one: they are compared with the marks when they are refreshed.
type mark struct {
	Gen    uint64 `json:"gen,omitempty"`    // subject: sessions with a smaller gen are over; 0 is 1
	Cutoff int64  `json:"cutoff,omitempty"` // sessions of logins at or before this second are over
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
	m := mark{key: r.key, revision: r.revision}
	if r.exists() {
		if err := json.Unmarshal(r.value, &m); err != nil {
			return mark{}, fmt.Errorf("decode the mark record: %w", err)
		}
	}
	m.Gen = max(m.Gen, 1)
	return m, nil
}

func (m mark) write() (write, error) {
	value, err := json.Marshal(m)
	if err != nil {
		return write{}, fmt.Errorf("encode the mark record: %w", err)
	}
	return write{key: m.key, value: value, revision: m.revision}, nil
}

// marks is what decides whether a session is over although its own record says live.
type marks struct {
	subject, client, issuer mark
}

func (i *Issuer) marks(ctx context.Context, sub, client string) (marks, error) {
	rs, err := i.store.getAll(ctx, markKey(events.Subject, sub), markKey(events.Client, client), markKey(events.Issuer, ""))
	if err != nil {
		return marks{}, err
	}
	var m marks
	for n, dst := range []*mark{&m.subject, &m.client, &m.issuer} {
		if *dst, err = decodeMark(rs[n]); err != nil {
			return marks{}, err
		}
	}
	return m, nil
}

// cutoff is the last second of which logins are over.
func (m marks) cutoff() int64 { return max(m.subject.Cutoff, m.client.Cutoff, m.issuer.Cutoff) }

// over reports whether the session was ended by something wider. A session made with a generation above the mark's is
// not over: the mark was read from a replica that lags.
func (m marks) over(s *session) bool {
	return s.Gen < m.subject.Gen || s.Auth <= m.cutoff()
}
