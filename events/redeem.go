package events

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// RedeemerConfig says how one-time tokens are used up.
type RedeemerConfig struct {
	// Conn is the connection to NATS, see Connect. Required; never closed by the
	// redeemer.
	Conn *nats.Conn
	// Leeway is how long after its exp a token may still be accepted, if that is
	// longer than what the stream was made for. Zero: what the stream says.
	Leeway time.Duration
	// AckWait is how long one attempt waits for the stream's confirmation before
	// it is repeated. Zero means 1 s.
	AckWait time.Duration
	// Timeout bounds one Redeem, whatever its context allows. Zero means 3 s.
	Timeout time.Duration
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Redeemer uses up one-time tokens: of all calls for one token, on however many
// nodes, at most one succeeds. Who it is decides the stream QUASH_ONCE, by
// compare-and-set. Its methods are safe for concurrent use; it holds nothing
// that needs closing.
type Redeemer struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	leeway  time.Duration
	ackWait time.Duration
	timeout time.Duration
	now     func() time.Time

	mu      sync.Mutex // guards what follows
	memory  memory
	asked   time.Time         // when it was read; zero: never
	pending map[string]string // by subject: the nonce of an attempt whose outcome nobody knows
}

// memory is what is known of the stream.
type memory struct {
	layout Layout
	since  time.Time // it remembers all tokens issued from then on
	head   uint64    // the newest sequence it was seen to have
}

const (
	defaultOnceAckWait = time.Second
	defaultOnceTimeout = 3 * time.Second
	maxPending         = 1024
)

// NewRedeemer checks the configuration. It does not touch the network.
func NewRedeemer(c RedeemerConfig) (*Redeemer, error) {
	if c.Conn == nil {
		return nil, badField("conn", "required: open a connection with events.Connect")
	}
	for _, f := range [...]struct {
		name string
		d    time.Duration
	}{{"leeway", c.Leeway}, {"ack_wait", c.AckWait}, {"timeout", c.Timeout}} {
		if f.d < 0 {
			return nil, badField(f.name, "%v is negative", f.d)
		}
	}
	r := &Redeemer{nc: c.Conn, leeway: c.Leeway, ackWait: c.AckWait, timeout: c.Timeout, now: c.Now, pending: map[string]string{}}
	if r.ackWait == 0 {
		r.ackWait = defaultOnceAckWait
	}
	if r.timeout == 0 {
		r.timeout = defaultOnceTimeout
	}
	if r.now == nil {
		r.now = time.Now
	}
	var err error
	if r.js, err = jetstream.New(c.Conn, jetstream.WithDefaultTimeout(r.ackWait)); err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	return r, nil
}

