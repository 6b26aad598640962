package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// node is a follower as far as the fleet is concerned: it has applied what it
// is told it has.
type node struct {
	name     string
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when sequence rises
	sequence uint64
	asked    int
}

func (n *node) apply(seq uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sequence = seq
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *node) wait(ctx context.Context, at events.Position) error {
	seq := at.Sequence
	for {
		n.mu.Lock()
		have, changed := n.sequence, n.changed
		n.mu.Unlock()
		if have >= seq {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *node) report() events.Report {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	return events.Report{
		Node: "replaced", Role: "api", Sequence: n.sequence, Synced: true, Ready: true,
		OnStale: "deny", MaxStaleness: 30 * time.Second, AsOf: time.Now(), Staleness: 120 * time.Millisecond, Uptime: time.Hour,
	}
}

// join starts a responder; the returned function takes the node out and waits.
func join(t *testing.T, nc *nats.Conn, name string, change func(*events.ResponderConfig)) (*node, func()) {
	t.Helper()
	n := &node{name: name, changed: make(chan struct{})}
	c := events.ResponderConfig{Conn: nc, Node: name, Report: n.report, WaitApplied: n.wait}
	if change != nil {
		change(&c)
	}
	r, err := events.NewResponder(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	leave := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("responder %s: %v", name, err)
		}
	})
	t.Cleanup(leave)
	waitFor(t, "node "+name+" listens", func() bool {
		answers, err := events.AskFleet(t.Context(), nc, events.Question{Expect: []string{name}, Quiet: time.Second})
		return err == nil && slices.ContainsFunc(answers, func(a events.Answer) bool { return a.Node == name })
	})
	return n, leave
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// census asks who is there until those nodes have answered in time, and never hears another.
func census(t *testing.T, nc *nats.Conn, want string) (answers []events.Answer) {
	t.Helper()
	waitFor(t, "the census hears "+want, func() bool {
		var err error
		if answers, err = events.AskFleet(t.Context(), nc, events.Question{}); err != nil {
			t.Fatal(err)
		}
		for name := range strings.FieldsSeq(names(answers)) {
			if !slices.Contains(strings.Fields(want), name) {
				t.Fatalf("census: got %q, want %q", names(answers), want)
			}
		}
		return names(answers) == want
	})
	return answers
}

func names(answers []events.Answer) string {
	var all []string
	for _, a := range answers {
		all = append(all, a.Node)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestAskFleet(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect(t)
	if answers, err := events.AskFleet(t.Context(), nc, events.Question{}); err != nil || len(answers) != 0 {
		t.Fatalf("without nodes: got %v, %v", answers, err)
	}
	a, _ := join(t, nc, "a", nil)
	join(t, nc, "b", nil)
	answers := census(t, nc, "a b")
	for _, x := range answers {
		if x.Role != "api" || x.Staleness != 120*time.Millisecond || x.MaxStaleness != 30*time.Second || x.Uptime != time.Hour || !x.Synced || !x.Ready || x.Applied || x.After <= 0 || x.AsOf.IsZero() {
			t.Errorf("answer: got %+v", x)
		}
	}
	a.apply(7)
	answers, err := events.AskFleet(t.Context(), nc, events.Question{Sequence: 7, Expect: []string{"a"}})
	if err != nil || len(answers) != 1 || answers[0].Node != "a" || !answers[0].Applied || answers[0].Sequence != 7 {
		t.Errorf("question about 7: got %+v, %v", answers, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	answers, err = events.AskFleet(ctx, nc, events.Question{Sequence: 8, Expect: []string{"a", "b"}})
	if err != nil || slices.ContainsFunc(answers, func(a events.Answer) bool { return a.Applied }) {
		t.Errorf("question about what nobody has: got %+v, %v", answers, err)
	}
}

func TestAskFleetIgnoresOtherTalk(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect(t)
	join(t, nc, "a", nil)
	sub, err := nc.Subscribe(events.SubjectFleet, func(m *nats.Msg) {
		for _, noise := range []string{"", "{", "[]", `{"node":""}`, `{"node":7}`, `{"node":"x","uptime_ms":1e999}`} {
			_ = m.Respond([]byte(noise))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	for _, noise := range []string{"{", "[]", `{"sequence":-1}`, strings.Repeat(" ", 5000)} { // a responder must survive these
		if err := nc.PublishRequest(events.SubjectFleet, nc.NewInbox(), []byte(noise)); err != nil {
			t.Fatal(err)
		}
	}
	census(t, nc, "a")
}

func TestResponderBoundsWhoWaits(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect(t)
	n, leave := join(t, nc, "a", func(c *events.ResponderConfig) { c.MaxWaiting = 2 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var wg sync.WaitGroup
	applied := make(chan bool, 5)
	for range 5 {
		wg.Go(func() {
			answers, err := events.AskFleet(ctx, nc, events.Question{Sequence: 9, Expect: []string{"a"}})
			if err != nil || len(answers) != 1 {
				t.Errorf("got %+v, %v", answers, err)
				return
			}
			applied <- answers[0].Applied
		})
	}
	for range 3 { // those beyond the bound are answered at once
		if <-applied {
			t.Error("confirmed what was not applied")
		}
	}
	n.apply(9)
	for range 2 {
		if !<-applied {
			t.Error("not confirmed what was applied")
		}
	}
	wg.Wait()
	leave()
}

func TestRevokeAndWaitNamesEveryNode(t *testing.T) {
	t.Parallel()
	nc, js, p := newStream(t, events.Layout{}, nil)
	quick, _ := join(t, nc, "quick", nil)
	join(t, nc, "silent-deny", nil)
	join(t, nc, "silent-allow", func(c *events.ResponderConfig) {
		report := c.Report
		c.Report = func() events.Report { r := report(); r.OnStale = "allow"; return r }
	})
	live, err := nc.Subscribe("quash.live.>", func(m *nats.Msg) { quick.apply(1) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = live.Unsubscribe() }()
	var receipt events.Receipt
	once := session("s")
	once.ID = "once"
	waitFor(t, "all three are counted and the quick one answers in time", func() bool {
		receipt, err = events.RevokeAndWait(t.Context(), nc, p, once, 400*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		return len(receipt.Answered)+len(receipt.Silent) == 3 && names(receipt.Answered) == "quick"
	})
	if receipt.Sequence != 1 || receipt.ID != "once" || receipt.Complete() {
		t.Fatalf("receipt: %+v", receipt)
	}
	if len(receipt.Silent) != 2 || receipt.Silent[0].Node != "silent-allow" || receipt.Silent[1].Node != "silent-deny" {
		t.Fatalf("silent: %+v", receipt.Silent)
	}
	if by := receipt.Silent[1].DeniesBy; !by.Equal(receipt.Stored.Add(30 * time.Second)) {
		t.Errorf("the denying node stops by %v, want 30 s after %v", by, receipt.Stored)
	}
	if _, bounded := receipt.EnforcedBy(); bounded || !receipt.Silent[0].DeniesBy.IsZero() {
		t.Error("a node that allows when stale has no bound")
	}
	text := receipt.String()
	for _, want := range []string{"enforced on 1 of 3 nodes, slowest ", "silent-deny, which denies by ", "silent-allow, which goes on accepting"} {
		if !strings.Contains(text, want) {
			t.Errorf("receipt %q: want %q in it", text, want)
		}
	}
	data, err := json.Marshal(receipt)
	if err != nil {
		t.Fatal(err)
	}
	var sums struct {
		Nodes, Enforced int
		By              *time.Time `json:"enforced_by"`
	}
	if err := json.Unmarshal(data, &sums); err != nil || sums.Nodes != 3 || sums.Enforced != 1 || sums.By != nil {
		t.Errorf("JSON: got %s", data)
	}
	var back events.Receipt
	if err := json.Unmarshal(data, &back); err != nil || back.String() != text {
		t.Errorf("JSON back: got %q, %v, want %q", back, err, text)
	}
	if n := len(stored(t, js)); n != 1 {
		t.Errorf("stored: got %d, want 1", n)
	}
}

func TestRevokeAndWaitStopsWhenAllHaveAnswered(t *testing.T) {
	t.Parallel()
	nc, _, p := newStream(t, events.Layout{}, nil)
	var all []*node
	for i := range 5 {
		n, _ := join(t, nc, fmt.Sprint("n", i), nil)
		all = append(all, n)
	}
	if _, err := nc.Subscribe("quash.live.>", func(*nats.Msg) {
		for _, n := range all {
			n.apply(1000)
		}
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience) // far less than the wait
	defer cancel()
	var receipt events.Receipt
	waitFor(t, "all five are counted in time", func() bool {
		var err error
		receipt, err = events.RevokeAndWait(ctx, nc, p, session("s"), time.Hour)
		if err != nil || ctx.Err() != nil || !receipt.Complete() {
			t.Fatalf("got %v, %v, %v", receipt, err, ctx.Err())
		}
		return len(receipt.Answered) == 5
	})
	if !strings.HasPrefix(receipt.String(), "enforced on 5 of 5 nodes, slowest ") {
		t.Errorf("receipt: %v", receipt)
	}
	if at, ok := receipt.EnforcedBy(); !ok || at.Before(receipt.Stored) {
		t.Errorf("enforced by: got %v, %v", at, ok)
	}
}

func TestRevokeAndWaitWithoutNodes(t *testing.T) {
	t.Parallel()
	nc, _, p := newStream(t, events.Layout{}, nil)
	receipt, err := events.RevokeAndWait(t.Context(), nc, p, session("s"), 10*time.Millisecond)
	if err != nil || receipt.String() != "stored as 1, no node listens" {
		t.Errorf("got %v, %v", receipt, err)
	}
	if _, err := events.RevokeAndWait(t.Context(), nc, p, session(""), time.Second); !errors.Is(err, events.ErrInvalid) {
		t.Errorf("invalid: got %v, want ErrInvalid", err)
	}
}

func TestReportTravels(t *testing.T) {
	t.Parallel()
	want := events.Report{
		Node: "n", Role: "api", Version: "v1", Sequence: 1<<64 - 1, AsOf: decided, Staleness: 1500 * time.Microsecond, MaxStaleness: 30 * time.Second,
		OnStale: "deny", Entries: 7, Synced: true, Ready: true, Uptime: 100 * time.Hour, Error: "x", Digest: 1<<63 + 1, DigestFrom: decided,
		Issuers: []string{"https://issuer.example"}, Unenforceable: []string{"token", "session"},
	}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got events.Report
	if err := json.Unmarshal(data, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if !strings.Contains(string(data), `"staleness_ms":1.5`) {
		t.Errorf("durations are not in milliseconds: %s", data)
	}
	// As it was before digests were of joins: not comparable with ours, in both directions.
	if !strings.Contains(string(data), `"digest":"2-8000000000000001"`) {
		t.Errorf("the digest does not name its form: %s", data)
	}
	if err := json.Unmarshal([]byte(strings.Replace(string(data), `"2-`, `"`, 1)), &got); err != nil || !got.DigestFrom.IsZero() || got.Disagree(want) {
		t.Errorf("got %+v, %v, want a report without a digest", got, err)
	}
}

func TestNewResponderNamesTheField(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect(t)
	n := &node{}
	good := events.ResponderConfig{Conn: nc, Node: "n", Report: n.report, WaitApplied: n.wait}
	for field, change := range map[string]func(*events.ResponderConfig){
		"conn":         func(c *events.ResponderConfig) { c.Conn = nil },
		"node":         func(c *events.ResponderConfig) { c.Node = "" },
		"report":       func(c *events.ResponderConfig) { c.Report = nil },
		"wait_applied": func(c *events.ResponderConfig) { c.WaitApplied = nil },
		"max_waiting":  func(c *events.ResponderConfig) { c.MaxWaiting = -1 },
		"max_wait":     func(c *events.ResponderConfig) { c.MaxWait = -1 },
	} {
		c := good
		change(&c)
		_, err := events.NewResponder(c)
		var got *events.FieldError
		if !errors.As(err, &got) || got.Field != field {
			t.Errorf("%s: got %v, want a FieldError that names it", field, err)
		}
	}
}
