package events_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

func publisher(t testing.TB, nc *nats.Conn) *events.Publisher {
	t.Helper()
	p, err := events.NewPublisher(events.PublisherConfig{Conn: nc})
	if err != nil {
		t.Fatalf("NewPublisher: %v", err)
	}
	return p
}

func publish(t testing.TB, p *events.Publisher, r events.Revocation) events.Ack {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ack, err := p.Publish(ctx, r)
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	return ack
}

// publishAll publishes until everything is stored: a busy server may not confirm a batch in the time that one attempt has.
func publishAll(t testing.TB, p *events.Publisher, rs []events.Revocation) {
	t.Helper()
	for i := range rs {
		if rs[i].ID == "" {
			rs[i].ID = events.NewID()
		}
	}
	eventually(t, "everything is stored", func() bool {
		_, err := p.PublishAll(t.Context(), rs, nil)
		if err != nil && !errors.Is(err, events.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
}

// TestPeerBug14_AllEntriesAfterRestart: a gateway that received one of many
// entries after its restart. Here a node that starts late has every one.
func TestPeerBug14_AllEntriesAfterRestart(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	ensure(t, nc)
	p := publisher(t, nc)
	const n = 3000
	rs := make([]events.Revocation, n)
	for i := range rs {
		rs[i] = sessionRevocation(fmt.Sprintf("s%d", i))
	}
	publishAll(t, p, rs)
	f := follow(t, srv.URL())
	f.fresh(t)
	if got := len(f.copy()); got != n {
		t.Errorf("%d of %d statements applied", got, n)
	}
	// And again after a restart of server and node.
	srv.Restart(t)
	g := follow(t, srv.URL())
	g.fresh(t)
	f.fresh(t)
	if got := len(g.copy()); got != n {
		t.Errorf("after the restart: %d of %d statements applied", got, n)
	}
}

// TestNotSyncedBeforeEverythingIsApplied: Synced may not be claimed while a
// stored statement is missing.
func TestNotSyncedBeforeEverythingIsApplied(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	ensure(t, nc)
	publish(t, publisher(t, nc), sessionRevocation("old"))
	st := &state{keys: make(map[string]uint64), fail: errApply}
	conn := srv.Connect(t)
	s, err := events.NewSubscriber(events.SubscriberConfig{Conn: conn, BeaconInterval: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, st.apply) }()
	// Beacons flow and the statement cannot be applied.
	eventually(t, "several failed catch-ups", func() bool { s := s.Status(); return s.CatchUps > 3 && s.Beacons > 3 })
	if f := s.Freshness(time.Now()); f.Synced {
		t.Errorf("synced without the stored statement: %+v", f)
	}
	if s.Status().LastError == "" {
		t.Error("no reason in the status")
	}
	st.setFail(nil)
	eventually(t, "synced", func() bool { return s.Freshness(time.Now()).Synced })
	if !st.has("old") {
		t.Error("synced without the stored statement")
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestApplyFailureKeepsTheSequence: statements that could not be applied come
// again, and the node's view ages meanwhile.
func TestApplyFailureKeepsTheSequence(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	ensure(t, nc)
	p := publisher(t, nc)
	f := follow(t, srv.URL())
	f.fresh(t)
	f.setFail(errApply)
	ack := publish(t, p, sessionRevocation("a"))
	eventually(t, "the failure shows", func() bool { return f.Status().LastError != "" })
	if got := f.Status().Sequence; got >= ack.Sequence {
		t.Errorf("sequence %d although %d was not applied", got, ack.Sequence)
	}
	wctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.WaitApplied(wctx, events.Position{Sequence: ack.Sequence}); err == nil {
		t.Error("WaitApplied says applied")
	}
	f.setFail(nil)
	if err := f.WaitApplied(t.Context(), events.Position{Sequence: ack.Sequence}); err != nil {
		t.Errorf("WaitApplied: %v", err)
	}
	if !f.has("a") {
		t.Error("applied by sequence, missing in fact")
	}
}

// TestSlowApply: more statements arrive than a node can hold while its Apply
// stands still. Memory is bounded: what does not fit is dropped, shows as a gap,
// and is read from the stream. The view ages meanwhile and nothing is lost.
func TestSlowApply(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	ensure(t, nc)
	st := &state{keys: make(map[string]uint64)}
	gate := make(chan struct{})
	entered := make(chan struct{}, 1)
	// One that a busy machine does not break: what passes meanwhile would be no gap.
	s, err := events.NewSubscriber(events.SubscriberConfig{Conn: srv.Connect(t), BeaconInterval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, func(ctx context.Context, batch []events.Event) error {
			select {
			case entered <- struct{}{}:
			default:
			}
			<-gate
			return st.apply(ctx, batch)
		})
	}()
	eventually(t, "synced", func() bool { return s.Freshness(time.Now()).Synced })
	p := publisher(t, nc)
	publish(t, p, sessionRevocation("first"))
	<-entered // Apply is at it and does not come back
	const n = events.InboxSize + 4000
	rs := make([]events.Revocation, n)
	for i := range rs {
		rs[i] = sessionRevocation(fmt.Sprintf("s%d", i))
	}
	publishAll(t, p, rs)
	eventually(t, "the inbox is full", func() bool { return s.Status().Pending == events.InboxSize })
	before := s.Freshness(time.Now())
	eventually(t, "the view ages", func() bool { return s.Freshness(time.Now()).Staleness > before.Staleness+time.Second })
	close(gate)
	since := time.Now()
	eventually(t, "fresh again", func() bool { return s.Freshness(time.Now()).AsOf.After(since) })
	if got := len(st.copy()); got != n+1 {
		t.Errorf("%d of %d statements applied; %+v", got, n+1, s.Status())
	}
	if s.Status().Gaps == 0 {
		t.Error("nothing was dropped: the test lost its point")
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestServerStartsAfterTheNode: the node waits for a server, then for a stream,
// and says what is missing.
func TestServerStartsAfterTheNode(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	srv.Stop()
	f := follow(t, srv.URL())
	eventually(t, "the reason", func() bool { return f.Status().LastError != "" })
	if f.Freshness(time.Now()).Synced {
		t.Error("synced without a server")
	}
	srv.Restart(t)
	nc := srv.Connect(t)
	eventually(t, "the missing stream is named", func() bool {
		return f.Status().Connected && f.Status().LastError != "" && f.Status().Created.IsZero()
	})
	ensure(t, nc)
	publish(t, publisher(t, nc), sessionRevocation("x"))
	f.fresh(t)
	if !f.has("x") {
		t.Error("statement missing")
	}
}

// TestPeerBug06_LateBatchIsNotMissed: peers that poll by wall clock miss what
// was decided earlier and stored later. Sequences do not care when something
// was decided.
func TestPeerBug06_LateBatchIsNotMissed(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	ensure(t, nc)
	f := follow(t, srv.URL())
	f.fresh(t)
	r := sessionRevocation("late")
	r.At = time.Now().Add(-20 * time.Minute)
	ack := publish(t, publisher(t, nc), r)
	if err := f.WaitApplied(t.Context(), events.Position{Sequence: ack.Sequence}); err != nil {
		t.Fatal(err)
	}
	if !f.has("late") {
		t.Error("missed")
	}
}

// TestPeerBug15_EveryNodeHasEveryEvent: one of two nodes loses its connection
// while statements are published; both end with all of them.
func TestPeerBug15_EveryNodeHasEveryEvent(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	ensure(t, srv.Connect(t))
	a, b := follow(t, srv.URL()), follow(t, srv.URL())
	a.fresh(t)
	b.fresh(t)
	l := startLedger(t, srv.URL(), "k")
	for range 5 {
		l.grows(t, 20)
		if err := b.nc.ForceReconnect(); err != nil {
			t.Fatal(err)
		}
	}
	l.grows(t, 20)
	l.check(t, a, b)
}

// TestPeerBug21_NoConsumerLeaks: nodes that reconnect many times leave no
// consumer behind.
func TestPeerBug21_NoConsumerLeaks(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	js := ensure(t, nc)
	p := publisher(t, nc)
	var fs []*followerUnderTest
	for range 10 { // which send few beacons: ten that connect anew are work enough
		fs = append(fs, follow(t, srv.URL(), func(c *events.SubscriberConfig) { c.BeaconInterval = 2 * time.Second }))
	}
	for i := range 21 {
		ack := publish(t, p, sessionRevocation(fmt.Sprintf("s%d", i)))
		for _, f := range fs {
			if err := f.WaitApplied(t.Context(), events.Position{Sequence: ack.Sequence}); err != nil {
				t.Fatal(err)
			}
			if i == 20 {
				continue
			}
			if err := f.nc.ForceReconnect(); err != nil {
				t.Fatal(err)
			}
		}
	}
	stream, err := js.Stream(t.Context(), events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "all readers are gone", func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Consumers == 0
	})
}

// TestConsumerDeletedWhileReading: somebody deletes the reader under a
// catch-up; it is made again and nothing is lost.
func TestConsumerDeletedWhileReading(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	js := ensure(t, nc)
	p := publisher(t, nc)
	const n = 2500 // more than a reader has at hand while Apply stands still
	rs := make([]events.Revocation, n)
	for i := range rs {
		rs[i] = sessionRevocation(fmt.Sprintf("s%d", i))
	}
	publishAll(t, p, rs)
	c := newCrowd(t, srv.URL())
	f := c.add(func(c *events.SubscriberConfig) { c.CatchUpBatch, c.SlotWait = 10, -1 })
	c.next() // it stands still: the catch-up cannot end before its consumer does
	stream, err := js.Stream(t.Context(), events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a reader was deleted", func() bool {
		deleted := false
		for name := range stream.ConsumerNames(t.Context()).Name() {
			deleted = stream.DeleteConsumer(t.Context(), name) == nil || deleted
		}
		return deleted
	})
	close(f.goOn)
	eventually(t, "synced", func() bool { return f.Freshness(time.Now()).Synced })
	if got := len(f.copy()); got != n {
		t.Errorf("%d of %d statements applied", got, n)
	}
}

// TestUndecodableEventIsCountedOnce: what this version cannot read shows in the
// status, once per event, however often it is read; it stops nothing, and it is
// never confirmed as applied.
func TestUndecodableEventIsCountedOnce(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	js := ensure(t, nc)
	f := follow(t, srv.URL(), calm) // which reads nothing twice
	eventually(t, "synced", func() bool { return f.Freshness(time.Now()).Synced })
	subject := events.SubjectRevoked + ".session"
	var last uint64
	for i, body := range []string{`{"v":99}`, `not json`, ``} {
		ack, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Data: []byte(body)}, jetstream.WithMsgID(fmt.Sprint("newer-", i)))
		if err != nil {
			t.Fatal(err)
		}
		last = ack.Sequence
	}
	// Nobody publishes without a message ID, except a server that answers to a
	// subject of ours. That must not make a node unready.
	if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Data: []byte(`{"type":"io.nats.jetstream.api.v1.stream_info_response"}`)}); err != nil {
		t.Fatal(err)
	}
	ack := publish(t, publisher(t, nc), sessionRevocation("good"))
	if err := f.WaitApplied(t.Context(), events.Position{Sequence: ack.Sequence}); err != nil {
		t.Fatal(err)
	}
	if err := f.WaitApplied(t.Context(), events.Position{Sequence: last}); !errors.Is(err, events.ErrUndecodable) {
		t.Errorf("an event that could not be read is confirmed: %v", err)
	}
	if got := f.Status(); got.Undecodable != 3 || got.Foreign != 1 {
		t.Errorf("undecodable %d, foreign %d, want 3 and 1", got.Undecodable, got.Foreign)
	}
	var ahead atomic.Int64
	late := follow(t, srv.URL(), calm, func(c *events.SubscriberConfig) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	eventually(t, "synced", func() bool { return late.Freshness(time.Now()).Synced })
	if got := late.Status(); got.Undecodable != 3 || got.Foreign != 1 {
		t.Errorf("read from the start: undecodable %d, foreign %d, want 3 and 1", got.Undecodable, got.Foreign)
	}
	if err := f.nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "read again", func() bool { return f.Status().Reconnects > 0 })
	again := beacon(t, js, "1m")
	eventually(t, "a beacon behind it", func() bool { return f.Status().Sequence >= again })
	if got := f.Status().Undecodable; got != 3 {
		t.Errorf("undecodable %d after reading again, want 3", got)
	}
	if !f.has("good") || !late.has("good") {
		t.Error("the good statement is missing")
	}
	// A node's clock alone ends nothing: it may be set right again, and who goes on from its place by then never meets them.
	ahead.Store(int64(events.Retention{}.Total() + time.Hour))
	if got := late.Status().Undecodable; got != 3 {
		t.Errorf("undecodable %d by a clock that was set forward, want 3", got)
	}
}

// TestUndecodableEventEndsWithItsTTL: once the stream has dropped it, no token that it
// covered is alive, and the node is as good as one that never met it.
func TestUndecodableEventEndsWithItsTTL(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	js := ensure(t, nc)
	live := follow(t, srv.URL())
	live.fresh(t)
	for i, ttl := range []string{"3600", "10"} {
		m := nats.NewMsg(events.SubjectRevoked + ".session")
		m.Header.Set(nats.MsgIdHdr, fmt.Sprint("newer-", i))
		m.Header.Set("Nats-TTL", ttl)
		m.Data = []byte(`{"v":99}`)
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both are counted", func() bool { return live.Status().Undecodable == 2 })
	late := follow(t, srv.URL())
	for name, f := range map[string]*followerUnderTest{"live": live, "read from the start": late} {
		f.fresh(t)
		eventually(t, name+": the short one is over, the long one is not", func() bool { return f.Status().Undecodable == 1 })
	}
}

// TestForgedLiveMessagesSayNothing: whoever can publish to the live subject
// cannot make a node believe it is complete.
func TestForgedLiveMessagesSayNothing(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	ensure(t, nc)
	f := follow(t, srv.URL())
	f.fresh(t)
	if err := nc.Publish("quash.live.session-revoked.session", []byte(`{"v":1}`)); err != nil {
		t.Fatal(err)
	}
	f.fresh(t)
	if got := f.Status(); got.Undecodable != 0 || got.Gaps != 0 || got.Rewinds != 0 {
		t.Errorf("a message without the server's headers was taken: %+v", got)
	}
}

// TestBeaconsAreShared: many nodes, one beacon an interval: nodes suppress each
// other and the server drops what is still sent twice.
func TestBeaconsAreShared(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	js := ensure(t, nc)
	const nodes = 12
	var fs []*followerUnderTest
	for range nodes { // who hears of a beacon within half an interval sends none
		fs = append(fs, follow(t, srv.URL(), func(c *events.SubscriberConfig) { c.BeaconInterval = 400 * time.Millisecond }))
	}
	for _, f := range fs {
		f.fresh(t)
	}
	stream, err := js.Stream(t.Context(), events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	sent := func() (n uint64) {
		for _, f := range fs {
			n += f.Status().BeaconsSent
		}
		return n
	}
	stored := func() uint64 {
		info, err := stream.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.State.LastSeq
	}
	// Whenever the machine stands still all nodes find a beacon due at once; those beacons say nothing.
	eventually(t, "10 stored beacons, of each of which few nodes sent their own", func() bool {
		from, before := sent(), stored()
		eventually(t, "10 beacons stored", func() bool { return stored() >= before+10 })
		kept, got := stored()-before, sent()-from
		t.Logf("%d nodes sent %d beacons for %d stored", nodes, got, kept)
		return got <= kept*nodes/2
	})
}

// TestSilentFollowerDependsOnOthers: without anybody's beacons a node does not
// become synced on a quiet stream; with another node's it does.
func TestSilentFollowerDependsOnOthers(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	ensure(t, srv.Connect(t))
	f := follow(t, srv.URL(), func(c *events.SubscriberConfig) { c.Silent = true })
	eventually(t, "the stored part was read", func() bool { return !f.Status().Created.IsZero() })
	if f.Freshness(time.Now()).Synced {
		t.Error("synced without any evidence")
	}
	follow(t, srv.URL())
	f.fresh(t)
}

func TestSubscriberConfig(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect(t)
	for name, c := range map[string]events.SubscriberConfig{
		"no connection":     {},
		"negative interval": {Conn: nc, BeaconInterval: -1},
		"tiny interval":     {Conn: nc, BeaconInterval: time.Microsecond},
		"negative batch":    {Conn: nc, CatchUpBatch: -1},
		"huge batch":        {Conn: nc, CatchUpBatch: 1 << 20},
	} {
		if _, err := events.NewSubscriber(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestRunTwice: a second Run of the same Subscriber is refused, the first goes on.
func TestRunTwice(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	ensure(t, srv.Connect(t))
	f := follow(t, srv.URL())
	f.fresh(t)
	if err := f.Run(t.Context(), f.apply); err == nil {
		t.Error("a second Run was accepted")
	}
	f.fresh(t)
}

// TestRunAgainStartsFromNothing: what an earlier Run proved says nothing about
// the state that a later one fills.
func TestRunAgainStartsFromNothing(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	ensure(t, nc)
	ack := publish(t, publisher(t, nc), sessionRevocation("a"))
	s, err := events.NewSubscriber(events.SubscriberConfig{Conn: srv.Connect(t), BeaconInterval: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	run := func(st *state, until func() bool) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx, st.apply) }()
		eventually(t, "the run got there", until)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	run(&state{keys: make(map[string]uint64)}, func() bool { return s.Freshness(time.Now()).Synced })
	empty := &state{keys: make(map[string]uint64), fail: errApply}
	run(empty, func() bool { return s.Status().LastError != "" })
	if f := s.Freshness(time.Now()); f.Synced {
		t.Errorf("synced although the second Run applied nothing: %+v", f)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.WaitApplied(ctx, events.Position{Sequence: ack.Sequence}); err == nil {
		t.Error("confirmed although the second Run applied nothing")
	}
}

// TestNoFullReadAgainWithoutAnEnd: the stream's last message has expired and no
// beacon passes. The node cannot become synced, and must not read everything
// again and again.
func TestNoFullReadAgainWithoutAnEnd(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	js := ensure(t, nc)
	const n = 500
	rs := make([]events.Revocation, n)
	for i := range rs {
		rs[i] = sessionRevocation(fmt.Sprintf("s%d", i))
	}
	publishAll(t, publisher(t, nc), rs)
	gone(t, js, beacon(t, js, "1s"))
	// An attempt waits two intervals for the end, and a link that brings nothing is given up after four.
	f := follow(t, srv.URL(), func(c *events.SubscriberConfig) { c.Silent, c.BeaconInterval = true, 300*time.Millisecond })
	eventually(t, "several attempts", func() bool { return f.Status().CatchUps >= 3 })
	// Each goes on from the last statement, which it reads again; one that is interrupted begins where it began.
	if got := f.Status(); got.Events > n*(1+got.Reconnects)+got.CatchUps || got.Synced {
		t.Errorf("%d statements were applied %d times in %d attempts, %d reconnects, synced %v", n, got.Events, got.CatchUps, got.Reconnects, got.Synced)
	}
	follow(t, srv.URL())
	f.fresh(t)
	if got := len(f.copy()); got != n {
		t.Errorf("%d of %d statements applied", got, n)
	}
}
