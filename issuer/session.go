package issuer

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// state of a session: live until the refresh side ends (ending: the statement may not be published yet), then ended.
type state string

const (
	live   state = "live"
	ending state = "ending"
	ended  state = "ended"
)

// session is the stored record of one login. Times are Unix seconds unless they say ms.
type session struct {
	Sub    string   `json:"sub"`
	Client string   `json:"client"`
	Scope  []string `json:"scope,omitempty"`
	Gen    uint64   `json:"gen"`
	Auth   int64    `json:"auth"` // auth_time: when the user showed a password, never changed by a refresh
	Idle   int64    `json:"idle"` // ends if not refreshed until then
	End    int64    `json:"end"`  // ends then, whatever happens

	Tag     []byte `json:"tag"`            // key of the tags that tell secrets we made from invented ones
	Current []byte `json:"cur"`            // hash of the secret that may be used next
	Prev    []byte `json:"prev,omitempty"` // hash of the one before
	Salt    []byte `json:"salt,omitempty"` // from Prev's secret and this the current secret can be computed again
	Rotated int64  `json:"rotated,omitempty"`
	Count   uint64 `json:"count"`           // of rotations
	Agent   string `json:"agent,omitempty"` // User-Agent at the login, for the user's list of her sessions

	State    state           `json:"state"`
	Intent   json.RawMessage `json:"intent,omitempty"` // the statement that must be published
	Ended    string          `json:"ended,omitempty"`  // its ID
	Sequence uint64          `json:"seq,omitempty"`    // and where the stream stored it

	Next string `json:"next,omitempty"` // the heir, see renew.go: this session has ended

	sid      string
	nonce    string // of the authorization request, for the first ID token; not stored
	revision uint64
}

func sessionKey(sid string) string { return "s." + sid }

func decodeSession(r record) (*session, error) {
	s := &session{sid: strings.TrimPrefix(r.key, "s."), revision: r.revision}
	opt := true
	err := r.decode(kindSession,
		field{"sub", &s.Sub, !opt}, field{"client", &s.Client, !opt}, field{"scope", &s.Scope, opt}, field{"gen", &s.Gen, !opt},
		field{"auth", &s.Auth, !opt}, field{"idle", &s.Idle, !opt}, field{"end", &s.End, !opt},
		field{"tag", &s.Tag, !opt}, field{"cur", &s.Current, !opt}, field{"prev", &s.Prev, opt}, field{"salt", &s.Salt, opt},
		field{"rotated", &s.Rotated, opt}, field{"count", &s.Count, !opt}, field{"agent", &s.Agent, opt},
		field{"state", &s.State, !opt}, field{"intent", &s.Intent, opt}, field{"ended", &s.Ended, opt}, field{"seq", &s.Sequence, opt},
		field{"next", &s.Next, opt})
	if err != nil {
		return nil, err
	}
	switch {
	case s.State != live && s.State != ending && s.State != ended:
		err = errors.New("state: is unknown")
	case len(s.Tag) < sha256.Size:
		err = errors.New("tag: is too short to be a secret")
	case len(s.Current) != sha256.Size:
		err = errors.New("cur: is no hash")
	case s.Gen == 0:
		err = errors.New("gen: is 0")
	case s.Next != "" && (!sidForm(s.Next) || s.State == live):
		err = errors.New("next: is no session identifier, or of a session that lives")
	case s.Agent != cleanAgent(s.Agent):
		err = errors.New("agent: is too long or not printable")
	}
	if err != nil {
		return nil, badRecord(r.key, err)
	}
	return s, nil
}

// write is the record's next version.
func (s *session) write(life time.Duration) (write, error) {
	value, err := encodeRecord(kindSession, sessionKey(s.sid), s)
	if err != nil {
		return write{}, err
	}
	return write{key: sessionKey(s.sid), value: value, revision: s.revision, life: life}, nil
}

func (s *session) expired(now time.Time) bool {
	return now.Unix() >= s.Idle || now.Unix() >= s.End
}

// Refresh secrets: 32 random bytes and a tag of 16 that says "made by us for this session". The tag lets any older
// secret be told from an invented one without remembering all of them: only what we made can count as reuse, or
// else everybody who has seen a sid could end the session.
const (
	secretBytes = 32
	tagBytes    = 16
)

func (s *session) tagOf(random []byte) []byte {
	m := hmac.New(sha256.New, s.Tag)
	m.Write([]byte(s.sid))
	m.Write(random)
	return m.Sum(nil)[:tagBytes]
}

// secret makes the token's second part from its random bytes.
func (s *session) secret(random []byte) []byte {
	return append(random[:len(random):len(random)], s.tagOf(random)...)
}

func (s *session) madeHere(secret []byte) bool {
	return hmac.Equal(s.tagOf(secret[:secretBytes]), secret[secretBytes:])
}

// successor is the secret that follows; whoever holds the previous one and the record's salt can compute it again, and nobody
// else: the record alone gives no token.
func (s *session) successor(previous, salt []byte) []byte {
	m := hmac.New(sha256.New, previous)
	m.Write([]byte("quash refresh successor\x00"))
	m.Write([]byte(s.sid))
	m.Write(salt)
	return s.secret(m.Sum(nil))
}

func hashSecret(secret []byte) []byte {
	h := sha256.Sum256(secret)
	return h[:]
}

func same(hash, secret []byte) bool {
	return len(hash) == sha256.Size && subtle.ConstantTimeCompare(hash, hashSecret(secret)) == 1
}

// newSession returns a live session and its first secret.
func newSession(now time.Time, idle, absolute time.Duration) (*session, []byte) {
	s := &session{
		sid: token(16), Tag: random(32), State: live,
		Auth: now.Unix(), Idle: now.Add(idle).Unix(), End: now.Add(absolute).Unix(),
	}
	s.Idle = min(s.Idle, s.End)
	return s, s.firstSecret()
}

// firstSecret belongs to the sid.
func (s *session) firstSecret() []byte {
	secret := s.secret(random(secretBytes))
	s.Current = hashSecret(secret)
	return secret
}

// rotate makes the current secret the previous one and returns its successor.
func (s *session) rotate(presented []byte, now time.Time, idle time.Duration) []byte {
	s.Salt = random(32)
	next := s.successor(presented, s.Salt)
	s.Prev, s.Current = s.Current, hashSecret(next)
	s.Rotated = now.UnixMilli()
	s.Count++
	s.Idle = min(now.Add(idle).Unix(), s.End)
	return next
}

// refreshToken is what the client holds: <sid>.<secret>.
func (s *session) refreshToken(secret []byte) string {
	return s.sid + "." + base64.RawURLEncoding.EncodeToString(secret)
}

var strict64 = base64.RawURLEncoding.Strict()

// parseRefreshToken checks the form only.
func parseRefreshToken(raw string) (sid string, secret []byte, ok bool) {
	sid, text, ok := strings.Cut(raw, ".")
	if !ok || len(text) != (secretBytes+tagBytes)*4/3 {
		return "", nil, false
	}
	if strings.ContainsAny(text, "\r\n") { // the decoder would skip them
		return "", nil, false
	}
	if !sidForm(sid) {
		return "", nil, false
	}
	secret, err := strict64.DecodeString(text)
	if err != nil || len(secret) != secretBytes+tagBytes {
		return "", nil, false
	}
	return sid, secret, true
}

// token is n random bytes as base64url, and never one that a command line would take for a flag.
func token(n int) string {
	for {
		if s := base64.RawURLEncoding.EncodeToString(random(n)); s[0] != '-' {
			return s
		}
	}
}
