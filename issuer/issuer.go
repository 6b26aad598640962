package issuer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
)

// Issuer hands out tokens and ends them. Its methods are safe for concurrent use.
type Issuer struct {
	cfg       Config
	log       *slog.Logger
	store     *bucket
	users     Users
	keys      *keyring
	clients   atomic.Pointer[registry]
	registrar registrar
	passwords *passwords
	throttle  *throttle
	limit     limit
	haste     haste
	lists     *lists
	publisher *events.Publisher
	feed      *events.Subscriber
	deny      *cache.Denylist
	memo      atomic.Pointer[cache.Memo[*signed]] // nil, which remembers nothing, until Run
	recent    recent
	retention events.Retention
	handler   http.Handler
	started   time.Time

	backlog      *backlog
	sameOrigin   *http.CrossOriginProtection
	ticketSecret atomic.Pointer[[]byte] // see formKey
	saved        cursor                 // owned by the repair loop
	unanswered   unanswered
	sightings    sightings
	patience     atomic.Int64 // Timeout, see maxAlteration; shorter in tests
	ledger       ledger
	counts       counts
	renewals     *renewals
	poisoned     sync.Once    // the first invalid statement is logged
	probed       atomic.Int32 // see serveReady
	running      atomic.Bool
	unhear       func() // the question for a ledger is not heard any more; nil: it never was
	stopped      atomic.Bool
	fault        atomic.Pointer[func(step string) error] // tests only: fails between the steps of the two halves
}

