package events

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Where everything is. These never change within a version.
const (
	StreamName     = "QUASH"
	SubjectRevoked = "quash.v1.session-revoked" // followed by "." and the scope
	SubjectBeacon  = "quash.v1.beacon"
	SubjectFleet   = "quash.v1.fleet" // a question to all nodes; never stored
	SubjectWhole   = "quash.v1.whole" // a question to those who keep a ledger; never stored
	LiveSubject    = "quash.live.>"   // where the stream republishes what it stored
)

const (
	subjectAllRevoked = SubjectRevoked + ".*"
	republishFrom     = "quash.v1.>"
	dedupWindow       = 2 * time.Minute

	metaLayout = "quash_layout"
	metaLife   = "quash_max_token_life"
	metaLeeway = "quash_leeway"
	metaSkew   = "quash_skew"
)

// Layout is what an operator chooses about the stream; the rest is fixed.
type Layout struct {
	Replicas  int       // 1 for one server, 3 for a cluster. Zero means 1
	MaxBytes  int64     // beyond it publishers are refused with ErrFull. Zero means 1 GiB
	Retention Retention // zero fields mean the defaults
}

func (l Layout) withDefaults() Layout {
	if l.Replicas == 0 {
		l.Replicas = 1
	}
	if l.MaxBytes == 0 {
		l.MaxBytes = 1 << 30
	}
	l.Retention = l.Retention.withDefaults()
	return l
}

func (l Layout) check() error {
	if l.Replicas < 0 || l.Replicas > 5 {
		return badField("replicas", "%d is not between 1 and 5", l.Replicas)
	}
	if l.MaxBytes < 0 {
		return badField("max_bytes", "%d is negative", l.MaxBytes)
	}
	return l.Retention.check()
}

// StreamConfig returns the configuration of the stream: an append-only log on
// disk that cleans itself by per-message TTL, refuses when full, cannot be
// purged or thinned out, and republishes whole messages to LiveSubject.
func (l Layout) StreamConfig() jetstream.StreamConfig {
	l = l.withDefaults()
	return jetstream.StreamConfig{
		Name:               StreamName,
		Description:        "quash: revocations that are alive, and beacons",
		Subjects:           []string{subjectAllRevoked, SubjectBeacon},
		Retention:          jetstream.LimitsPolicy,
		Storage:            jetstream.FileStorage,
		Discard:            jetstream.DiscardNew,
		Replicas:           l.Replicas,
		MaxBytes:           l.MaxBytes,
		MaxAge:             l.Retention.Total(),
		MaxMsgSize:         MaxEvent,
		MaxMsgs:            -1,
		MaxMsgsPerSubject:  -1,
		MaxConsumers:       -1,
		Duplicates:         dedupWindow,
		AllowMsgTTL:        true,
		AllowAtomicPublish: true,
		AllowDirect:        true,
		DenyDelete:         true,
		DenyPurge:          true,
		RePublish:          &jetstream.RePublish{Source: republishFrom, Destination: LiveSubject},
		Metadata: map[string]string{
			metaLayout: "1",
			metaLife:   l.Retention.MaxTokenLife.String(),
			metaLeeway: l.Retention.Leeway.String(),
			metaSkew:   l.Retention.Skew.String(),
		},
	}
}

// Difference is one field of the stream that is not as it must be.
type Difference struct {
	Field, Got, Want string
}

// LayoutError lists every field of an existing stream that differs. It wraps
// ErrLayout.
type LayoutError struct {
	Stream      string // its name; empty means StreamName
	Differences []Difference
}

func (e *LayoutError) Error() string {
	var b strings.Builder
	name := e.Stream
	if name == "" {
		name = StreamName
	}
	fmt.Fprintf(&b, "%v: stream %s differs:", ErrLayout, name)
	for i, d := range e.Differences {
		if i > 0 {
			b.WriteByte(';')
		}
		fmt.Fprintf(&b, " %s is %s, must be %s", d.Field, d.Got, d.Want)
	}
	b.WriteString(" (quash never alters a stream: an operator must)")
	return b.String()
}

func (e *LayoutError) Unwrap() error { return ErrLayout }

