package verifier

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/jws"
)

// Verifier checks access tokens and enforces revocations from memory. Its methods are safe for concurrent use. Make it
// with New, start Run, and ask Ready before traffic is let in: until then every token is ErrStale.
type Verifier struct {
	node, role, version string
	started             time.Time
	nc                  *nats.Conn // nil with Config.Feed
	feed                Feed
	whole               *whole   // part of it with Config.NATS; nil: none
	warm                *warm    // the same as feed, if there is a snapshot
	keeper              *keeper  // nil: no snapshot
	redeemer            Redeemer // nil: none
	deny                *cache.Denylist
	memo                *cache.Memo[*verified] // nil: none
	intake              intake
	issuers             map[string]*issuer
	order               []*issuer  // as configured
	anyAlg              jws.AlgSet // of all issuers

	rule         FreshnessRule
	undecodable  UndecodablePolicy
	life, leeway time.Duration
	maxBytes     int
	log          *slog.Logger
	now          func() time.Time

	watchers watchers
	counters counters

	batch    []cache.Statement       // of apply, which the feed never calls twice at once
	promise  atomic.Pointer[promise] // what the stream promises; nil: not looked at yet
	full     atomic.Bool             // the newest batch did not fit
	unusable atomic.Uint64
	running  atomic.Bool
	closed   atomic.Bool
}

// New checks the whole configuration and allocates. It neither touches the network nor starts to follow: that is Run. An
// error is ErrConfig and names the field.
//
// A Verifier that is never run must be closed.
func New(c Config) (*Verifier, error) {
	v, err := configure(c)
	if err != nil {
		return nil, err
	}
	for n := range c.Issuers {
		if err := v.addIssuer(n, c); err != nil {
			return nil, err
		}
	}
	if err := v.openFeed(c); err != nil {
		return nil, err
	}
	if err := v.openCaches(c); err != nil {
		return nil, err
	}
	v.watchers.init(v)
	v.intake.wake = make(chan struct{}, 1)
	return v, nil
}

// configure checks and copies what is not about issuers and feeds.
func configure(c Config) (*Verifier, error) {
	switch {
	case len(c.Issuers) == 0:
		return nil, configError("Issuers", "is empty")
	case c.NATS == nil && c.Feed == nil:
		return nil, configError("NATS", "is missing: without it no revocation would ever arrive")
	case c.NATS != nil && c.Feed != nil:
		return nil, configError("Feed", "and NATS are both set; use one")
	case c.MaxStaleness < 0:
		return nil, configError("MaxStaleness", "is negative")
	case c.OnStale > Allow:
		return nil, configError("OnStale", "is neither Deny nor Allow")
	case c.OnUndecodable > StayReady:
		return nil, configError("OnUndecodable", "is neither NotReady nor StayReady")
	case c.MaxTokenLife < 0:
		return nil, configError("MaxTokenLife", "is negative")
	case c.MaxTokenBytes < 0:
		return nil, configError("MaxTokenBytes", "is negative")
	case c.MaxEntries < 0:
		return nil, configError("MaxEntries", "is negative")
	case c.DetailBytes < 0:
		return nil, configError("DetailBytes", "is negative")
	}
	v := &Verifier{
		node: c.Node, role: c.Role, version: c.Version, nc: c.NATS,
		issuers:     make(map[string]*issuer, len(c.Issuers)),
		rule:        FreshnessRule{MaxStaleness: or(c.MaxStaleness, defaultMaxStaleness), OnStale: c.OnStale, Set: true},
		undecodable: c.OnUndecodable,
		life:        or(c.MaxTokenLife, defaultMaxTokenLife),
		leeway:      max(or(c.Leeway, defaultLeeway), 0),
		maxBytes:    or(c.MaxTokenBytes, defaultMaxTokenBytes),
		log:         c.Logger, now: c.Now,
	}
	if v.leeway >= v.life {
		return nil, configError("Leeway", "%v is not shorter than MaxTokenLife %v", v.leeway, v.life)
	}
	if v.log == nil {
		v.log = slog.New(slog.DiscardHandler)
	}
	if v.now == nil {
		v.now = time.Now
	}
	if v.node == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "node" // a name is only for people
		}
		v.node = fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:6])
	}
	v.started = v.now()
	return v, nil
}

