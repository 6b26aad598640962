package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/snapshot"
)

// SetFault makes the issuer fail at a step of the two halves, as a crash there would. Steps: session, rotate, rotated, ending,
// publish, published.
func SetFault(i *Issuer, f func(step string) error) { i.fault.Store(&f) }

// Verify is the issuer's own verification of an access token.
func Verify(i *Issuer, raw string) error {
	_, err := i.verify(raw)
	return err
}

// KeyID of an access token that verifies, dead or alive.
func KeyID(i *Issuer, raw string) string {
	_, kid, _ := i.parse(raw, false)
	return kid
}

// SessionState is live, ending, ended, or empty if there is no such session.
func SessionState(ctx context.Context, i *Issuer, sid string) (string, error) {
	s, err := i.session(ctx, sid)
	if err != nil || s == nil {
		return "", err
	}
	return string(s.State), nil
}

// Pointers counts the intents that repair would look at.
func Pointers(ctx context.Context, i *Issuer) (int, error) {
	keys, err := i.store.keys(ctx, "p.>")
	n := 0
	for _, k := range keys {
		r, err := i.store.get(ctx, k)
		if err != nil {
			return 0, err
		}
		if r.exists() {
			n++
		}
	}
	return n, err
}

// Covered asks the denylist alone, so also for tokens that have expired or whose key is gone.
func Covered(i *Issuer, raw string) bool {
	c, kid, err := i.parse(raw, false)
	return err == nil && i.revoked(c, kid)
}

// LoadKeys opens a key directory.
func LoadKeys(dir, alg string, delay time.Duration, now func() time.Time) (signer string, published int, err error) {
	k, err := openKeys(dir, alg, delay, now)
	if err == nil {
		err = k.begin()
	}
	if err != nil {
		return "", 0, err
	}
	s, err := k.signer()
	return s.kid, len(k.keys), err
}

// SessionRevision counts the writes of a session.
func SessionRevision(ctx context.Context, i *Issuer, sid string) (uint64, error) {
	s, err := i.session(ctx, sid)
	if err != nil || s == nil {
		return 0, errors.Join(err, ErrGrant)
	}
	return s.revision, nil
}

// ClientProblem is what is wrong with a client.
func ClientProblem(c Client) string { return c.problem() }

// ClientOn is what the records say about a client.
func ClientOn(ctx context.Context, i *Issuer, id string) (bool, error) {
	r, err := i.store.get(ctx, clientKey(id))
	if err != nil {
		return false, err
	}
	c, err := decodeClient(r)
	return c.On, err
}

// OpenKVUsers is the built-in store on a bucket of its own.
func OpenKVUsers(ctx context.Context, nc *nats.Conn, name string) (Users, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	b, err := openBucket(ctx, nc, js, bucketConfig{name: name, replicas: 1})
	return kvUsers{b}, err
}

// The request parsers.
func ParseLogin(body []byte) (name, password, client string, err error) {
	q, err := parseLogin(body)
	return q.username, q.password, q.client, err
}

var (
	ParseForm         = parseForm
	ParseAdmin        = parseAdmin
	ParseClients      = parseClients
	ParseRefreshToken = parseRefreshToken
	ParsePHC          = func(s string) (string, error) { p, err := parsePHC(s); return p.String(), err }
)

// NewRefreshToken makes one as a login would.
func NewRefreshToken() string {
	s, secret := newSession(time.Unix(1, 0), time.Hour, time.Hour)
	return s.refreshToken(secret)
}

// Sign signs arbitrary claims with the key that signs now.
func Sign(i *Issuer) (string, error) {
	s, _ := newSession(i.cfg.Now(), time.Hour, time.Hour)
	s.Sub, s.Client, s.Gen = "bench", i.cfg.Clients[0].ID, 1
	raw, _, err := i.mintSession(s, []string{"read"}, i.cfg.Now())
	return raw, err
}

// EncodeClaims writes claims as mint does, and as encoding/json does.
func EncodeClaims(c AccessClaims) (own, standard []byte, err error) {
	standard, err = json.Marshal(c)
	return c.append(nil), standard, err
}

// AccessClaims are the claims of an access token.
type AccessClaims = accessClaims

// MakeSessions stores n sessions of a user as n logins would, without their cost, and returns their refresh tokens.
func MakeSessions(ctx context.Context, i *Issuer, sub, client string, n int) ([]string, error) {
	m, err := i.marks(ctx, sub, client)
	if err != nil {
		return nil, err
	}
	out := make([]string, n)
	for k := range out {
		s, secret := newSession(i.cfg.Now(), i.cfg.RefreshIdle, i.cfg.RefreshAbsolute)
		s.Sub, s.Client, s.Gen = sub, client, m.subject.Gen
		if err := i.createSession(ctx, s); err != nil {
			return nil, err
		}
		out[k] = s.refreshToken(secret)
	}
	return out, nil
}