// Redeem uses up the token of issuer iss with this jti, issued at iat, which
// expires at exp. nil: this call won, no other ever will. The token must have been
// verified before, exp and all. A token without iat has the zero time.
//
// Errors: ErrRedeemed (somebody else won, or the token is older than what the
// stream remembers, because it was made anew), ErrInvalid, ErrLayout (the stream
// is missing or not as it must be), ErrFull, ErrUnavailable. After ErrUnavailable
// the token may be used up or not: this Redeemer can be asked again and finds out;
// another one answers ErrRedeemed if it was. So a token is never used twice, and
// it is lost only if the connection dies between the stream's decision and its
// answer and the next attempt reaches another node.
func (r *Redeemer) Redeem(ctx context.Context, iss, jti string, iat, exp time.Time) error {
	switch {
	case iss == "":
		return badField("iss", "is empty")
	case jti == "":
		return badField("jti", "is empty: a token without a name cannot be told from others")
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	if err := r.redeem(ctx, onceSubject(iss, jti), iat, exp); err != nil {
		return fmt.Errorf("redeem a one-time token: %w", err)
	}
	return nil
}

func (r *Redeemer) redeem(ctx context.Context, subject string, iat, exp time.Time) error {
	m, err := r.stream(ctx)
	if err != nil {
		return err
	}
	ttl, err := r.life(m.layout, exp)
	if err != nil {
		return err
	}
	c := claim{subject: subject, ttl: ttl, nonce: r.take(subject)}
	err = retry(ctx, func() (bool, error) { return r.try(ctx, &c) })
	switch {
	case err == nil:
		return r.complete(m.head, c.sequence, iat)
	case !errors.Is(err, ErrRedeemed):
		r.keep(c)
	}
	return err
}

// complete makes sure that the stream that decided remembers this token. A stream
// that was made after the token, or whose sequence went back (a restored copy),
// may have forgotten that it was used; so the token counts as used.
func (r *Redeemer) complete(before, sequence uint64, iat time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if sequence != 0 && sequence <= before {
		r.memory.head, r.memory.since, r.asked = sequence, r.now(), time.Time{}
	}
	r.memory.head = max(r.memory.head, sequence)
	if since := floor(r.memory.since); !iat.IsZero() && iat.Before(since) {
		return fmt.Errorf("%w, perhaps: it is older than what the stream %s remembers, which begins at %s", ErrRedeemed, OnceStream, stamp(since))
	}
	return nil
}

// claim is one caller's attempt to win a token.
type claim struct {
	subject, ttl string
	nonce        string // tells our message from another's
	sequence     uint64 // where it was stored; 0: the answer was lost
}

// onceSubject names a token. The length in front keeps two pairs of names apart
// whose texts joined are the same.
func onceSubject(iss, jti string) string {
	h := sha256.New()
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(iss)))
	h.Write(n[:])
	h.Write([]byte(iss))
	binary.BigEndian.PutUint64(n[:], uint64(len(jti)))
	h.Write(n[:])
	h.Write([]byte(jti))
	return SubjectOnce + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// life returns how long it must be remembered that the token was used: until no
// node accepts it any more, by whatever clock.
func (r *Redeemer) life(l Layout, exp time.Time) (string, error) {
	keep := l.Retention
	keep.Leeway = max(keep.Leeway, r.leeway)
	now := r.now()
	until := keep.UntilExpiry(exp)
	if most := l.OnceConfig().MaxAge; until.Sub(now) > most {
		return "", badField("exp", "%s is further away than the stream %s remembers, %v: make the stream for longer tokens", stamp(exp), OnceStream, most)
	}
	if !until.After(now) {
		return "", badField("exp", "%s is over", stamp(exp))
	}
	return ttl(until, now), nil
}

// stream returns what is known, from memory if that is fresh. It is looked at
// again every minute: a stream that forgets too early, or lets its messages be
// replaced, would let tokens be used twice.
func (r *Redeemer) stream(ctx context.Context) (memory, error) {
	r.mu.Lock()
	m, asked := r.memory, r.asked
	r.mu.Unlock()
	if !asked.IsZero() && time.Since(asked) < boundsFresh {
		return m, nil
	}
	var info *jetstream.StreamInfo
	var l Layout
	err := retry(ctx, func() (again bool, err error) {
		actx, cancel := context.WithTimeout(ctx, r.ackWait)
		defer cancel()
		if info, err = onceInfo(actx, r.js); err == nil {
			l, err = OnceLayoutOf(info.Config)
		}
		return !r.nc.IsClosed() && !errors.Is(err, ErrLayout), err
	})
	if err != nil {
		return memory{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked, r.memory.layout = time.Now(), l
	if info.Created.After(r.memory.since) {
		r.memory.since, r.memory.head = info.Created, info.State.LastSeq
	}
	r.memory.head = max(r.memory.head, info.State.LastSeq)
	return r.memory, nil
}

// take returns the nonce to redeem with: that of an earlier call whose outcome
// nobody learned, or a new one. Nobody else uses it meanwhile.
func (r *Redeemer) take(subject string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if nonce, ok := r.pending[subject]; ok {
		delete(r.pending, subject)
		return nonce
	}
	return rand.Text()
}

// keep remembers an attempt that may yet turn out to have won. If there is no
// room another one is forgotten: its token counts as used, should it have won.
func (r *Redeemer) keep(c claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pending) >= maxPending {
		for subject := range r.pending {
			delete(r.pending, subject)
			break
		}
	}
	r.pending[c.subject] = c.nonce
}
