package issuer_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
	"github.com/quash-auth/quash/issuer/usertest"
)

// TestKVUsers: the built-in store keeps the contract, and so do two replicas of it.
func TestKVUsers(t *testing.T) {
	nats := server(t)
	var buckets atomic.Int64
	usertest.RunTwo(t, func(t *testing.T) (one, two issuer.Users) {
		name := fmt.Sprintf("B%d", buckets.Add(1))
		open := func() issuer.Users {
			nc, err := events.Connect(events.ConnectConfig{URL: nats.URL(), Name: t.Name()})
			if err != nil {
				t.Fatal(err)
			}
			natstest.Connected(t, nc)
			t.Cleanup(nc.Close)
			store, err := issuer.OpenKVUsers(within(t), nc, name)
			if err != nil {
				t.Fatal(err)
			}
			return store
		}
		return open(), open()
	})
}
