package events_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

const onceIssuer = "https://issuer.example"

// onceStream creates QUASH_ONCE.
func onceStream(t *testing.T, nc *nats.Conn, l events.Layout) jetstream.Stream {
	t.Helper()
	js := apiOf(t, nc)
	var s jetstream.Stream
	settles(t, "the stream of used tokens exists", func(ctx context.Context) (err error) {
		s, err = events.EnsureOnce(ctx, js, l)
		return err
	})
	return s
}

// redeemer is a node with a connection of its own.
func redeemer(t *testing.T, url string, change ...func(*events.RedeemerConfig)) *events.Redeemer {
	t.Helper()
	nc, err := events.Connect(events.ConnectConfig{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	natstest.Connected(t, nc)
	t.Cleanup(nc.Close)
	c := events.RedeemerConfig{Conn: nc, Timeout: patience, AckWait: 2 * time.Second}
	for _, f := range change {
		f(&c)
	}
	r, err := events.NewRedeemer(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// use redeems a token that has just been issued.
func use(t *testing.T, r *events.Redeemer, jti string) error { return useUntil(t.Context(), r, jti) }

func useUntil(ctx context.Context, r *events.Redeemer, jti string) error {
	now := time.Now()
	return r.Redeem(ctx, onceIssuer, jti, now, now.Add(10*time.Minute))
}

func wantRedeemed(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, events.ErrRedeemed) {
		t.Errorf("%s: got %v, want ErrRedeemed", what, err)
	}
}

func TestRedeemOneWinnerOf64On8Nodes(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	onceStream(t, s.Connect(t), events.Layout{})
	var nodes []*events.Redeemer
	for range 8 {
		nodes = append(nodes, redeemer(t, s.URL()))
	}
	for round := range 5 {
		jti := fmt.Sprintf("t%d", round)
		var won, lost atomic.Int32
		var ready, done sync.WaitGroup
		ready.Add(64)
		for n := range 64 {
			done.Go(func() {
				ready.Done()
				ready.Wait()
				switch err := use(t, nodes[n%8], jti); {
				case err == nil:
					won.Add(1)
				case errors.Is(err, events.ErrRedeemed):
					lost.Add(1)
				default:
					t.Errorf("%v", err)
				}
			})
		}
		done.Wait()
		if won.Load() != 1 || lost.Load() != 63 {
			t.Errorf("round %d: %d won and %d lost of 64, want 1 and 63", round, won.Load(), lost.Load())
		}
	}
}

// Two pairs of names that read the same when joined are two tokens, and hostile
// names are names.
func TestRedeemTellsTokensApart(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	onceStream(t, s.Connect(t), events.Layout{})
	r := redeemer(t, s.URL())
	now := time.Now()
	for _, name := range [][2]string{{"a", "bc"}, {"ab", "c"}, {"abc", "*"}, {"abc", ">"}, {"abc", "a.b"}, {"abc", " \r\n\x00"}, {"abc", strings.Repeat("x", 512)}} {
		for n, want := range []error{nil, events.ErrRedeemed} {
			if err := r.Redeem(t.Context(), name[0], name[1], now, now.Add(time.Minute)); !errors.Is(err, want) {
				t.Errorf("%q, time %d: got %v, want %v", name, n+1, err, want)
			}
		}
	}
}

func TestRedeemRefusesWhatItCannotRemember(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect(t)
	r := redeemer(t, s.URL())
	if err := use(t, r, "x"); !errors.Is(err, events.ErrLayout) || !strings.Contains(err.Error(), "quash stream ensure") {
		t.Errorf("without the stream: got %v, want ErrLayout that says what to do", err)
	}
	onceStream(t, nc, events.Layout{})
	now := time.Now()
	for _, tt := range []struct {
		name, iss, jti, field string
		exp                   time.Time
	}{
		{"no issuer", "", "x", "iss", now.Add(time.Minute)},
		{"no jti", onceIssuer, "", "jti", now.Add(time.Minute)},
		{"too long", onceIssuer, "x", "exp", now.Add(2 * time.Hour)},
		{"long expired", onceIssuer, "x", "exp", now.Add(-time.Hour)},
	} {
		var field *events.FieldError
		if err := r.Redeem(t.Context(), tt.iss, tt.jti, now, tt.exp); !errors.As(err, &field) || field.Field != tt.field {
			t.Errorf("%s: got %v, want a FieldError about %s", tt.name, err, tt.field)
		}
	}
	if err := use(t, r, "x"); err != nil {
		t.Errorf("after all that: got %v, want a token that is still good", err)
	}
}

// What is stored is kept until no node can accept the token, and cannot be
// replaced, deleted or purged.
func TestRedeemIsRememberedUntilTheTokenIsDead(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect(t)
	stream := onceStream(t, nc, events.Layout{Retention: events.Retention{MaxTokenLife: time.Hour, Leeway: 40 * time.Second, Skew: 20 * time.Second}})
	now := time.Now()
	for _, tt := range []struct {
		leeway time.Duration
		ttl    string
	}{{0, "160"}, {30 * time.Second, "160"}, {100 * time.Second, "220"}} {
		r := redeemer(t, s.URL(), func(c *events.RedeemerConfig) {
			c.Leeway, c.Now = tt.leeway, func() time.Time { return now.Truncate(time.Second) }
		})
		jti := fmt.Sprint("t", tt.leeway)
		if err := r.Redeem(t.Context(), onceIssuer, jti, now, now.Truncate(time.Second).Add(100*time.Second)); err != nil {
			t.Fatal(err)
		}
		info, err := stream.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m, err := stream.GetMsg(t.Context(), info.State.LastSeq)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Header.Get("Nats-TTL"); got != tt.ttl {
			t.Errorf("leeway %v: remembered for %s s, want %s", tt.leeway, got, tt.ttl)
		}
		if strings.Contains(m.Subject+string(m.Data)+fmt.Sprint(m.Header), jti) {
			t.Errorf("the jti can be read in the stream: %s %s", m.Subject, m.Data)
		}
		// Nobody overwrites it, with or without a wish for the sequence.
		for _, header := range []nats.Header{nil, {"Nats-TTL": {"1"}}, {"Nats-Rollup": {"sub"}}, {"Nats-Expected-Last-Subject-Sequence": {fmt.Sprint(m.Sequence)}, "Nats-TTL": {"1"}}} {
			resp, err := nc.RequestMsg(&nats.Msg{Subject: m.Subject, Header: header, Data: []byte("x")}, patience)
			if err != nil || !strings.Contains(string(resp.Data), `"error"`) {
				t.Errorf("overwriting with %v: got %v %v, want a refusal", header, resp, err)
			}
		}
		if err := stream.DeleteMsg(t.Context(), m.Sequence); err == nil {
			t.Error("delete: no error")
		}
		if err := stream.Purge(t.Context()); err == nil {
			t.Error("purge: no error")
		}
		wantRedeemed(t, "after the attempts to undo it", r.Redeem(t.Context(), onceIssuer, jti, now, now.Add(100*time.Second)))
	}
}

func TestEnsureOnceNamesEveryDifference(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect(t)
	want := events.Layout{Replicas: 1, MaxBytes: 1 << 20, Retention: events.Retention{MaxTokenLife: 2 * time.Hour, Leeway: 30 * time.Second, Skew: 10 * time.Second}}
	for range 2 {
		onceStream(t, nc, want)
	}
	js := apiOf(t, nc)
	if got, err := events.CheckOnce(t.Context(), js); err != nil || got != want {
		t.Errorf("check: got %+v, %v, want %+v", got, err, want)
	}
	_, err := events.EnsureOnce(t.Context(), js, events.Layout{Replicas: 3, Retention: events.Retention{MaxTokenLife: 3 * time.Hour}})
	wantFields(t, err, "replicas", "metadata quash_max_token_life")
	if !strings.Contains(err.Error(), events.OnceStream+" differs") {
		t.Errorf("%v does not name the stream", err)
	}
	for field, change := range map[string]func(*jetstream.StreamConfig){
		"subjects":                      func(c *jetstream.StreamConfig) { c.Subjects = []string{"quash.v1.>"} },
		"storage":                       func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"retention":                     func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy },
		"discard":                       func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"discard_new_per_subject":       func(c *jetstream.StreamConfig) { c.DiscardNewPerSubject = false },
		"max_msgs_per_subject":          func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 2 },
		"max_msgs":                      func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 },
		"max_age":                       func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"max_bytes":                     func(c *jetstream.StreamConfig) { c.MaxBytes = -1 },
		"max_msg_size":                  func(c *jetstream.StreamConfig) { c.MaxMsgSize = 10 },
		"allow_direct":                  func(c *jetstream.StreamConfig) { c.AllowDirect = true },
		"allow_msg_ttl":                 func(c *jetstream.StreamConfig) { c.AllowMsgTTL = false },
		"allow_rollup_hdrs":             func(c *jetstream.StreamConfig) { c.AllowRollup = true },
		"deny_delete":                   func(c *jetstream.StreamConfig) { c.DenyDelete = false },
		"deny_purge":                    func(c *jetstream.StreamConfig) { c.DenyPurge = false },
		"sealed":                        func(c *jetstream.StreamConfig) { c.Sealed = true },
		"no_ack":                        func(c *jetstream.StreamConfig) { c.NoAck = true },
		"republish":                     func(c *jetstream.StreamConfig) { c.RePublish = &jetstream.RePublish{Source: ">", Destination: "x.>"} },
		"metadata quash_once_layout":    func(c *jetstream.StreamConfig) { c.Metadata = without(c.Metadata, "quash_once_layout") },
		"metadata quash_leeway":         func(c *jetstream.StreamConfig) { c.Metadata = without(c.Metadata, "quash_leeway") },
		"metadata quash_skew":           func(c *jetstream.StreamConfig) { c.Metadata = without(c.Metadata, "quash_skew") },
		"metadata quash_max_token_life": func(c *jetstream.StreamConfig) { c.Metadata = without(c.Metadata, "quash_max_token_life") },
	} {
		cfg := events.Layout{}.OnceConfig()
		change(&cfg)
		_, err := events.OnceLayoutOf(cfg)
		var layout *events.LayoutError
		if !errors.As(err, &layout) || !slices.ContainsFunc(layout.Differences, func(d events.Difference) bool { return d.Field == field }) {
			t.Errorf("%s: got %v, want it named", field, err)
		}
	}
}

