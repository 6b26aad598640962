package verifier

import (
	"crypto"
	"log/slog"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	defaultMaxStaleness  = 30 * time.Second
	defaultMaxTokenLife  = time.Hour
	defaultLeeway        = 30 * time.Second
	defaultMaxTokenBytes = 16 << 10
	defaultRefresh       = 10 * time.Minute
)

// Config configures a Verifier. Issuers and one of NATS and Feed are required.
type Config struct {
	// Issuers are the issuers whose tokens are accepted, at least one, each with a different name.
	Issuers []Issuer

	// NATS is the connection over which the stream of revocations is followed (see events.Connect). The verifier may
	// force it to reconnect, so do not share it with others. It is not closed by the verifier.
	NATS *nats.Conn
	// Reader is the name of this node's consumer while it reads what is stored, see events.SubscriberConfig. Empty: random.
	Reader string
	// Feed replaces NATS: another transport, or a test. Exactly one of NATS and Feed must be set.
	Feed Feed

	// Redeemer uses up one-time tokens. Nil: one over NATS (events.Redeemer), and with Feed none: Redeem is then ErrConfig.
	Redeemer Redeemer

	// Node is the name under which this node answers the fleet's questions. Empty: host name, process id and a random part.
	Node string
	// Role and Version are reported with it. Both may be empty.
	Role, Version string

	// MaxStaleness is how old the view of the revocations may be. Zero: 30 s. A few seconds more than a failover of
	// the broker takes is a good value.
	MaxStaleness time.Duration
	// OnStale says what happens to tokens when the view is older. Zero: Deny.
	OnStale StalePolicy
	// LedgerWait is how long the first sync, or a node whose stream was made anew, waits at most while an issuer that keeps a ledger
	// (issuer.Config.Ledger) has not given the stream back what it lost; after it the node serves what the stream holds, and says so loudly. Zero: four times MaxStaleness and at
	// least 30 s, and not at all if no such issuer is there to be asked. Positive: a node waits that long even if nobody answers yet.
	// Negative: no question is asked.
	LedgerWait time.Duration
	// OnUndecodable says whether a node that met a statement it cannot read counts as ready. Zero: NotReady.
	OnUndecodable UndecodablePolicy

	// MaxTokenLife is the longest life (exp − iat) of a token that is accepted. Zero: 1 h. The stream forgets a statement when
	// no covered token can be alive any more; it must have been created with at least this value, or the node does not get ready.
	MaxTokenLife time.Duration
	// Leeway is what the clocks of issuer and node may differ by in time checks. Zero: 30 s. Negative: none. At most the stream's.
	Leeway time.Duration
	// MaxTokenBytes is the length above which a token is refused unread. Zero: 16 KiB.
	MaxTokenBytes int

	// MaxEntries is how many living statements are held. Zero: 10 million. One more makes the node not ready; none is dropped.
	MaxEntries int
	// DetailBytes is the memory for the details of statements: which one it was. Zero: all are kept, some 200 bytes each. Their
	// presence, cutoffs and generations, which are the verdict, are always kept.
	DetailBytes int64
	// MemoBytes is the memory for already verified tokens. Zero: 64 MiB. Negative: every token is verified every time.
	MemoBytes int64

	// Snapshot is a file in which the node keeps what it has applied. After a restart it reads of the stream only what was stored since,
	// and can serve while the broker is away: within MaxStaleness of the instant up to which the file is complete, and not beyond, whatever
	// OnStale says. It is appended to, and now and then replaced: its directory must exist, and the node must be able to make files in
	// it. It belongs to one node alone, and must be as safe as its configuration: who can write to it can let revoked tokens in. It
	// holds token, session and subject identifiers. While it runs the node holds a lock on a file beside it, Snapshot and ".lock", which
	// stays; a node that finds another process there serves without a snapshot, and says so in SnapshotProblem. Empty: none; a restarted node
	// reads the whole stream, and is not ready before.
	Snapshot string

	// Logger receives what an operator should know, never a token. Nil: nothing is logged. At level debug each statement
	// that comes into force, with its id, sequence and txn.
	Logger *slog.Logger
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// HTTPClient fetches JWK Sets. Nil: a client of its own. Redirects are limited in either case, and a client
	// without a Timeout gets 10 s.
	HTTPClient *http.Client
}