// New checks the configuration, opens or creates the buckets, the keys and, if asked, the stream. It starts nothing: until Run has
// caught up with the stream, requests are answered 503. With a Ledger, nodes that start from now on wait for Run. Errors: ErrConfig,
// ErrKey, ErrUnavailable, events.ErrLayout.
func New(ctx context.Context, c Config) (_ *Issuer, err error) {
	if c, err = c.complete(); err != nil {
		return nil, err
	}
	// First what can be wrong without NATS: nobody should wait for a server to hear of it.
	i := &Issuer{cfg: c, log: c.Logger, started: c.Now(), backlog: newBacklog(), lists: newLists(),
		passwords: newPasswords(c.Argon2, c.PasswordWorkers),
		registrar: registrar{wake: make(chan struct{}, 1), gone: map[string]*departure{}}}
	i.patience.Store(int64(c.Timeout))
	i.clients.Store(newRegistry(c.Clients, &registry{}))
	if err := i.loadClients(); err != nil {
		return nil, err
	}
	if err := i.checkLedger(); err != nil {
		return nil, err
	}
	if i.keys, err = openKeys(c.KeysDir, c.Algorithm, c.KeyDelay, c.Now); err != nil {
		return nil, err
	}
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return nil, fmt.Errorf("%w: Conn: %w", ErrConfig, err)
	}
	if c.Ledger != "" { // before there is a stream: a node that finds one, and nobody who listens, takes it for whole
		if i.unhear, err = events.HearWhole(c.Conn, i.sayWhole); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				i.unhear()
			}
		}()
	}
	if c.EnsureStream {
		if _, err := events.EnsureStream(ctx, js, events.Layout{Replicas: c.Replicas, Retention: c.Retention}); err != nil {
			return nil, fmt.Errorf("ensure the stream: %w", err)
		}
		if _, err := events.EnsureOnce(ctx, js, events.Layout{Replicas: c.Replicas, Retention: c.Retention}); err != nil {
			return nil, fmt.Errorf("ensure the stream: %w", err)
		}
	}
	if _, err := events.CheckStream(ctx, js); err != nil {
		return nil, fmt.Errorf("check the stream: %w", err)
	}
	if i.publisher, err = events.NewPublisher(events.PublisherConfig{Conn: c.Conn, Retention: c.Retention, Now: c.Now}); err != nil {
		return nil, fmt.Errorf("%w: Retention: %w", ErrConfig, err)
	}
	if i.retention, err = i.publisher.Retention(ctx); errors.Is(err, events.ErrInvalid) {
		return nil, fmt.Errorf("%w: Retention: %w", ErrConfig, err)
	} else if err != nil {
		return nil, fmt.Errorf("check the stream: %w", err)
	}
	if c.AccessLife > i.retention.MaxTokenLife {
		return nil, fmt.Errorf("%w: AccessLife: %v is longer than the stream's longest token life, %v: statements would be forgotten too early",
			ErrConfig, c.AccessLife, i.retention.MaxTokenLife)
	}
	records, err := jetstream.New(c.Records)
	if err != nil {
		return nil, fmt.Errorf("%w: Records: %w", ErrConfig, err)
	}
	if i.store, err = openBucket(ctx, c.Records, records, bucketConfig{name: c.Bucket + "_ISSUER", replicas: c.Replicas,
		description: "quash issuer: users, sessions, marks"}); err != nil {
		return nil, err
	}
	attempts, err := openBucket(ctx, c.Records, records, bucketConfig{name: c.Bucket + "_THROTTLE", replicas: c.Replicas,
		description: "quash issuer: login attempts", lossy: true, maxAge: throttleMemory})
	if err != nil {
		return nil, err
	}
	i.throttle = &throttle{attempts, &turns{}, pace{float64(c.LoginBurst), c.LoginEvery},
		newAddresses(pace{float64(c.AddressBurst), c.AddressEvery}, c.Now), c.Now}
	i.haste.users = newAddresses(pace{float64(c.OwnBurst), c.OwnEvery}, c.Now)
	i.limit.narrow, i.limit.wide = i.throttle.with(c.RevokeBurst, c.RevokeEvery), i.throttle.with(c.WideBurst, c.WideEvery)
	if i.users = (kvUsers{i.store}); c.Users != nil {
		i.users = newExact(c.Users, c.Logger)
	}
	if err := i.keys.begin(); err != nil {
		return nil, err
	}
	i.warnKeysDir()
	if err := i.loadRevokedKeys(ctx); errors.Is(err, ErrRecord) {
		i.log.Error("load the revoked keys", "error", err)
	} else if err != nil {
		return nil, err
	}
	if err := i.loadCursor(ctx); errors.Is(err, ErrRecord) { // it only spares work: read the stream from its start
		i.log.Error("load the cursor: reading all statements again", "error", err)
	} else if err != nil {
		return nil, err
	}
	if i.feed, err = events.NewSubscriber(events.SubscriberConfig{Conn: c.Conn, Reader: c.Reader, BeaconInterval: c.BeaconInterval,
		SlotWait: -1, Logger: c.Logger, Now: c.Now}); err != nil { // there are few, and nobody logs in without one
		return nil, err
	}
	if i.deny, err = cache.New(cache.Config{Now: c.Now, AsOf: func() time.Time { return i.feed.Freshness(c.Now()).AsOf }}); err != nil {
		return nil, err
	}
	i.sameOrigin = http.NewCrossOriginProtection()
	if err := i.sameOrigin.AddTrustedOrigin(originOf(c.Issuer)); err != nil {
		return nil, fmt.Errorf("%w: Issuer: %w", ErrConfig, err)
	}
	if err = i.openLedger(); err != nil {
		return nil, errors.Join(err, i.deny.Close())
	}
	if err = i.revokeKnown(); err != nil {
		return nil, errors.Join(err, i.ledger.close(), i.deny.Close())
	}
	i.renewals = i.newRenewals()
	i.handler = i.routes()
	return i, nil
}

// Users is the store of accounts.
func (i *Issuer) Users() Users {
	if i.cfg.Users != nil {
		return i.cfg.Users
	}
	return i.users
}

// Handler serves all endpoints, under the path of the issuer URL.
func (i *Issuer) Handler() http.Handler { return i.handler }

// memoBytes holds some 15,000 tokens.
const memoBytes = 32 << 20