func without(m map[string]string, key string) map[string]string {
	delete(m, key)
	return m
}

// A verifier's rights suffice to use a token up, and to find out that it was; nobody else's do.
func TestRedeemRoles(t *testing.T) {
	t.Parallel()
	s := startWithRoles(t)
	onceStream(t, as(t, s, "operator"), events.Layout{})
	role := func(name string, limit time.Duration) *events.Redeemer {
		r, err := events.NewRedeemer(events.RedeemerConfig{Conn: as(t, s, name), AckWait: 300 * time.Millisecond, Timeout: limit})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	verifier := role("verifier", patience)
	if err := use(t, verifier, "x"); err != nil {
		t.Error(err)
	}
	wantRedeemed(t, "again", use(t, verifier, "x"))
	for _, name := range []string{"operator", "publisher"} {
		if err := use(t, role(name, time.Second), "y"); !errors.Is(err, events.ErrUnavailable) {
			t.Errorf("%s: got %v, want ErrUnavailable", name, err)
		}
	}
	if err := use(t, role("operator", patience), "y"); !strings.Contains(fmt.Sprint(err), "allow it to publish quash.v1.once.*") {
		t.Errorf("got %v, want an error that says what to allow", err)
	}
	if err := use(t, verifier, "y"); err != nil {
		t.Errorf("after refused attempts: got %v, want a token that is still good", err)
	}
}

// What docs/one-time.md tells people without Go, done by hand: the two agree on who was first.
func TestRedeemByHand(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect(t)
	onceStream(t, nc, events.Layout{})
	byHand := func(iss, jti, nonce string) string {
		h := sha256.New()
		for _, name := range []string{iss, jti} {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(name))))
			h.Write([]byte(name))
		}
		m := nats.NewMsg("quash.v1.once." + base64.RawURLEncoding.EncodeToString(h.Sum(nil)))
		m.Data = []byte(nonce)
		m.Header.Set("Nats-Expected-Stream", "QUASH_ONCE")
		m.Header.Set("Nats-Expected-Last-Subject-Sequence", "0")
		m.Header.Set("Nats-TTL", "720")
		resp, err := nc.RequestMsg(m, patience)
		if err != nil {
			t.Fatal(err)
		}
		return string(resp.Data)
	}
	r := redeemer(t, s.URL())
	if got := byHand(onceIssuer, "a", "n1"); !strings.Contains(got, `"stream":"QUASH_ONCE"`) || strings.Contains(got, "error") {
		t.Errorf("the first, by hand: got %s", got)
	}
	wantRedeemed(t, "after it was used by hand", use(t, r, "a"))
	if err := use(t, r, "b"); err != nil {
		t.Fatal(err)
	}
	if got := byHand(onceIssuer, "b", "n2"); !strings.Contains(got, "10071") {
		t.Errorf("by hand after it was used: got %s, want error 10071", got)
	}
}
