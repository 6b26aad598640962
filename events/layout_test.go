package events_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

func TestEnsureStreamCreatesOrChecks(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect(t)
	js := apiOf(t, nc)
	if _, err := events.CheckStream(t.Context(), js); !errors.Is(err, events.ErrLayout) || !strings.Contains(err.Error(), "quash stream ensure") {
		t.Fatalf("check without a stream: got %v, want ErrLayout that says what to do", err)
	}
	want := events.Layout{Replicas: 1, MaxBytes: 1 << 20, Retention: events.Retention{MaxTokenLife: 2 * time.Hour, Leeway: 30 * time.Second, Skew: 10 * time.Second}}
	for range 2 {
		if _, err := events.EnsureStream(t.Context(), js, want); err != nil {
			t.Fatalf("ensure: %v", err)
		}
	}
	got, err := events.CheckStream(t.Context(), js)
	if err != nil || got != want {
		t.Errorf("check: got %+v, %v, want %+v", got, err, want)
	}
	if _, err := events.EnsureStream(t.Context(), js, events.Layout{}); err != nil {
		t.Errorf("ensure without wishes: %v", err)
	}
	if _, err := events.EnsureStream(t.Context(), js, events.Layout{Retention: events.Retention{MaxTokenLife: time.Hour}}); err != nil {
		t.Errorf("ensure less than there is: %v", err)
	}
	_, err = events.EnsureStream(t.Context(), js, events.Layout{Replicas: 3, MaxBytes: 2 << 20, Retention: events.Retention{Leeway: time.Minute}})
	wantFields(t, err, "replicas", "max_bytes", "metadata quash_leeway")
	if after, err := events.CheckStream(t.Context(), js); err != nil || after != want {
		t.Errorf("the stream was altered: got %+v, %v", after, err)
	}
}

// refusing repeats for ever what the server said the first time.
type refusing struct {
	jetstream.JetStream
	said error
}

func (c *refusing) CreateStream(ctx context.Context, cfg jetstream.StreamConfig) (stream jetstream.Stream, err error) {
	if c.said == nil {
		stream, c.said = c.JetStream.CreateStream(ctx, cfg)
	}
	return stream, c.said
}

