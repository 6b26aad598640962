package issuer

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync"
)

// An index record says that a user has a session at a client: sessions are found by subject or client without reading them
// all. It only says where to look; the session's own record decides. Its key holds everything: x.<sub>.<client>.<sid>.
type index struct{ sub, client, sid string }

func (x index) key() string {
	return "x." + strict64.EncodeToString([]byte(x.sub)) + "." + strict64.EncodeToString([]byte(x.client)) + "." + x.sid
}

// parseIndexKey takes exactly what key makes.
func parseIndexKey(key string) (index, error) {
	bad := func() (index, error) { return index{}, badRecord(key, errors.New("is no index key")) }
	parts := strings.Split(key, ".")
	if len(parts) != 4 || parts[0] != "x" || !sidForm(parts[3]) {
		return bad()
	}
	sub, err1 := strict64.DecodeString(parts[1])
	client, err2 := strict64.DecodeString(parts[2])
	x := index{string(sub), string(client), parts[3]}
	if err1 != nil || err2 != nil || x.sub == "" || x.client == "" || x.key() != key {
		return bad()
	}
	return x, nil
}

func decodeIndex(r record) (index, error) {
	if err := r.decode(kindIndex); err != nil {
		return index{}, err
	}
	return parseIndexKey(r.key)
}

func (s *session) index() index { return index{s.Sub, s.Client, s.sid} }

// createSession stores a new session, its index record and what else belongs to it. Every session begins here. Nobody has heard of
// the session before all of it is stored: what a crash or an error leaves of it is of no use to anybody and expires.
func (i *Issuer) createSession(ctx context.Context, s *session, also ...write) error {
	w, err := s.write(i.life(s))
	if err != nil {
		return err
	}
	key := s.index().key()
	value, err := encodeRecord(kindIndex, key, struct{}{})
	if err != nil {
		return err
	}
	entry := write{key: key, value: value, life: w.life}
	if len(also) > 0 { // what exists already must not change without the session
		s.revision, err = i.store.commit(ctx, append([]write{w, entry}, also...)...)
		return err
	}
	var unlisted error
	var both sync.WaitGroup // a batch takes the server ten times as long
	both.Go(func() { _, unlisted = i.store.put(ctx, entry) })
	s.revision, err = i.store.put(ctx, w)
	both.Wait()
	return errors.Join(err, unlisted)
}

// dropSession takes back a session that nobody has heard of yet, and its index record. One that was given out ends through Revoke.
func (i *Issuer) dropSession(ctx context.Context, s *session) error {
	_, err := i.store.commit(ctx, write{key: sessionKey(s.sid), revision: s.revision}, write{key: s.index().key(), revision: anyRevision})
	return err
}

// origin is where a session was begun.
type origin struct {
	address string // for throttling
	agent   string // for the user's list of her sessions
	// replaces are the sessions that the same browser had until now.
	replaces []string
}

func (i *Issuer) origin(r *http.Request) origin {
	return origin{address: i.cfg.ClientAddress(r), agent: cleanAgent(r.UserAgent())}
}

const maxAgent = 200 // bytes

// cleanAgent keeps what can be stored and shown anywhere: printable ASCII, cut to a length.
func cleanAgent(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return -1
		}
		return r
	}, s[:min(len(s), 4*maxAgent)])
	return strings.TrimSpace(s[:min(len(s), maxAgent)])
}

// sidForm reports whether sid is one of ours by its form: 16 bytes in base64url.
func sidForm(sid string) bool {
	if len(sid) != base64.RawURLEncoding.EncodedLen(16) || strings.ContainsAny(sid, "\r\n") {
		return false
	}
	_, err := strict64.DecodeString(sid)
	return err == nil
}
