package events_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
)

var decided = time.Date(2026, 11, 21, 10, 30, 15, 250e6, time.UTC)

// statements has one complete statement per scope, and some that use every field
// or odd text. Their encodings are the golden files of the same names.
func statements() map[string]events.Revocation {
	whole := decided.Truncate(time.Second)
	base := events.Revocation{
		ID: "01hzy3v7k2q8c4m9", Issuer: "https://issuer.example", Key: "k1",
		Until: whole.Add(62 * time.Minute), At: decided, By: "system",
	}
	with := func(scope events.Scope, key string, change func(*events.Revocation)) events.Revocation {
		r := base
		r.Scope, r.Key = scope, key
		if scope >= events.Subject {
			r.Before = whole
		}
		if change != nil {
			change(&r)
		}
		return r
	}
	return map[string]events.Revocation{
		"token":     with(events.Token, "b6c3a1d2-7f6e-4f7a-9a53-1f2b3c4d5e6f", nil),
		"session":   with(events.Session, "s-8f14e45f", nil),
		"subject":   with(events.Subject, "user-42", nil),
		"client":    with(events.Client, "mobile-app", nil),
		"key":       with(events.Key, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", nil),
		"key-whole": with(events.Key, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", func(r *events.Revocation) { r.Before = time.Time{} }),
		"issuer":    with(events.Issuer, "", nil),
		"all-fields": with(events.Subject, "user-42", func(r *events.Revocation) {
			r.Gen, r.By = 18446744073709551615, "admin"
			r.Actor, r.Reason, r.Txn = "alice@example.com", `laptop stolen, "urgent"`, "req-7f3a"
		}),
		"unicode-key":    with(events.Subject, "žluťoučký kůň 🐎/\\\"\t\u0001\u2028", nil),
		"minimal":        {ID: "1", Issuer: "i", Scope: events.Token, Key: "k", Until: whole, By: "user"},
		"unicode-issuer": with(events.Issuer, "", func(r *events.Revocation) { r.Issuer = "https://выдача.example/ü" }),
		"future":         with(events.Client, "c", func(r *events.Revocation) { r.Before = whole.Add(time.Hour); r.Until = whole.Add(3 * time.Hour) }),
	}
}

func TestValidateNamesTheField(t *testing.T) {
	t.Parallel()
	good := statements()["all-fields"]
	for _, c := range []struct {
		name, field string
		change      func(*events.Revocation)
	}{
		{"no id", "id", func(r *events.Revocation) { r.ID = "" }},
		{"before the epoch", "before", func(r *events.Revocation) { r.Before = time.Unix(-7, 0) }},
		{"before at the epoch", "before", func(r *events.Revocation) { r.Before = time.Unix(0, 0) }},
		{"until before the epoch", "until", func(r *events.Revocation) { r.Until = time.Unix(-7, 0) }},
		{"long id", "id", func(r *events.Revocation) { r.ID = strings.Repeat("a", 129) }},
		{"id with a space", "id", func(r *events.Revocation) { r.ID = "a b" }},
		{"id with a line break", "id", func(r *events.Revocation) { r.ID = "a\r\nNats-TTL: 1" }},
		{"id not ASCII", "id", func(r *events.Revocation) { r.ID = "ü" }},
		{"no issuer", "iss", func(r *events.Revocation) { r.Issuer = "" }},
		{"long issuer", "iss", func(r *events.Revocation) { r.Issuer = strings.Repeat("a", 513) }},
		{"no scope", "scope", func(r *events.Revocation) { r.Scope = 0 }},
		{"unknown scope", "scope", func(r *events.Revocation) { r.Scope = 7 }},
		{"no key", "key", func(r *events.Revocation) { r.Key = "" }},
		{"long key", "key", func(r *events.Revocation) { r.Key = strings.Repeat("k", 513) }},
		{"key not UTF-8", "key", func(r *events.Revocation) { r.Key = "\xff" }},
		{"key for issuer", "key", func(r *events.Revocation) { r.Scope, r.Gen = events.Issuer, 0 }},
		{"no before", "before", func(r *events.Revocation) { r.Before = time.Time{} }},
		{"before for a session", "before", func(r *events.Revocation) { r.Scope, r.Gen = events.Session, 0 }},
		{"before in the year 10000", "before", func(r *events.Revocation) { r.Before = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{"gen for a client", "gen", func(r *events.Revocation) { r.Scope = events.Client }},
		{"no until", "until", func(r *events.Revocation) { r.Until = time.Time{} }},
		{"until past", "until", func(r *events.Revocation) { r.Until = decided.Add(-time.Second) }},
		{"until now", "until", func(r *events.Revocation) { r.Until = decided }},
		{"until in the year 10000", "until", func(r *events.Revocation) { r.Until = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{"no by", "by", func(r *events.Revocation) { r.By = "" }},
		{"unknown by", "by", func(r *events.Revocation) { r.By = "nobody" }},
		{"long actor", "actor", func(r *events.Revocation) { r.Actor = strings.Repeat("a", 513) }},
		{"reason not UTF-8", "reason", func(r *events.Revocation) { r.Reason = "\xc3" }},
		{"long txn", "txn", func(r *events.Revocation) { r.Txn = strings.Repeat("a", 513) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := good
			c.change(&r)
			err := r.Validate(decided)
			var field *events.FieldError
			if !errors.As(err, &field) || !errors.Is(err, events.ErrInvalid) {
				t.Fatalf("error: got %v, want a FieldError that wraps ErrInvalid", err)
			}
			if field.Field != c.field {
				t.Errorf("field: got %q (%v), want %q", field.Field, err, c.field)
			}
		})
	}
}

func TestValidateAcceptsKeysUpToTheLimit(t *testing.T) {
	t.Parallel()
	r := statements()["session"]
	for _, key := range []string{" ", "\x00", "a.b.*.>", strings.Repeat("k", 512), strings.Repeat("🐎", 128), "\r\n"} {
		r.Key = key
		if err := r.Validate(decided); err != nil {
			t.Errorf("key %q: %v", key, err)
		}
	}
}

// Peers drop a revocation "from the future"; with clocks that differ it would
// then never apply.
func TestPeerBug08_StatementFromTheFutureIsKept(t *testing.T) {
	t.Parallel()
	r := statements()["future"]
	r.At = decided.Add(time.Hour)
	if err := r.Validate(decided); err != nil {
		t.Fatalf("validate: %v", err)
	}
	data, err := events.Encode(r)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	got, err := events.Decode(data)
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	if !got.Before.Equal(r.Before) || !got.At.Equal(r.At) {
		t.Errorf("instants: got before %v at %v, want %v and %v", got.Before, got.At, r.Before, r.At)
	}
}

func TestScopesHaveNames(t *testing.T) {
	t.Parallel()
	for i, want := range []string{"token", "session", "subject", "client", "key", "issuer"} {
		s := events.Scopes()[i]
		if s != events.Scope(i+1) || s.String() != want {
			t.Errorf("scope %d: got %d %q, want %q", i, s, s, want)
		}
		parsed, err := events.ParseScope(want)
		if err != nil || parsed != s {
			t.Errorf("parse %q: got %v, %v", want, parsed, err)
		}
		text, err := s.MarshalText()
		var back events.Scope
		if err != nil || back.UnmarshalText(text) != nil || back != s {
			t.Errorf("text of %v: got %q, %v, back %v", s, text, err, back)
		}
	}
	for _, bad := range []string{"", "Token", "tokens", "token ", "user", strings.Repeat("x", 1<<16)} {
		if _, err := events.ParseScope(bad); !errors.Is(err, events.ErrInvalid) || len(err.Error()) > 200 {
			t.Errorf("parse %.20q: got %v, want a short ErrInvalid", bad, err)
		}
	}
	if _, err := events.Scope(0).MarshalText(); !errors.Is(err, events.ErrInvalid) {
		t.Errorf("text of the zero scope: got %v, want ErrInvalid", err)
	}
}

func TestNewIDIsUniqueAndPrintable(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	r := statements()["token"]
	for range 10_000 {
		r.ID = events.NewID()
		if seen[r.ID] {
			t.Fatalf("ID %q came twice", r.ID)
		}
		seen[r.ID] = true
		if len(r.ID) != 26 {
			t.Fatalf("ID %q: got %d letters, want 26", r.ID, len(r.ID))
		}
	}
	if err := r.Validate(r.At); err != nil {
		t.Fatal(err)
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 10, 0, 0, 1, time.UTC)
	var zero events.Retention
	if got, want := zero.Total(), 62*time.Minute; got != want {
		t.Errorf("total: got %v, want %v", got, want)
	}
	if got, want := zero.Until(now), time.Date(2026, 11, 21, 11, 2, 1, 0, time.UTC); !got.Equal(want) {
		t.Errorf("until: got %v, want %v (rounded up)", got, want)
	}
	r := events.Retention{MaxTokenLife: time.Minute, Leeway: 10 * time.Second, Skew: 5 * time.Second}
	if got, want := r.UntilExpiry(now.Add(-1)), time.Date(2026, 11, 21, 10, 0, 15, 0, time.UTC); !got.Equal(want) {
		t.Errorf("until expiry: got %v, want %v", got, want)
	}
}