// fixed is what an operator has no choice of, the same for both streams.
func (d *differences) fixed(cfg, want jetstream.StreamConfig) {
	subjects := func(c jetstream.StreamConfig) string {
		return strings.Join(slices.Sorted(slices.Values(c.Subjects)), " ")
	}
	d.text("subjects", subjects(cfg), subjects(want))
	d.text("name", cfg.Name, want.Name)
	d.text("retention", cfg.Retention.String(), want.Retention.String())
	d.text("storage", cfg.Storage.String(), want.Storage.String())
	d.text("discard", cfg.Discard.String(), want.Discard.String())
	d.flag("discard_new_per_subject", cfg.DiscardNewPerSubject, want.DiscardNewPerSubject)
	d.flag("sealed", cfg.Sealed, false)
	d.flag("no_ack", cfg.NoAck, false)
	d.flag("mirror or sources", cfg.Mirror != nil || len(cfg.Sources) > 0, false)
	d.flag("subject_transform", cfg.SubjectTransform != nil, false)
	d.flag("allow_msg_ttl", cfg.AllowMsgTTL, true)
	d.flag("allow_direct", cfg.AllowDirect, want.AllowDirect)
	d.flag("deny_delete", cfg.DenyDelete, true)
	d.flag("deny_purge", cfg.DenyPurge, true)
	d.text("republish", republishText(cfg.RePublish), republishText(want.RePublish))
	d.limit("max_msgs", cfg.MaxMsgs)
	if cfg.MaxBytes <= 0 {
		d.add("max_bytes", "unlimited", "a limit, so that a full stream is an error and not a full disk")
	}
}

// LayoutOf reads the choices out of a stream's configuration and checks all that
// is fixed. The error is a *LayoutError that lists every difference.
func LayoutOf(cfg jetstream.StreamConfig) (Layout, error) {
	l := Layout{Replicas: cfg.Replicas, MaxBytes: cfg.MaxBytes}
	var d differences
	d.text("metadata "+metaLayout, cfg.Metadata[metaLayout], "1")
	l.Retention.MaxTokenLife = d.duration(cfg, metaLife)
	l.Retention.Leeway = d.duration(cfg, metaLeeway)
	l.Retention.Skew = d.duration(cfg, metaSkew)

	want := l.StreamConfig()
	d.fixed(cfg, want)
	d.flag("allow_atomic", cfg.AllowAtomicPublish, true)
	d.limit("max_msgs_per_subject", cfg.MaxMsgsPerSubject)
	d.number("max_msg_size", int64(cfg.MaxMsgSize), MaxEvent)
	d.text("duplicate_window", cfg.Duplicates.String(), want.Duplicates.String())
	if cfg.MaxAge != 0 && cfg.MaxAge < l.Retention.Total() {
		d.add("max_age", cfg.MaxAge.String(), "at least "+l.Retention.Total().String()+", else statements are forgotten while tokens live")
	}
	if len(d) > 0 {
		return l, &LayoutError{Differences: d}
	}
	return l, nil
}

func republishText(r *jetstream.RePublish) string {
	if r == nil {
		return "off"
	}
	text := r.Source + " -> " + r.Destination
	if r.HeadersOnly {
		text += " (headers only)"
	}
	return text
}

// differences collects what is not as it must be.
type differences []Difference

func (d *differences) add(field, got, want string) {
	if got == "" {
		got = "missing"
	}
	*d = append(*d, Difference{Field: field, Got: got, Want: want})
}

func (d *differences) text(field, got, want string) {
	if got != want {
		d.add(field, got, want)
	}
}

func (d *differences) flag(field string, got, want bool) {
	if got != want {
		d.add(field, fmt.Sprint(got), fmt.Sprint(want))
	}
}

func (d *differences) number(field string, got, want int64) {
	if got != want {
		d.add(field, fmt.Sprint(got), fmt.Sprint(want))
	}
}

// limit wants no limit at all: it would drop or refuse statements by number.
func (d *differences) limit(field string, got int64) {
	if got > 0 {
		d.add(field, fmt.Sprint(got), "unlimited")
	}
}

// duration reads a retention promise out of the stream's metadata.
func (d *differences) duration(cfg jetstream.StreamConfig, key string) time.Duration {
	text := cfg.Metadata[key]
	v, err := time.ParseDuration(text)
	if err != nil || v <= 0 {
		d.add("metadata "+key, text, "a duration such as 1h0m0s")
		return 0
	}
	return v
}