// TestEnsureStreamAfterADeletion: a server in whose way something is, as while it clears what was deleted, is asked again; it clears that, too. One
// that always refuses is an error.
func TestEnsureStreamAfterADeletion(t *testing.T) {
	t.Parallel()
	for name, ensure := range map[string]func(context.Context, jetstream.JetStream, events.Layout) (jetstream.Stream, error){
		events.StreamName: events.EnsureStream, events.OnceStream: events.EnsureOnce,
	} {
		srv := natstest.Start(t)
		js := apiOf(t, srv.Connect(t))
		streams := filepath.Join(srv.Server().JetStreamConfig().StoreDir, "$G", "streams")
		if err := errors.Join(os.MkdirAll(streams, 0o700), os.WriteFile(filepath.Join(streams, name), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		never := &refusing{JetStream: js}
		if _, err := ensure(t.Context(), never, events.Layout{}); !errors.Is(err, events.ErrUnavailable) || !errors.Is(err, never.said) || !strings.Contains(err.Error(), "its disk") {
			t.Errorf("%s, refused for ever: %v", name, err)
		}
		if err := errors.Join(os.MkdirAll(streams, 0o700), os.WriteFile(filepath.Join(streams, name), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := ensure(t.Context(), js, events.Layout{}); err != nil {
			t.Errorf("%s, refused once: %v", name, err)
		}
	}
}

// wantFields fails unless err is a LayoutError about exactly these fields.
func wantFields(t *testing.T, err error, fields ...string) {
	t.Helper()
	var layout *events.LayoutError
	if !errors.As(err, &layout) || !errors.Is(err, events.ErrLayout) {
		t.Fatalf("got %v, want a LayoutError", err)
	}
	var got []string
	for _, d := range layout.Differences {
		got = append(got, d.Field)
		if d.Got == "" || d.Want == "" || !strings.Contains(err.Error(), d.Field) {
			t.Errorf("difference %+v in %q: want both sides, and the field in the text", d, err)
		}
	}
	if strings.Join(got, ",") != strings.Join(fields, ",") {
		t.Errorf("fields: got %v, want %v", got, fields)
	}
}

func TestLayoutOfListsEveryDifference(t *testing.T) {
	t.Parallel()
	good := events.Layout{}.StreamConfig()
	if _, err := events.LayoutOf(good); err != nil {
		t.Fatalf("our own configuration: %v", err)
	}
	for field, change := range map[string]func(*jetstream.StreamConfig){
		"name":                    func(c *jetstream.StreamConfig) { c.Name = "OTHER" },
		"subjects":                func(c *jetstream.StreamConfig) { c.Subjects = []string{"quash.v1.>"} },
		"retention":               func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"storage":                 func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"discard":                 func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"discard_new_per_subject": func(c *jetstream.StreamConfig) { c.DiscardNewPerSubject = true },
		"sealed":                  func(c *jetstream.StreamConfig) { c.Sealed = true },
		"no_ack":                  func(c *jetstream.StreamConfig) { c.NoAck = true },
		"mirror or sources":       func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "X"}} },
		"subject_transform":       func(c *jetstream.StreamConfig) { c.SubjectTransform = &jetstream.SubjectTransformConfig{} },
		"allow_msg_ttl":           func(c *jetstream.StreamConfig) { c.AllowMsgTTL = false },
		"allow_atomic":            func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false },
		"allow_direct":            func(c *jetstream.StreamConfig) { c.AllowDirect = false },
		"deny_delete":             func(c *jetstream.StreamConfig) { c.DenyDelete = false },
		"deny_purge":              func(c *jetstream.StreamConfig) { c.DenyPurge = false },
		"republish": func(c *jetstream.StreamConfig) {
			c.RePublish = &jetstream.RePublish{Source: "quash.v1.>", Destination: "quash.live.>", HeadersOnly: true}
		},
		"max_msgs":                      func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 },
		"max_msgs_per_subject":          func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 },
		"max_msg_size":                  func(c *jetstream.StreamConfig) { c.MaxMsgSize = 100 },
		"duplicate_window":              func(c *jetstream.StreamConfig) { c.Duplicates = time.Second },
		"max_bytes":                     func(c *jetstream.StreamConfig) { c.MaxBytes = -1 },
		"max_age":                       func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"metadata quash_layout":         func(c *jetstream.StreamConfig) { delete(c.Metadata, "quash_layout") },
		"metadata quash_max_token_life": func(c *jetstream.StreamConfig) { c.Metadata["quash_max_token_life"] = "soon" },
		"metadata quash_skew":           func(c *jetstream.StreamConfig) { c.Metadata["quash_skew"] = "-1s" },
	} {
		t.Run(field, func(t *testing.T) {
			cfg := events.Layout{}.StreamConfig()
			change(&cfg)
			_, err := events.LayoutOf(cfg)
			wantFields(t, err, field)
		})
	}
	_, err := events.LayoutOf(jetstream.StreamConfig{Name: events.StreamName, Subjects: []string{"quash.v1.>"}, MaxBytes: -1})
	var layout *events.LayoutError
	if !errors.As(err, &layout) || len(layout.Differences) < 12 {
		t.Errorf("a stream made by hand: got %v, want all its differences at once", err)
	}
}

func TestLayoutNamesTheField(t *testing.T) {
	t.Parallel()
	for field, l := range map[string]events.Layout{
		"replicas":  {Replicas: 6},
		"max_bytes": {MaxBytes: -1},
		"skew":      {Retention: events.Retention{Skew: -time.Second}},
		"leeway":    {Retention: events.Retention{Leeway: 1 << 62}},
	} {
		_, err := events.EnsureStream(t.Context(), nil, l)
		var got *events.FieldError
		if !errors.As(err, &got) || got.Field != field {
			t.Errorf("%s: got %v, want a FieldError that names it", field, err)
		}
	}
}