// Run follows the stream, repairs what crashes left, and answers the fleet's questions, until ctx ends; then it returns nil. A
// network failure never ends it. It may run once, and closes what New has opened.
func (i *Issuer) Run(ctx context.Context) error {
	if !i.running.CompareAndSwap(false, true) {
		return errors.New("issuer: Run was called twice, or after Close")
	}
	if i.unhear != nil {
		defer i.unhear()
	}
	responder, err := events.NewResponder(events.ResponderConfig{Conn: i.cfg.Conn, Node: i.cfg.Node, Report: i.Report,
		WaitApplied: i.feed.WaitApplied})
	if err != nil {
		return errors.Join(err, i.release())
	}
	memo, err := cache.NewMemo[*signed](cache.MemoConfig{MaxBytes: memoBytes})
	if err != nil {
		return errors.Join(err, i.release())
	}
	i.memo.Store(memo)
	defer memo.Close()
	forget, err := i.recent.start(i.cfg.Records)
	if err != nil {
		return errors.Join(err, i.release())
	}
	defer forget()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	failed := make(chan error, 4)
	actor := func(what string, f func(context.Context) error) {
		all.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				failed <- fmt.Errorf("%s: %w", what, err)
				cancel()
			}
		})
	}
	actor("follow the stream", func(ctx context.Context) error { return i.feed.Run(ctx, i.apply) })
	actor("sweep the denylist", i.deny.Run)
	actor("answer the fleet", responder.Run)
	all.Go(func() { i.reconcile(ctx) })
	if i.ledger.file != nil {
		all.Go(func() { i.every(ctx, ledgerInterval, "tend the ledger", nil, i.tend) })
	}
	all.Go(func() { i.watchClients(ctx) })
	all.Go(func() { i.keepRevoked(ctx) })
	all.Go(func() {
		i.every(ctx, i.cfg.RepairInterval, "repair", nil, func(ctx context.Context) error {
			return errors.Join(i.repair(ctx), i.unpark(ctx), i.saveCursor(ctx), i.loadRevokedKeys(ctx), i.tidyKeys())
		})
	})
	all.Wait()
	close(failed)
	return errors.Join(<-failed, i.release())
}

// Close lets go of what New has opened, the ledger above all, if the Issuer is not to run. Run does so itself at its end: during and after it
// Close does nothing. It may be called more than once.
func (i *Issuer) Close() error {
	if !i.running.CompareAndSwap(false, true) {
		return nil
	}
	return i.release()
}

func (i *Issuer) release() error {
	i.stopped.Store(true)
	if i.unhear != nil {
		i.unhear()
	}
	return errors.Join(i.ledger.close(), i.deny.Close())
}

// Ready is nil if the issuer can answer: caught up with the stream, connected, and with a key to sign. Otherwise the
// error says why.
func (i *Issuer) Ready() error {
	if err := i.connected(); err != nil {
		return err
	}
	if err := i.current(); err != nil {
		return err
	}
	if _, err := i.keys.signer(); err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
	return nil
}

// connected: see bucket.connected.
func (i *Issuer) connected() error {
	if !i.cfg.Conn.IsConnected() {
		return fmt.Errorf("%w: not connected to NATS", ErrUnavailable)
	}
	return i.store.connected()
}

// Report is the issuer's line in the fleet's status.
func (i *Issuer) Report() events.Report {
	now := i.cfg.Now()
	s, f, ready := i.feed.Status(), i.feed.Freshness(now), i.Ready()
	r := events.Report{
		Node: i.cfg.Node, Role: "issuer", Version: i.cfg.Version, Sequence: s.Sequence, AsOf: f.AsOf, Staleness: f.Staleness,
		Entries: int(i.deny.Stats().Entries), Synced: f.Synced, Ready: ready == nil, Uptime: now.Sub(i.started),
		MaxStaleness: i.cfg.MaxStaleness, OnStale: "deny", Issuers: []string{i.cfg.Issuer},
	}
	if f.Synced {
		digest := i.deny.Digest(f.AsOf)
		r.Digest, r.DigestFrom = digest.Sum, digest.From
	}
	if ready != nil {
		r.Error = ready.Error()
	}
	return r
}

// step is where tests make the issuer fail as if it had crashed.
func (i *Issuer) step(name string) error {
	f := i.fault.Load()
	if f == nil || *f == nil {
		return nil
	}
	return (*f)(name)
}