// Issuer is one issuer of tokens and how its tokens are checked. Exactly one of JWKSURL, JWKSFile and Keys must be set.
type Issuer struct {
	// Issuer is the exact value of iss. Required. At most 512 bytes.
	Issuer string
	// Audience lists the names of this API: aud must be or contain one of them, exactly. Required.
	Audience []string
	// Algorithms lists the allowed values of alg. Empty: ES256, RS256, EdDSA. HS256, HS384 and HS512 need symmetric Keys.
	Algorithms []string
	// JWKSURL is where the issuer publishes its JWK Set (RFC 7517 section 5). https, or http on a loopback host.
	JWKSURL string
	// JWKSFile is a file with a JWK Set. It must be good, and hold a key, at the start and is read again when it changes.
	JWKSFile string
	// Keys are fixed keys.
	Keys []PublicKey
	// Profile says which tokens are access tokens. Zero: Strict.
	Profile Profile
	// AllowUndated accepts tokens without iat, with the Relaxed profile. The issuer must then promise that none of its tokens
	// lives longer than Config.MaxTokenLife: without iat nobody can check it, and a longer-lived token is accepted again
	// once the statement that revoked it has been forgotten.
	AllowUndated bool
	// Refresh is how often the key set is read again without a reason. Zero: 10 min. A key that the issuer removed is
	// accepted until the next reading that succeeds; revoke the key to stop it at once. An unknown kid leads to at most one
	// fetch in 10 s. A reading that fails, or finds no JWK Set, leaves the keys as they are. A set without a key that can be used takes
	// the old ones out of use: tokens are then ErrStale, not ErrNoKey, and it is read again soon (at most every 30 s) until it has one.
	Refresh time.Duration
	// AllowHTTP permits a JWKSURL with http on any host. Whoever is on the path can then sign tokens.
	AllowHTTP bool
}

// PublicKey is one fixed key of an issuer.
type PublicKey struct {
	// ID is the kid of its tokens. Empty: the RFC 7638 thumbprint; tokens without kid are accepted if it is the only key.
	ID string
	// Algorithm is the one alg the key is for. Empty: what fits the key's type and the issuer's Algorithms.
	Algorithm string
	// Key is an *ecdsa.PublicKey (P-256, P-384, P-521), an *rsa.PublicKey of at least 2048 bits, an ed25519.PublicKey,
	// or the []byte of a symmetric key (RFC 7518 section 3.2: as long as the hash) if Algorithms lists an HS algorithm.
	Key crypto.PublicKey
}

// Profile says which tokens of an issuer are access tokens.
type Profile uint8

const (
	// Strict is RFC 9068: typ at+jwt, and the claims iss exp aud sub client_id iat jti.
	Strict Profile = iota
	// Relaxed is for issuers that do not follow RFC 9068. It also accepts typ JWT and no typ, and only requires iss, exp, aud
	// and iat. What cannot be revoked for lack of a claim is reported in Status and by Token.Unenforceable.
	Relaxed
)

// String returns "strict" or "relaxed".
func (p Profile) String() string {
	if p == Relaxed {
		return "relaxed"
	}
	return "strict"
}

// UndecodablePolicy says what a statement that this version cannot read means for readiness.
type UndecodablePolicy uint8

const (
	// NotReady makes the node not ready. The zero value.
	NotReady UndecodablePolicy = iota
	// StayReady only counts and reports it.
	StayReady
)

// String returns "not-ready" or "stay-ready".
func (p UndecodablePolicy) String() string {
	if p == StayReady {
		return "stay-ready"
	}
	return "not-ready"
}
