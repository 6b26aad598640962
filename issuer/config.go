package issuer

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
)

// OAuth scopes of operators and their systems.
const (
	// ScopeAdmin may do everything that the issuer offers to operators.
	ScopeAdmin = "quash.admin"
	// ScopeRevoke may revoke tokens, sessions and subjects, those of operators too, preview that, and disable the accounts of users
	// who have no scope of the issuer's own; nothing else: for systems that decide about one user at a time.
	ScopeRevoke = "quash.revoke"
	// ScopeOnce may mint one-time tokens for any user, with the scopes and audiences that are listed for the client through which
	// it was given, and nothing else: for systems that send links.
	ScopeOnce = "quash.once"
)

// Config says what an issuer is. Zero values are the safe ones.
type Config struct {
	// Issuer is the issuer identifier (iss), a URL without query or fragment. https, or http on a loopback host.
	Issuer string
	// AllowHTTP admits an http issuer that is not on loopback: tokens and passwords then travel in clear unless something else protects them.
	AllowHTTP bool
	// Audience of access tokens (aud), at least one; a Client may have its own.
	Audience []string
	// Conn is the NATS connection for the stream: publish, follow, answer the fleet. The caller closes it after Run has
	// returned. The issuer may force it to reconnect when the stream falls silent: give it its own (events.Connect).
	Conn *nats.Conn
	// Records is the NATS connection for the key-value buckets (users, sessions, marks); nil: Conn. The caller closes it after
	// Run has returned. In production let it log in to a NATS account of the issuer's own, which no publisher and no
	// verifier can reach: NATS does not check the reply subject of a request against the sender's publish permissions, so
	// every user of the buckets' account can have the server store something under a record's key, and who can choose that
	// something (a statement or a beacon, read back by direct get) can undo a revocation. In one account the issuer refuses
	// what it did not write itself as far as it can be told.
	Records *nats.Conn
	// EnsureStream creates the revocation stream, and the one that remembers used one-time tokens, if they are missing.
	// False: the first must exist.
	EnsureStream bool
	// Replicas of the stream (if created) and of the buckets; 0 is 1.
	Replicas int
	// Bucket is the prefix of the key-value buckets; empty is "QUASH". Issuers with different names need different buckets.
	Bucket string
	// Users is where accounts live; nil: a key-value bucket beside the sessions.
	Users Users

	// KeysDir holds the private signing keys, one file each (PKCS #8 PEM, 0600). Created with a first key if empty. All
	// replicas must see the same directory. It and the files belong to the process's user or to root, or New fails.
	KeysDir string
	// Ledger is a file in which this replica keeps every living statement, so that it can give back what a stream lost that was wiped,
	// recreated or restored from an older copy. One file per replica, 0600, and beside it one whose
	// name ends in .lock, which stays: New fails with ErrConfig while another process holds it. Empty: none; what such a stream lost is
	// lost to nodes that start afterwards.
	Ledger string
	// Algorithm of new keys: ES256 (default), RS256 or EdDSA.
	Algorithm string
	// KeyDelay is how long a new key is published before it signs, so that verifiers know it; 0 is 20 minutes, because
	// widely used ones look for new keys every 15 (docs/interop.md). The only key signs at once.
	KeyDelay time.Duration
	// KeyRotateEvery makes a new key when the newest is that old; 0: only on demand. More than twice KeyDelay.
	KeyRotateEvery time.Duration

	// AccessLife of access tokens; 0 is 10 minutes. At most Retention.MaxTokenLife.
	AccessLife time.Duration
	// RefreshIdle ends a session that was not refreshed for so long; 0 is 24 hours.
	RefreshIdle time.Duration
	// RefreshAbsolute ends a session so long after its login, whatever happens; 0 is 30 days.
	RefreshAbsolute time.Duration
	// ReuseGrace: for so long after a rotation the previous refresh token gives the same successor again instead of ending
	// the session. Helps clients that lose answers, and thieves as well. 0: off. At most 30 seconds.
	ReuseGrace time.Duration
	// Retention of statements; what is zero is read from the stream, the rest may only be longer than that.
	Retention events.Retention

	// Clients that may use the issuer; empty and no ClientsFile: one public client "quash". The first client, here or else in the
	// file, is the default of POST /login if it is public and may log people in.
	Clients []Client
	// ClientsFile holds more clients, as JSON: see docs/clients.md. A client there takes the place of one in Clients with the
	// same ID. Run looks at it every 2 seconds. Who is disabled or taken out there gets no more tokens, and those it has are
	// revoked everywhere by one statement. A file that turns unusable is logged and changes nothing.
	ClientsFile string
	// Cookies for browsers; nil: nobody gets tokens in cookies, and none are read.
	Cookies *Cookies
	// Argon2 cost of password hashes; zero: 19 MiB, 2 passes, 1 lane (OWASP's minimum of 2024).
	Argon2 Argon2
	// PasswordWorkers bounds password hashes computed at once; 0 is the number of CPUs. Eight times as many may wait; more get 503.
	PasswordWorkers int
	// LoginBurst is how many wrong passwords in a row an account takes before it has to wait; 0 is 10. An address from which the
	// account's owner has logged in within the last 90 days (eight of them at most) has as many of its own.
	LoginBurst int
	// LoginEvery is how often one more attempt is granted after that; 0 is 5 seconds.
	LoginEvery time.Duration
	// AddressBurst is how many wrong passwords in a row one address may send to each replica, for accounts that nobody has
	// logged in to from there, before it has to wait; 0 is 50.
	AddressBurst int
	// AddressEvery is how often one more attempt is granted after that; 0 is twice LoginEvery. More than LoginEvery times the
	// number of replicas, so that one address alone cannot take all the attempts of an account.
	AddressEvery time.Duration
	// OwnBurst is how often at once one user may do at each replica what costs all others something although she may do it: log in,
	// renew by cookie, revoke an access token of her own (the latter two leave a statement on every node), list her sessions;
	// 0 is 100.
	OwnBurst int
	// OwnEvery is how often one more of those is granted after that; 0 is one second.
	OwnEvery time.Duration
	// RevokeBurst is how many tokens, sessions and subjects one operator or system may revoke at once through the HTTP
	// endpoints, for all replicas together; 0 is 100. Previews count as well.
	RevokeBurst int
	// RevokeEvery is how often one more is granted after that; 0 is 100 milliseconds.
	RevokeEvery time.Duration
	// WideBurst is the same for the scopes client, key and issuer; 0 is 5.
	WideBurst int
	// WideEvery is how often one more of those is granted; 0 is one minute.
	WideEvery time.Duration
	// TrustedProxies are the networks of the proxies in front. A request that comes from one of them is counted, when passwords are
	// wrong, for the address that X-Forwarded-For names: the rightmost that is not in one of these networks. Empty: the peer's address
	// counts and the header is not read. Every one of them must append the address of its peer to the header, or replace it.
	TrustedProxies []netip.Prefix
	// ClientAddress tells the caller's network address for throttling in another way than TrustedProxies; nil: in that way.
	ClientAddress func(*http.Request) string

	// MaxStaleness of the issuer's own view of the stream, beyond which it answers 503; 0 is 30 seconds.
	MaxStaleness time.Duration
	// RepairInterval between searches for intents that a crash left unpublished; 0 is 5 seconds.
	RepairInterval time.Duration
	// Timeout of one request's work on NATS; 0 is 5 seconds.
	Timeout time.Duration
	// Reader as in events.SubscriberConfig: one name for each replica. Empty: random.
	Reader string
	// BeaconInterval as in events.SubscriberConfig; 0 is its default.
	BeaconInterval time.Duration

	// Node names this replica in fleet answers; empty: host name and process number.
	Node string
	// Version appears in fleet answers.
	Version string
	// Logger; nil discards. No token, secret or password is ever logged.
	Logger *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

var bucketName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// complete fills the defaults and refuses what cannot work, naming the field.
func (c Config) complete() (Config, error) {
	bad := func(field, problem string) (Config, error) {
		return Config{}, fmt.Errorf("%w: %s: %s", ErrConfig, field, problem)
	}
	u, err := url.Parse(c.Issuer)
	switch {
	case c.Issuer == "":
		return bad("Issuer", "is required")
	case err != nil:
		return bad("Issuer", "is not a URL")
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "":
		return bad("Issuer", "must be an absolute https URL")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(c.Issuer, "#") || u.User != nil:
		return bad("Issuer", "must not have a query, a fragment or user information (RFC 8414 §2)")
	case strings.ContainsAny(u.Path, "{}") || u.EscapedPath() != u.Path:
		return bad("Issuer", "must have a plain path")
	case u.Scheme == "http" && !loopback(u.Hostname()) && !c.AllowHTTP:
		return bad("Issuer", "is http on a host that is not loopback (AllowHTTP permits it)")
	}
	switch {
	case len(c.Audience) == 0:
		return bad("Audience", "is required")
	case c.Conn == nil:
		return bad("Conn", "is required")
	case c.KeysDir == "":
		return bad("KeysDir", "is required")
	}
	for _, a := range c.Audience {
		if a == "" {
			return bad("Audience", "has an empty member")
		}
	}
	if c.Records == nil {
		c.Records = c.Conn
	}
	if c.Bucket == "" {
		c.Bucket = "QUASH"
	}
	if !bucketName.MatchString(c.Bucket) {
		return bad("Bucket", "must be 1 to 64 letters, digits, - or _")
	}
	if c.Algorithm == "" {
		c.Algorithm = "ES256"
	}
	if _, err := method(c.Algorithm); err != nil {
		return bad("Algorithm", err.Error())
	}
	for _, d := range []struct {
		name string
		v    *time.Duration
		zero time.Duration
	}{
		{"KeyDelay", &c.KeyDelay, 20 * time.Minute}, {"AccessLife", &c.AccessLife, 10 * time.Minute},
		{"RefreshIdle", &c.RefreshIdle, 24 * time.Hour}, {"RefreshAbsolute", &c.RefreshAbsolute, 30 * 24 * time.Hour},
		{"ReuseGrace", &c.ReuseGrace, 0}, {"LoginEvery", &c.LoginEvery, 5 * time.Second}, {"OwnEvery", &c.OwnEvery, time.Second},
		{"RevokeEvery", &c.RevokeEvery, 100 * time.Millisecond}, {"WideEvery", &c.WideEvery, time.Minute},
		{"MaxStaleness", &c.MaxStaleness, 30 * time.Second}, {"RepairInterval", &c.RepairInterval, 5 * time.Second},
		{"Timeout", &c.Timeout, 5 * time.Second},
	} {
		if *d.v < 0 {
			return bad(d.name, "is negative")
		}
		if *d.v == 0 {
			*d.v = d.zero
		}
	}
	switch {
	case c.AccessLife < time.Second:
		return bad("AccessLife", "is below a second")
	case c.RefreshIdle < c.AccessLife:
		return bad("RefreshIdle", "is shorter than AccessLife")
	case c.RefreshAbsolute < c.RefreshIdle:
		return bad("RefreshAbsolute", "is shorter than RefreshIdle")
	case c.KeyRotateEvery < 0 || c.KeyRotateEvery > 0 && c.KeyRotateEvery <= 2*c.KeyDelay:
		return bad("KeyRotateEvery", "must be more than twice KeyDelay, or 0")
	case c.ReuseGrace > 30*time.Second:
		return bad("ReuseGrace", "is above 30 seconds")
	case c.Replicas < 0 || c.Replicas > 5:
		return bad("Replicas", "must be 1 to 5")
	case c.PasswordWorkers < 0:
		return bad("PasswordWorkers", "is negative")
	case c.LoginBurst < 0:
		return bad("LoginBurst", "is negative")
	case c.AddressBurst < 0:
		return bad("AddressBurst", "is negative")
	case c.AddressEvery < 0:
		return bad("AddressEvery", "is negative")
	case c.OwnBurst < 0:
		return bad("OwnBurst", "is negative")
	case c.RevokeBurst < 0:
		return bad("RevokeBurst", "is negative")
	case c.WideBurst < 0:
		return bad("WideBurst", "is negative")
	case len(c.TrustedProxies) > 0 && c.ClientAddress != nil:
		return bad("TrustedProxies", "has no effect beside ClientAddress")
	case proxies(c.TrustedProxies).problem() != "":
		return bad("TrustedProxies", proxies(c.TrustedProxies).problem())
	}
	c.Replicas = max(c.Replicas, 1)
	if c.PasswordWorkers == 0 {
		c.PasswordWorkers = runtime.GOMAXPROCS(0)
	}
	c.LoginBurst, c.RevokeBurst, c.WideBurst = cmp.Or(c.LoginBurst, 10), cmp.Or(c.RevokeBurst, 100), cmp.Or(c.WideBurst, 5)
	c.AddressBurst, c.OwnBurst = cmp.Or(c.AddressBurst, 50), cmp.Or(c.OwnBurst, 100)
	c.AddressEvery = cmp.Or(c.AddressEvery, 2*c.LoginEvery)
	if c.Argon2, err = c.Argon2.complete(); err != nil {
		return bad("Argon2", err.Error())
	}
	if len(c.Clients) == 0 && c.ClientsFile == "" {
		c.Clients = []Client{{ID: "quash", Public: true}}
	}
	seen := map[string]bool{}
	for n, cl := range c.Clients {
		if problem := cl.problem(); problem != "" {
			return bad(fmt.Sprintf("Clients[%d]", n), problem)
		}
		if seen[cl.ID] {
			return bad(fmt.Sprintf("Clients[%d]", n), "repeats the ID "+cl.ID)
		}
		seen[cl.ID] = true
	}
	if c.Cookies != nil {
		cookies, problem := c.Cookies.complete(c.Issuer)
		if problem != "" {
			return bad("Cookies", problem)
		}
		c.Cookies = &cookies
	}
	if c.Node == "" {
		host, _ := os.Hostname()
		c.Node = fmt.Sprintf("issuer-%s-%d", host, os.Getpid())
	}
	if c.ClientAddress == nil {
		c.ClientAddress = proxies(c.TrustedProxies).address
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