// or returns value, or fallback if it is zero.
func or[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

func (v *Verifier) addIssuer(n int, c Config) error {
	conf, field := c.Issuers[n], fieldOf(n)
	i, err := newIssuer(field, conf)
	if err != nil {
		return err
	}
	if v.issuers[i.name] != nil {
		return configError(field+".Issuer", "%q is configured twice", i.name)
	}
	i.keys = &keySource{
		issuer: i.name, allowed: i.allowed, refresh: or(conf.Refresh, defaultRefresh),
		log: v.log, now: v.now, wake: make(chan struct{}, 1),
	}
	switch {
	case conf.JWKSURL != "":
		i.source, i.keys.from = "url", newURLReader(conf.JWKSURL, c.HTTPClient)
	case conf.JWKSFile != "":
		i.source, i.keys.from = "file", &fileReader{path: conf.JWKSFile}
		set, err := i.keys.from.read(context.Background(), i.allowed)
		if err != nil {
			return configError(field+".JWKSFile", "cannot be used: %w", err)
		}
		if set.Len() == 0 {
			return configError(field+".JWKSFile", "holds no key that can be used: %v", set.Notes)
		}
		i.keys.install(set)
		i.keys.readAt = v.now()
	default:
		i.source = "static"
		set, err := staticKeys(field, conf.Keys, i.allowed)
		if err != nil {
			return err
		}
		i.keys.set.Store(set)
	}
	v.issuers[i.name] = i
	v.order = append(v.order, i)
	v.anyAlg |= i.allowed
	return nil
}

func (v *Verifier) openFeed(c Config) error {
	var err error
	if v.keeper, err = newKeeper(c); err != nil {
		return err
	}
	defer func() {
		if v.keeper != nil && v.feed != nil {
			v.warm = &warm{Feed: v.feed, bound: v.rule.MaxStaleness}
			v.feed = v.warm
		}
	}()
	v.redeemer = c.Redeemer
	if v.feed = c.Feed; v.feed != nil {
		return nil
	}
	if v.redeemer == nil {
		r, err := events.NewRedeemer(events.RedeemerConfig{Conn: c.NATS, Leeway: v.leeway, Now: c.Now})
		if err != nil {
			return configError("NATS", "cannot use up one-time tokens: %w", err)
		}
		v.redeemer = r
	}
	s, err := events.NewSubscriber(events.SubscriberConfig{Conn: c.NATS, Reader: c.Reader, Logger: v.log, Now: c.Now, Careful: c.LedgerWait >= 0})
	if err != nil {
		return configError("NATS", "cannot be followed: %w", err)
	}
	v.feed = s
	if c.LedgerWait >= 0 {
		v.whole = &whole{Subscriber: s, log: v.log, most: or(c.LedgerWait, max(wholeFactor*v.rule.MaxStaleness, wholeLeast)), come: c.LedgerWait > 0, bound: v.rule.MaxStaleness, now: v.now,
			ask: func(ctx context.Context) ([]events.Whole, error) { return events.AskWhole(ctx, c.NATS) }}
		v.feed = v.whole
	}
	return nil
}

func (v *Verifier) openCaches(c Config) error {
	var err error
	v.deny, err = cache.New(cache.Config{
		MaxEntries: c.MaxEntries, DetailBytes: c.DetailBytes, Now: v.now,
		AsOf: func() time.Time { return v.feed.Freshness(v.now()).AsOf },
	})
	if err != nil {
		return configError("MaxEntries or DetailBytes", "cannot be used: %w", err)
	}
	if c.MemoBytes < 0 {
		return nil
	}
	v.memo, err = cache.NewMemo[*verified](cache.MemoConfig{MaxBytes: c.MemoBytes})
	if err != nil {
		return errors.Join(configError("MemoBytes", "cannot be used: %w", err), v.deny.Close())
	}
	return nil
}

// Close releases the memory of a Verifier. Run does so itself when it ends. Afterwards every token is ErrStale. Close may be
// called more than once; it must not be called while Run works.
func (v *Verifier) Close() error {
	if v.closed.Swap(true) {
		return nil
	}
	v.watchers.closeAll(errClosed)
	if v.memo != nil {
		v.memo.Close()
	}
	if err := v.deny.Close(); err != nil {
		return fmt.Errorf("close the denylist: %w", err)
	}
	return nil
}
