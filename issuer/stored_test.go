package issuer_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
)

// timesStored reads the whole stream, many messages at a time, and counts each ID.
func timesStored(t *testing.T, r *rig) map[string]int {
	t.Helper()
	js, err := jetstream.New(r.cfg.Conn)
	if err != nil {
		t.Fatal(err)
	}
	c, err := js.CreateConsumer(within(t), events.StreamName, jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true,
		FilterSubject: "quash.v1.session-revoked.*", InactiveThreshold: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]int{}
	for {
		some, err := c.FetchNoWait(500)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for m := range some.Messages() {
			n++
			st, err := events.Decode(m.Data())
			if err != nil {
				t.Fatal(err)
			}
			stored[st.ID]++
		}
		if err := some.Error(); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return stored
		}
	}
}