// Writes counts what was ever written into the bucket.
func Writes(ctx context.Context, i *Issuer) (uint64, error) {
	info, err := i.store.stream.Info(ctx)
	if err != nil {
		return 0, err
	}
	return info.State.LastSeq, nil
}

// Argon2Default is the cost of a password if nothing else is configured.
func Argon2Default() Argon2 {
	a, _ := Argon2{}.complete()
	return a
}

// IssueForClient is a client credentials grant without HTTP.
func IssueForClient(ctx context.Context, i *Issuer, id string) (string, error) {
	c, _ := i.client(id)
	t, err := i.clientToken(ctx, c, "")
	return t.access, err
}

// RawSigner is the key that signs now.
func RawSigner(i *Issuer) (any, error) {
	s, err := i.keys.signer()
	return s.private, err
}

// CAS writes one record of about a session's size under compare-and-set and returns its revision.
func CAS(ctx context.Context, i *Issuer, key string, value []byte, revision uint64) (uint64, error) {
	return i.store.put(ctx, write{key: key, value: value, revision: revision, life: time.Hour})
}

// Apply takes statements as the feed would.
func Apply(ctx context.Context, i *Issuer, batch ...events.Event) error { return i.apply(ctx, batch) }

// Mark is what the records say about a subject, a client, a key or the issuer.
func Mark(ctx context.Context, i *Issuer, scope events.Scope, key string) (gen uint64, cutoff int64, err error) {
	r, err := i.store.get(ctx, markKey(scope, key))
	if err != nil {
		return 0, 0, err
	}
	m, err := decodeMark(r)
	return m.Gen, m.Cutoff, err
}

// Rotations of a session.
func Rotations(ctx context.Context, i *Issuer, sid string) (uint64, error) {
	s, err := i.session(ctx, sid)
	if err != nil || s == nil {
		return 0, errors.Join(err, ErrGrant)
	}
	return s.Count, nil
}

// Keys of records.
var (
	MarkKey    = markKey
	SessionKey = sessionKey
	UserKey    = userKey
	NameKey    = nameKey
	PointerKey = pointerKey
	CursorKey  = cursorKey
	ClientKey  = clientKey
	PeersKey   = peersKey
)

// Preview counts living sessions, reading at most so many.
func Preview(ctx context.Context, i *Issuer, sub, client string, most int) (sessions int, exact bool, err error) {
	p := preview{Exact: true, Clients: map[string]int{}}
	err = i.count(ctx, &p, filter{sub, client}, most)
	return p.Sessions, p.Exact, err
}

// IndexKey of a session.
func IndexKey(sub, client, sid string) string { return index{sub, client, sid}.key() }

// IndexKeys of living index records.
func IndexKeys(ctx context.Context, i *Issuer) ([]string, error) {
	var out []string
	err := i.store.each(ctx, "x.>", func(r record) bool { out = append(out, r.key); return true })
	return out, err
}

// FamilyKey of the login whose first session this is.
var FamilyKey = familyKey

// CleanAgent is what is stored of a User-Agent.
var CleanAgent = cleanAgent

// Recode reads a record of the kind that its key tells and writes it again.
func Recode(key string, value []byte) ([]byte, error) {
	r := record{key: key, value: value, revision: 1}
	switch key[0] {
	case 'p':
		a, err := decodeAlteration(r)
		if err != nil {
			return nil, err
		}
		w, err := a.write()
		return w.value, err
	case 'm':
		m, err := decodeMark(r)
		if err != nil {
			return nil, err
		}
		w, err := m.write()
		return w.value, err
	case 'e':
		l, err := decodeLasting(r)
		if err != nil {
			return nil, err
		}
		w, err := l.write()
		return w.value, err
	case 's':
		s, err := decodeSession(r)
		if err != nil {
			return nil, err
		}
		w, err := s.write(time.Minute)
		return w.value, err
	case 'a':
		c, err := decodeCode(r)
		if err != nil {
			return nil, err
		}
		w, err := c.write()
		return w.value, err
	case 'k':
		c, err := decodeClient(r)
		if err != nil {
			return nil, err
		}
		return encodeRecord(kindClient, key, c)
	case 'f':
		secret, err := decodeForm(r)
		if err != nil {
			return nil, err
		}
		return encodeForm(secret)
	case 'o':
		ps, err := decodePeers(r)
		if err != nil {
			return nil, err
		}
		return encodePeers(key, ps)
	case 'x':
		x, err := decodeIndex(r)
		if err != nil {
			return nil, err
		}
		return encodeRecord(kindIndex, x.key(), struct{}{})
	case 'l':
		f, err := decodeFamily(r)
		if err != nil {
			return nil, err
		}
		return encodeRecord(kindFamily, key, f)
	default:
		u, err := decodeUser(r)
		if err != nil {
			return nil, err
		}
		return encodeUser(u)
	}
}

