package verifier_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/verifier"
)

// node is a verifier that follows a real server.
func node(t *testing.T, url string, change func(*verifier.Config)) (*verifier.Verifier, func()) {
	t.Helper()
	nc, err := events.Connect(events.ConnectConfig{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	c := verifier.Config{Issuers: []verifier.Issuer{issuerA()}, NATS: nc, MaxStaleness: time.Minute}
	if change != nil {
		change(&c)
	}
	v, err := verifier.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close) // after Run has ended: cleanups run backwards
	return v, runs(t, v)
}

func ensure(t *testing.T, nc *nats.Conn, l events.Layout) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience)) // the server stays, and answers, if late
	if err != nil {
		t.Fatal(err)
	}
	made(t, js, l)
	return js
}

// made makes the stream. A server that is still clearing one of before is asked again.
func made(t *testing.T, js jetstream.JetStream, l events.Layout) {
	t.Helper()
	eventually(t, "the stream exists", func() bool {
		_, err := events.EnsureStream(t.Context(), js, l)
		if err != nil && !errors.Is(err, events.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
}

func publisher(t *testing.T, nc *nats.Conn) *events.Publisher {
	t.Helper()
	p, err := events.NewPublisher(events.PublisherConfig{Conn: nc, By: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// publishAll publishes until everything is stored: a busy server may not confirm a batch in the time that one attempt has.
func publishAll(t *testing.T, p *events.Publisher, rs []events.Revocation) {
	t.Helper()
	for i := range rs {
		rs[i].ID = events.NewID()
	}
	eventually(t, "everything is stored", func() bool {
		_, err := p.PublishAll(t.Context(), rs, nil)
		if err != nil && !errors.Is(err, events.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
}

// confirmed revokes until a receipt names one node, which confirms: a busy one may miss being counted.
func confirmed(t *testing.T, nc *nats.Conn, p *events.Publisher, r events.Revocation) (receipt events.Receipt) {
	t.Helper()
	eventually(t, "the node confirms", func() bool {
		var err error
		if receipt, err = events.RevokeAndWait(t.Context(), nc, p, r, 30*time.Second); err != nil {
			t.Fatal(err)
		}
		return receipt.Complete() && len(receipt.Answered) == 1
	})
	return receipt
}

func verifyErr(v *verifier.Verifier, raw string) error {
	_, err := v.Verify(context.Background(), raw)
	return err
}

func TestM11_OverNATS(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	nc := server.Connect(t)
	ensure(t, nc, events.Layout{})
	p := publisher(t, nc)

	// Before the node starts: everything stored must be in force before anything is accepted.
	const stored = 3000
	batch := make([]events.Revocation, stored)
	for i := range batch {
		batch[i] = events.Revocation{Issuer: issA, Scope: events.Token, Key: fmt.Sprint("early-", i)}
	}
	publishAll(t, p, batch)
	now := time.Now()
	good, last := mint(now, nil), mint(now, object{"jti": fmt.Sprint("early-", stored-1)})
	v, stop := node(t, server.URL(), func(c *verifier.Config) { c.Node = "one" })
	eventually(t, "the first acceptance", func() bool {
		if err := verifyErr(v, last); err == nil {
			t.Fatal("a revoked token was accepted")
		}
		err := verifyErr(v, good)
		if err != nil && !errors.Is(err, verifier.ErrStale) {
			t.Fatalf("good token: %v", err)
		}
		return err == nil
	})
	for i := range stored {
		if err := v.Revoked(verifier.Claims{Issuer: issA, ID: fmt.Sprint("early-", i)}); !errors.Is(err, verifier.ErrRevoked) {
			t.Fatalf("statement %d of %d is missing on a synced node: %v", i, stored, err)
		}
	}
	if err := v.Ready(); err != nil {
		t.Errorf("Ready: %v", err)
	}

	// Live, with a receipt from the node.
	receipt := confirmed(t, nc, p, events.Revocation{Issuer: issA, Scope: events.Session, Key: "s1"})
	if receipt.Answered[0].Node != "one" {
		t.Errorf("receipt: %v", receipt)
	}
	if err := verifyErr(v, good); !errors.Is(err, verifier.ErrRevoked) {
		t.Errorf("after the receipt: got %v, want ErrRevoked", err)
	}

	// A restarted node rejects before it accepts anything.
	stop()
	again, _ := node(t, server.URL(), nil)
	other := mint(now, object{"jti": "j2", "sid": "s2"})
	eventually(t, "the restarted node to accept", func() bool {
		err := verifyErr(again, other)
		if seen := verifyErr(again, good); seen == nil {
			t.Fatal("a restarted node accepted a revoked token")
		}
		return err == nil
	})
	if err := verifyErr(again, good); !errors.Is(err, verifier.ErrRevoked) {
		t.Errorf("restarted: got %v, want ErrRevoked", err)
	}
}

func TestM13_LostBus(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	nc := server.Connect(t)
	ensure(t, nc, events.Layout{})
	v, _ := node(t, server.URL(), func(c *verifier.Config) { c.MaxStaleness = 1500 * time.Millisecond })
	now := time.Now()
	good, dead := mint(now, nil), mint(now, object{"jti": "dead"})
	eventually(t, "ready", func() bool { return v.Ready() == nil })
	if _, err := publisher(t, nc).Publish(t.Context(), events.Revocation{Issuer: issA, Scope: events.Token, Key: "dead"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "revoked", func() bool { return errors.Is(verifyErr(v, dead), verifier.ErrRevoked) })
	server.Stop()
	eventually(t, "stale", func() bool {
		if err := verifyErr(v, dead); !errors.Is(err, verifier.ErrRevoked) {
			t.Fatalf("revoked token while the bus is lost: %v", err)
		}
		return errors.Is(verifyErr(v, good), verifier.ErrStale)
	})
	if err := v.Ready(); !errors.Is(err, verifier.ErrStale) {
		t.Errorf("Ready: got %v", err)
	}
	server.Restart(t)
	eventually(t, "healed", func() bool { return verifyErr(v, good) == nil })
	if err := verifyErr(v, dead); !errors.Is(err, verifier.ErrRevoked) {
		t.Errorf("after healing: got %v", err)
	}
}

func TestStreamThatForgetsTooEarly(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	ensure(t, server.Connect(t), events.Layout{Retention: events.Retention{MaxTokenLife: 10 * time.Minute}})
	v, _ := node(t, server.URL(), nil)
	eventually(t, "the verdict over the stream", func() bool { return errors.Is(v.Ready(), verifier.ErrRetention) })
	if err := verifyErr(v, mint(time.Now(), nil)); !errors.Is(err, verifier.ErrStale) {
		t.Errorf("got %v, want ErrStale", err)
	}
	if err := v.Ready(); !strings.Contains(err.Error(), "10m0s") || !strings.Contains(err.Error(), "1h0m0s") {
		t.Errorf("the reason must name both lives: %v", err)
	}
}

func TestNoStreamAndNoServer(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	v, _ := node(t, server.URL(), nil)
	good := mint(time.Now(), nil)
	eventually(t, "a reason that says what to do", func() bool {
		err := v.Ready()
		return errors.Is(err, verifier.ErrStale) && strings.Contains(err.Error(), "stream ensure")
	})
	if err := verifyErr(v, good); !errors.Is(err, verifier.ErrStale) {
		t.Errorf("no stream: got %v, want ErrStale", err)
	}
	ensure(t, server.Connect(t), events.Layout{})
	eventually(t, "ready once the stream exists", func() bool { return v.Ready() == nil })

	port := natstest.FreePorts(t, 1)[0]
	absent, _ := node(t, fmt.Sprintf("nats://127.0.0.1:%d", port), nil)
	if err := verifyErr(absent, good); !errors.Is(err, verifier.ErrStale) {
		t.Errorf("no server: got %v, want ErrStale", err)
	}
	late := natstest.Start(t, natstest.WithPort(port))
	ensure(t, late.Connect(t), events.Layout{})
	eventually(t, "ready once the server is there", func() bool { return absent.Ready() == nil })
}

// TestUndecodableOverNATS: a statement of a newer version is neither skipped silently nor does it stop the node.
func TestUndecodableOverNATS(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	nc := server.Connect(t)
	js := ensure(t, nc, events.Layout{})
	v, _ := node(t, server.URL(), nil)
	eventually(t, "ready", func() bool { return v.Ready() == nil })
	if _, err := js.Publish(t.Context(), events.SubjectRevoked+".device", []byte(`{"v":2,"scope":"device"}`), jetstream.WithMsgID("newer-1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "not ready", func() bool { return errors.Is(v.Ready(), verifier.ErrUndecodable) })
	if _, err := publisher(t, nc).Publish(t.Context(), events.Revocation{Issuer: issA, Scope: events.Token, Key: "j1"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "later statements are applied", func() bool { return errors.Is(verifyErr(v, mint(time.Now(), nil)), verifier.ErrRevoked) })
}
