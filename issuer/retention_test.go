package issuer_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// TestRetention: what the configuration leaves open is the stream's, and what the stream cannot keep is refused at the start.
func TestRetention(t *testing.T) {
	t.Parallel()
	srv := server(t)
	js, err := jetstream.New(srv.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := events.EnsureStream(t.Context(), js, events.Layout{Retention: events.Retention{MaxTokenLife: 2 * time.Hour, Skew: 10 * time.Minute}}); err != nil {
		t.Fatal(err)
	}
	r := start(t, srv.URL(), func(c *issuer.Config) {
		c.EnsureStream, c.Retention = false, events.Retention{MaxTokenLife: 2 * time.Hour}
	})
	r.user("ann")
	token := r.login("ann").Access
	r.want("revoking a token", r.form("/revoke", "token", token), 200, "")
	said := r.statements()
	if len(said) != 1 || said[0].Scope != events.Token {
		t.Fatalf("got %v, want one statement about the token", said)
	}
	if exp := time.Unix(int64(claims(t, token)["exp"].(float64)), 0); said[0].Until.Before(exp.Add(11 * time.Minute)) {
		t.Errorf("remembered until %v, want 11 minutes after %v: the clocks of this stream differ by ten", said[0].Until, exp)
	}
	for name, retention := range map[string]events.Retention{
		"shorter": {MaxTokenLife: time.Hour},
		"longer":  {MaxTokenLife: 3 * time.Hour},
		"wrong":   {Leeway: -1},
	} {
		c := r.cfg
		c.Retention = retention
		if _, err := issuer.New(t.Context(), c); !errors.Is(err, issuer.ErrConfig) || !strings.Contains(err.Error(), "Retention") {
			t.Errorf("%s: got %v, want ErrConfig naming Retention", name, err)
		}
	}
}
