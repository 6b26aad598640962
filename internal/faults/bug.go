package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
)

// bug is a mistake that a node makes on purpose, so that it is seen whether the
// checker finds it. Empty: none.
type bug string

const (
	bugDrop      bug = "drop"      // every 7th statement is never applied
	bugBlind     bug = "blind"     // the age of the view is not looked at
	bugLogout    bug = "logout"    // a view that is too old is a 401
	bugFavour    bug = "favour"    // some sessions are accepted although they are known to be revoked
	bugGiveUp    bug = "give-up"   // a lost connection is never opened again
	bugInvent    bug = "invent"    // a statement is in force that nobody published
	bugLeak      bug = "leak"      // a consumer stays on the server
	bugPretend   bug = "pretend"   // the view is said to be of this moment, whatever it is
	bugUnsynced  bug = "unsynced"  // with Allow: tokens are accepted before the first sync
	bugHaste     bug = "haste"     // no issuer is asked whether the stream is whole
	bugNaive     bug = "naive"     // the age of the view is what the wall clock says
	bugGoroutine bug = "goroutine" // one more goroutine with every refused token
)

// into puts the bug between the stream and the verifier.
func (b bug) into(c *verifier.Config) error {
	switch b {
	case bugDrop, bugInvent, bugPretend, bugGiveUp, bugNaive:
	case bugHaste:
		c.LedgerWait = -1
		return nil
	default:
		return nil
	}
	s, err := events.NewSubscriber(events.SubscriberConfig{Conn: c.NATS})
	if err != nil {
		return err
	}
	c.Feed, c.NATS = &buggyFeed{Subscriber: s, bug: b}, nil
	return nil
}

// buggyFeed is the library's own feed with a mistake.
type buggyFeed struct {
	*events.Subscriber
	bug   bug
	count int
}

func (f *buggyFeed) Run(ctx context.Context, apply events.Apply) error {
	return f.Subscriber.Run(ctx, func(ctx context.Context, batch []events.Event) error {
		var kept []events.Event
		for _, e := range batch {
			if f.count++; f.bug == bugDrop && f.count%7 == 0 {
				continue
			}
			if f.bug == bugInvent && f.count%7 == 0 {
				invented := e
				invented.Revocation.Scope, invented.Revocation.Key = events.Subject, "invented-"+strconv.Itoa(f.count)
				kept = append(kept, invented)
			}
			kept = append(kept, e)
		}
		return apply(ctx, kept)
	})
}

func (f *buggyFeed) Freshness(now time.Time) events.Freshness {
	seen := f.Subscriber.Freshness(now)
	if f.bug == bugPretend && seen.Synced {
		seen.AsOf, seen.Staleness = now, 0
	}
	if f.bug == bugNaive {
		seen.Staleness = now.Round(0).Sub(seen.AsOf)
	}
	return seen
}

func (f *buggyFeed) Status() events.Status {
	st := f.Subscriber.Status()
	if f.bug == bugPretend && st.Synced {
		st.AsOf = time.Now()
	}
	return st
}

// around puts the bug between the client and the middleware.
func (b bug) around(next http.Handler, v *verifier.Verifier) http.Handler {
	rule := verifier.HTTPConfig{MaxStaleness: 24 * time.Hour}
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	switch b {
	case bugBlind:
		return v.Middleware(rule)(ok)
	case bugFavour:
		return turned(next, func(r *http.Request, status int, challenge string) int {
			if strings.Contains(challenge, "revoked") && favoured(r.Header.Get("Authorization")) {
				return http.StatusOK
			}
			return status
		})
	case bugLogout:
		return turned(next, func(_ *http.Request, status int, _ string) int {
			if status == http.StatusServiceUnavailable {
				return http.StatusUnauthorized
			}
			return status
		})
	case bugUnsynced:
		return turned(next, func(_ *http.Request, status int, _ string) int {
			if status == http.StatusServiceUnavailable {
				return http.StatusOK
			}
			return status
		})
	case bugGoroutine:
		return turned(next, func(_ *http.Request, status int, _ string) int {
			if status == http.StatusUnauthorized {
				go func() { select {} }()
			}
			return status
		})
	}
	return next
}

// favoured picks one token in eight, the same ones every time.
func favoured(credential string) bool {
	sum := 0
	for _, c := range []byte(credential) {
		sum += int(c)
	}
	return sum%8 == 0
}

// turned answers with another status than next.
func turned(next http.Handler, turn func(r *http.Request, status int, challenge string) int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kept := httptest.NewRecorder()
		next.ServeHTTP(kept, r)
		w.WriteHeader(turn(r, kept.Code, kept.Header().Get("WWW-Authenticate")))
	})
}

// beside runs along with the node.
func (b bug) beside(conn *nats.Conn, v *verifier.Verifier) func(context.Context) error {
	switch b {
	case bugDrop, bugInvent, bugPretend, bugGiveUp, bugNaive: // they have a Feed of their own, so nobody answers the fleet
		return func(ctx context.Context) error {
			r, err := events.NewResponder(events.ResponderConfig{Conn: conn, Node: v.Status().Node, Report: v.Report,
				WaitApplied: func(context.Context, events.Position) error { return errors.New("not asked for") }})
			if err != nil {
				return err
			}
			if b == bugGiveUp {
				var once atomic.Bool
				conn.SetDisconnectErrHandler(func(nc *nats.Conn, _ error) {
					if !once.Swap(true) {
						go nc.Close()
					}
				})
			}
			return r.Run(ctx)
		}
	case bugLeak:
		return func(ctx context.Context) error { return leak(ctx, conn) }
	}
	return nil
}

// leak leaves a consumer on the stream.
func leak(ctx context.Context, conn *nats.Conn) error {
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	for {
		_, err := js.CreateOrUpdateConsumer(ctx, events.StreamName, jetstream.ConsumerConfig{Name: "leaked", InactiveThreshold: time.Hour, MemoryStorage: true})
		if err == nil {
			<-ctx.Done()
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}