// HoldPasswords makes every check of a password busy until release.
func HoldPasswords(i *Issuer) (release func()) {
	i.passwords.waiting.Add(i.passwords.most)
	return func() { i.passwords.waiting.Add(-i.passwords.most) }
}

// OnDerive calls f at every computation from now on. Not while passwords are checked.
func OnDerive(i *Issuer, f func(Argon2)) {
	kdf := i.passwords.kdf
	i.passwords.kdf = func(password, salt []byte, time, memory uint32, threads uint8, size uint32) []byte {
		f(Argon2{Memory: memory, Time: time, Threads: threads})
		return kdf(password, salt, time, memory, threads, size)
	}
}

// ThrottleMaxBytes of its bucket.
func ThrottleMaxBytes(ctx context.Context, i *Issuer) (int64, error) {
	info, err := i.throttle.b.stream.Info(ctx)
	if err != nil {
		return 0, err
	}
	return info.Config.MaxBytes, nil
}

// SetThrottleClock before the first request.
func SetThrottleClock(i *Issuer, now func() time.Time) {
	i.throttle.now, i.throttle.addresses.now = now, now
}

// Holds asks the denylist for a statement.
func Holds(i *Issuer, r events.Revocation) bool { return i.deny.Holds(statement(r, 0)) }

// WaitApplied of the issuer's own view of the stream.
func WaitApplied(ctx context.Context, i *Issuer, sequence uint64) error {
	return i.feed.WaitApplied(ctx, events.Position{Sequence: sequence})
}

// SetPatience before a repair takes a change of an account for one that was cut off.
func SetPatience(i *Issuer, d time.Duration) { i.patience.Store(int64(d)) }

// NewKeyID of a new key.
func NewKeyID(alg string) (string, error) { _, kid, err := generate(alg); return kid, err }

// Repair once.
func Repair(ctx context.Context, i *Issuer) error { return i.repair(ctx) }

// Compared reports whether the stream was compared with the ledger.
func Compared(i *Issuer) bool {
	i.ledger.mu.Lock()
	defer i.ledger.mu.Unlock()
	return i.ledger.begun && i.ledger.seen == nil
}

// Living reports whether the ledger keeps what ends then.
func Living(i *Issuer, until time.Time) bool {
	return i.living(snapshot.Statement{Until: until.Unix()})
}

// SayWhole is what the issuer answers nodes that start.
func SayWhole(i *Issuer) events.Whole { return i.sayWhole() }

// LedgerSaw reports whether the stream has delivered a statement since it began to be read.
func LedgerSaw(i *Issuer, r events.Revocation) bool {
	i.ledger.mu.Lock()
	defer i.ledger.mu.Unlock()
	return i.ledger.seen != nil && i.ledger.seen.Holds(statement(r, 0))
}

// ParseMembers reads an object with optional members reason, scopes and on.
func ParseMembers(body []byte) (reason string, scopes []string, on bool, err error) {
	err = parseMembers(body, field{"reason", &reason, true}, field{"scopes", &scopes, true}, field{"on", &on, true})
	return reason, scopes, on, err
}

// ParseOnce reads the body of POST /admin/one-time.
func ParseOnce(body []byte) (Once, error) {
	q, err := parseOnce(body)
	return q.Once, err
}

// CoveredOnce is Covered for one-time tokens.
func CoveredOnce(i *Issuer, raw string) bool {
	c, kid, err := i.parseAny(raw, false)
	return err == nil && i.revoked(c, kid)
}

// Keyring is a key directory.
type Keyring struct{ k *keyring }

// OpenKeyring opens one.
func OpenKeyring(dir, alg string, delay time.Duration, now func() time.Time) (*Keyring, error) {
	k, err := openKeys(dir, alg, delay, now)
	if err == nil {
		err = k.begin()
	}
	return &Keyring{k}, err
}

// OpenKeyringAs opens one as if the process were that user's.
func OpenKeyringAs(user int, dir string) error {
	_, err := openKeysAs(user, dir, "ES256", time.Minute, time.Now)
	return err
}

