package issuer_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// TestLedgerWhoseIDsAreTaken: who may send beacons has read the IDs of all statements, and uses them before a stream that was
// made anew gets its statements back. Whether his beacons are still there or not, it gets them.
func TestLedgerWhoseIDsAreTaken(t *testing.T) {
	t.Parallel()
	for name, ttl := range map[string]string{"beacons that stay": "10m", "beacons that went": "1s"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := server(t)
			r := start(t, s.URL(), func(c *issuer.Config) { c.Ledger = filepath.Join(t.TempDir(), "ledger") })
			want := businessSystem(t, r, "a", 12)
			for _, st := range want {
				until(t, "it is applied", func() bool { return issuer.Holds(r.Issuer, st) })
			}
			cfg := r.cfg
			nc := s.Connect(t)
			r.stop()
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			if err := js.DeleteStream(within(t), events.StreamName); err != nil {
				t.Fatal(err)
			}
			stream := anew(t, js)
			last := uint64(0)
			for id := range want {
				m := nats.NewMsg(events.SubjectBeacon)
				m.Header.Set(nats.MsgIdHdr, id)
				m.Header.Set("Nats-TTL", ttl)
				ack, err := js.PublishMsg(within(t), m)
				if err != nil || ack.Duplicate {
					t.Fatalf("%+v, %v", ack, err)
				}
				last = ack.Sequence
			}
			if ttl == "1s" {
				until(t, "the beacons are gone", func() bool {
					_, err := stream.GetMsg(t.Context(), last)
					return errors.Is(err, jetstream.ErrMsgNotFound)
				})
			}
			again := startWith(t, s.URL(), cfg)
			until(t, "the stream has its statements again", func() bool {
				got := map[string]bool{}
				for _, st := range again.statements() {
					got[st.Scope.String()+" "+st.Issuer+" "+st.Key] = true
				}
				for _, w := range want {
					if !got[w.Scope.String()+" "+w.Issuer+" "+w.Key] {
						return false
					}
				}
				return true
			})
			until(t, "it is said to be whole", func() bool { return issuer.Compared(again.Issuer) })
		})
	}
}
