package events_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// ackThief is a line to a server that is cut the moment the stream confirms: the
// claim is stored and its author does not learn it.
type ackThief struct {
	addr   string
	stolen atomic.Int32
	armed  atomic.Bool
}

func startAckThief(t *testing.T, target string, atAck func()) *ackThief {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	thief := &ackThief{addr: l.Addr().String()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go thief.carry(c, target, atAck)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return thief
}

func (a *ackThief) carry(c net.Conn, target string, atAck func()) {
	defer c.Close()
	s, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer s.Close()
	go func() {
		defer s.Close()
		defer c.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if _, err := s.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf, seen := make([]byte, 64<<10), ""
	for {
		n, err := s.Read(buf)
		if err != nil {
			return
		}
		// An ack may come in two pieces.
		seen = seen[max(0, len(seen)-100):] + string(buf[:n])
		if strings.Contains(string(buf[:n]), "}") && strings.Contains(seen, `"stream":"QUASH_ONCE"`) && a.armed.CompareAndSwap(true, false) {
			a.stolen.Add(1)
			if atAck != nil {
				atAck()
			}
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

// The connection dies between the decision and its answer: the author asks again
// and finds that it is his; everybody else has lost.
func TestRedeemLostAnswerIsFoundAgain(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	onceStream(t, s.Connect(t), events.Layout{})
	thief := startAckThief(t, strings.TrimPrefix(s.URL(), "nats://"), nil)
	r, other := redeemer(t, "nats://"+thief.addr), redeemer(t, s.URL())
	if err := use(t, r, "first"); err != nil { // reads the layout, too
		t.Fatal(err)
	}
	thief.armed.Store(true)
	if err := use(t, r, "x"); err != nil || thief.stolen.Load() != 1 {
		t.Errorf("got %v after %d lost answers, want a win after 1", err, thief.stolen.Load())
	}
	wantRedeemed(t, "the winner, again", use(t, r, "x"))
	wantRedeemed(t, "somebody else", use(t, other, "x"))
}

// The same, but the time is up before the answer can be found: nobody has won
// yet, the same node wins when it is asked again, and another one never does.
func TestRedeemLostAnswerAndTimeIsUp(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	onceStream(t, s.Connect(t), events.Layout{})
	line := startProxy(t, strings.TrimPrefix(s.URL(), "nats://"))
	var timeUp atomic.Pointer[context.CancelFunc]
	thief := startAckThief(t, line.addr, func() { line.cut(); (*timeUp.Load())() })
	other := redeemer(t, s.URL())
	for _, sameNode := range []bool{true, false} {
		r := redeemer(t, "nats://"+thief.addr)
		if err := use(t, r, fmt.Sprint("first", sameNode)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		timeUp.Store(&cancel)
		thief.armed.Store(true)
		if err := useUntil(ctx, r, fmt.Sprint(sameNode)); !errors.Is(err, events.ErrUnavailable) || errors.Is(err, events.ErrRedeemed) {
			t.Fatalf("got %v, want ErrUnavailable", err)
		}
		line.mend()
		if sameNode {
			waitFor(t, "the same node wins", func() bool {
				err := use(t, r, "true")
				if errors.Is(err, events.ErrRedeemed) {
					t.Fatal("the node lost against itself")
				}
				return err == nil
			})
			wantRedeemed(t, "the winner, again", use(t, r, "true"))
		}
		wantRedeemed(t, "another node", use(t, other, fmt.Sprint(sameNode)))
	}
}

// Killed at the moment of the ack, again and again: never two winners, and what
// was won stays won over a restart of the server and of the node.
func TestRedeemServerKilledAtTheAck(t *testing.T) {
	t.Parallel()
	p := natstest.StartProcess(t, t.TempDir(), 0)
	onceStream(t, p.Connect(t), events.Layout{})
	killed := make(chan struct{}, 1)
	thief := startAckThief(t, strings.TrimPrefix(p.URL(), "nats://"), func() { p.Kill(); killed <- struct{}{} })
	a, b := redeemer(t, "nats://"+thief.addr), redeemer(t, p.URL())
	for n := range 3 {
		waitFor(t, "the node is connected", func() bool { return use(t, a, fmt.Sprintf("warm%d", n)) == nil })
		thief.armed.Store(true)
		jti := fmt.Sprint("x", n)
		first := make(chan error, 1)
		go func() { first <- use(t, a, jti) }()
		select {
		case <-killed:
		case err := <-first:
			t.Fatalf("round %d: got %v before the server was killed", n, err)
		}
		p.Restart(t)
		second := use(t, b, jti)
		err := <-first
		if (err == nil) == (second == nil) && err == nil {
			t.Fatalf("round %d: two winners", n)
		}
		if err != nil && second != nil {
			t.Errorf("round %d: no winner: %v and %v", n, err, second)
		}
		wantRedeemed(t, "the first, again", use(t, a, jti))
		p.Restart(t)
		wantRedeemed(t, "a new node after another restart", use(t, redeemer(t, p.URL()), jti))
	}
}

func TestRedeemServerAway(t *testing.T) {
	t.Parallel()
	p := natstest.StartProcess(t, t.TempDir(), 0)
	onceStream(t, p.Connect(t), events.Layout{})
	r := redeemer(t, p.URL())
	if err := use(t, r, "first"); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := useUntil(ctx, r, "x"); !errors.Is(err, events.ErrUnavailable) {
		t.Fatalf("got %v, want ErrUnavailable", err)
	}
	p.Restart(t)
	late := redeemer(t, p.URL())
	if err := use(t, late, "x"); err != nil {
		t.Errorf("a token that reached no stream: got %v, want it good on another node", err)
	}
}

// A stream that was made anew, or put back to an older state, has forgotten who
// used what. Older tokens count as used then.
func TestRedeemStreamThatForgot(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect(t)
	before := time.Now()
	onceStream(t, nc, events.Layout{})
	old, knows := redeemer(t, s.URL()), redeemer(t, s.URL())
	issued := time.Now()
	redeem := func(r *events.Redeemer, jti string, iat time.Time) error {
		return r.Redeem(t.Context(), onceIssuer, jti, iat, iat.Add(10*time.Minute))
	}
	wantRedeemed(t, "a token older than the stream", redeem(old, "older", before.Add(-5*time.Second)))
	for n := range 3 {
		if err := use(t, knows, fmt.Sprint("x", n)); err != nil {
			t.Fatal(err)
		}
	}
	// iat is in whole seconds: in this one nobody could tell the two streams apart.
	waitFor(t, "the next second", func() bool { return time.Now().Unix() > issued.Unix() })
	js := apiOf(t, nc)
	if err := js.DeleteStream(t.Context(), events.OnceStream); err != nil {
		t.Fatal(err)
	}
	onceStream(t, nc, events.Layout{})
	for what, r := range map[string]*events.Redeemer{"a node that was there": knows, "a new node": redeemer(t, s.URL())} {
		wantRedeemed(t, what, redeem(r, "x1", issued))
	}
	waitFor(t, "tokens that are issued now are good", func() bool { return use(t, knows, fmt.Sprint("new", time.Now())) == nil })
}

// Three servers: a leader that goes takes nothing with it, and while it changes
// there are never two winners.
func TestRedeemLeaderChange(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 3)
	stream := onceStream(t, c.Connect(t), events.Layout{Replicas: 3})
	var nodes []*events.Redeemer
	for range 3 {
		nodes = append(nodes, redeemer(t, c.URL()))
	}
	for round := range 2 {
		waitFor(t, "all replicas are current", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			info, err := stream.Info(ctx)
			return err == nil && info.Cluster != nil && len(info.Cluster.Replicas) == 2 &&
				!slices.ContainsFunc(info.Cluster.Replicas, func(p *jetstream.PeerInfo) bool { return !p.Current || p.Offline })
		})
		var won [40]atomic.Int32
		leader := c.Leader(events.OnceStream)
		done := make(chan struct{}, len(nodes))
		for _, r := range nodes {
			go func() {
				defer func() { done <- struct{}{} }()
				for i := range won {
					err := use(t, r, fmt.Sprintf("%d.%d", round, i))
					switch {
					case err == nil:
						won[i].Add(1)
					case !errors.Is(err, events.ErrRedeemed):
						t.Errorf("round %d, token %d: %v", round, i, err)
						return
					}
				}
			}()
		}
		waitFor(t, "some are used", func() bool { return won[3].Load() > 0 })
		leader.Stop()
		for range nodes {
			<-done
		}
		for i := range won {
			if n := won[i].Load(); n != 1 {
				t.Errorf("round %d, token %d: %d winners, want 1", round, i, n)
			}
		}
		leader.Restart(t)
		c.WaitReady(t)
		for _, r := range nodes {
			wantRedeemed(t, "after the change", use(t, r, fmt.Sprintf("%d.%d", round, 0)))
		}
	}
}