// Rotate, Retire, Revoke and Tidy are the keyring's.
func (k *Keyring) Rotate() (string, error) { return k.k.rotate() }
func (k *Keyring) Retire(kid string) error { return k.k.retire(kid) }
func (k *Keyring) Revoke(kid string) error { return k.k.revoke(kid) }
func (k *Keyring) Signer() (string, error) { s, err := k.k.signer(); return s.kid, err }
func (k *Keyring) Tidy(every time.Duration, removal func(time.Time) time.Time) error {
	return k.k.tidy(every, removal, slog.New(slog.DiscardHandler))
}

// Published are the kids of the key set.
func (k *Keyring) Published() []string {
	var set struct{ Keys []struct{ Kid string } }
	_ = json.Unmarshal(k.k.jwks(), &set)
	var kids []string
	for _, s := range set.Keys {
		kids = append(kids, s.Kid)
	}
	return kids
}

// ErrRetireLast is the keyring's refusal.
var ErrRetireLast = errLastKey

// CallerAddress is where a request is counted as coming from, if these networks are trusted.
func CallerAddress(trusted []netip.Prefix, r *http.Request) string {
	return proxies(trusted).address(r)
}

// Token is a new identifier.
func Token(n int) string { return token(n) }

// SetLists of all users together that may be read at once.
func SetLists(i *Issuer, most int) { i.lists.most = most }

// ReadMany asks one question for several records, where only the responder of the given subject can hear it.
func ReadMany(ctx context.Context, i *Issuer, subject string, keys ...string) (exist []bool, err error) {
	b := *i.store
	b.direct = subject
	rs, err := b.getMany(ctx, keys)
	for _, r := range rs {
		exist = append(exist, r.exists())
	}
	return exist, err
}

// RecordSubject of a key.
func RecordSubject(i *Issuer, key string) string { return i.store.prefix + key }

// MoveIdle stores another idle end of a session, as another replica would.
func MoveIdle(ctx context.Context, i *Issuer, sid string, idle time.Time) error {
	s, err := i.session(ctx, sid)
	if err != nil {
		return err
	}
	s.Idle = idle.Unix()
	return i.writeSession(ctx, s)
}

// Recalls reports whether the issuer remembers the session of a refresh token.
func Recalls(i *Issuer, refresh string) bool {
	sid, secret, ok := parseRefreshToken(refresh)
	return ok && i.recent.recall(sid, secret, i.cfg.Now()) != nil
}

// PublishLost gives statements back to a stream that holds none of them.
func PublishLost(ctx context.Context, i *Issuer, lost []events.Revocation) error {
	seen, err := cache.New(cache.Config{})
	if err != nil {
		return err
	}
	_, err = i.publishLost(ctx, lost, seen)
	return errors.Join(err, seen.Close())
}

// RenewKeys does one round.
func RenewKeys(ctx context.Context, i *Issuer) error { return i.renewKeys(ctx) }

// Rounds of renewals that were done.
func Rounds(i *Issuer) int {
	i.renewals.round.Lock()
	defer i.renewals.round.Unlock()
	return i.renewals.rounds
}

// KnownOwn reports whether a replica has read that a key was ours.
func KnownOwn(i *Issuer, kid string) bool {
	i.renewals.round.Lock()
	defer i.renewals.round.Unlock()
	return i.renewals.known[lastingKey(kid)].Own
}

// SetAhead moves an issuer's clock against the server's.
func SetAhead(i *Issuer, d time.Duration) {
	i.renewals.standing.mu.Lock()
	defer i.renewals.standing.mu.Unlock()
	i.renewals.standing.ahead = d
}

// Reconciled reports whether everything that was applied is in the records.
func Reconciled(i *Issuer) bool { return len(i.backlog.head()) == 0 }

// LinkFile stores a file under a name that nobody has taken.
var LinkFile = linkFile

// SetBounds of the keys whose statements are renewed.
func SetBounds(i *Issuer, asked, heard int) {
	i.renewals.round.Lock()
	defer i.renewals.round.Unlock()
	i.renewals.bounds.asked, i.renewals.bounds.heard = asked, heard
}

// LastingKey of a kid.
var LastingKey = lastingKey

// Still is the reason of a renewal.
var Still = still

// Lasting reports whether a kid has such a record.
func Lasting(ctx context.Context, i *Issuer, kid string) (lasts, own bool, err error) {
	r, err := i.store.get(ctx, lastingKey(kid))
	if err != nil || !r.exists() {
		return false, false, err
	}
	l, err := decodeLasting(r)
	return true, l.Own, err
}

// SetStorePatience is of reads and writes without a deadline that begin from now on.
func SetStorePatience(i *Issuer, d time.Duration) { i.store.patience.Store(int64(d)) }
