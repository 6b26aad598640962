package events

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
)

// Where it is written that a one-time token was used.
const (
	OnceStream  = "QUASH_ONCE"
	SubjectOnce = "quash.v1.once" // followed by "." and the name of a token

	subjectAllOnce  = SubjectOnce + ".*"
	maxOnce         = 1 << 10
	defaultOnceSize = 128 << 20
	metaOnceLayout  = "quash_once_layout"
)

// OnceConfig returns the configuration of the stream that remembers which
// one-time tokens were used: one message for each, which nothing can replace,
// delete or purge while the token lives. It allows no direct get: a replica that
// lags would say that a token is unused, and since NATS lets whoever asks name any
// subject for the answer, a node could have what it wrote here, as it wrote it, put
// into the stream of revocations. Zero MaxBytes means
// 128 MiB, about 400,000 living tokens.
func (l Layout) OnceConfig() jetstream.StreamConfig {
	if l.MaxBytes == 0 {
		l.MaxBytes = defaultOnceSize
	}
	l = l.withDefaults()
	return jetstream.StreamConfig{
		Name:                 OnceStream,
		Description:          "quash: one-time tokens that were used",
		Subjects:             []string{subjectAllOnce},
		Retention:            jetstream.LimitsPolicy,
		Storage:              jetstream.FileStorage,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		Replicas:             l.Replicas,
		MaxBytes:             l.MaxBytes,
		MaxAge:               l.Retention.Total() + l.Retention.Leeway,
		MaxMsgSize:           maxOnce,
		MaxMsgs:              -1,
		MaxMsgsPerSubject:    1,
		MaxConsumers:         -1,
		Duplicates:           dedupWindow,
		AllowMsgTTL:          true,
		DenyDelete:           true,
		DenyPurge:            true,
		Metadata: map[string]string{
			metaOnceLayout: "1",
			metaLife:       l.Retention.MaxTokenLife.String(),
			metaLeeway:     l.Retention.Leeway.String(),
			metaSkew:       l.Retention.Skew.String(),
		},
	}
}

// OnceLayoutOf reads the choices out of the configuration of QUASH_ONCE and
// checks all that is fixed. The error is a *LayoutError that lists every
// difference.
func OnceLayoutOf(cfg jetstream.StreamConfig) (Layout, error) {
	l := Layout{Replicas: cfg.Replicas, MaxBytes: cfg.MaxBytes}
	var d differences
	d.text("metadata "+metaOnceLayout, cfg.Metadata[metaOnceLayout], "1")
	l.Retention.MaxTokenLife = d.duration(cfg, metaLife)
	l.Retention.Leeway = d.duration(cfg, metaLeeway)
	l.Retention.Skew = d.duration(cfg, metaSkew)

	want := l.OnceConfig()
	d.fixed(cfg, want)
	d.number("max_msgs_per_subject", cfg.MaxMsgsPerSubject, 1)
	d.flag("allow_rollup_hdrs", cfg.AllowRollup, false)
	if cfg.MaxMsgSize > 0 && cfg.MaxMsgSize < maxOnce {
		d.number("max_msg_size", int64(cfg.MaxMsgSize), maxOnce)
	}
	if cfg.MaxAge != 0 && cfg.MaxAge < want.MaxAge {
		d.add("max_age", cfg.MaxAge.String(), "at least "+want.MaxAge.String()+", else a used token is good again")
	}
	if len(d) > 0 {
		return l, &LayoutError{Stream: OnceStream, Differences: d}
	}
	return l, nil
}

// EnsureOnce creates the stream that remembers used one-time tokens, or checks
// the one that exists, as EnsureStream does for the stream of revocations.
func EnsureOnce(ctx context.Context, js jetstream.JetStream, l Layout) (jetstream.Stream, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	stream, err := openStream(ctx, js, l.OnceConfig())
	if err != nil {
		return nil, streamError("create or read", OnceStream, err)
	}
	got, err := OnceLayoutOf(stream.CachedInfo().Config)
	if err != nil {
		return nil, err
	}
	if d := l.compare(got); len(d) > 0 {
		return nil, &LayoutError{Stream: OnceStream, Differences: d}
	}
	return stream, nil
}

// CheckOnce reads the configuration of QUASH_ONCE and returns its layout.
// Errors: ErrLayout (missing, or every differing field), ErrUnavailable.
func CheckOnce(ctx context.Context, js jetstream.JetStream) (Layout, error) {
	info, err := onceInfo(ctx, js)
	if err != nil {
		return Layout{}, err
	}
	return OnceLayoutOf(info.Config)
}

func onceInfo(ctx context.Context, js jetstream.JetStream) (*jetstream.StreamInfo, error) {
	stream, err := js.Stream(ctx, OnceStream)
	if err != nil {
		return nil, streamError("read", OnceStream, err)
	}
	return stream.CachedInfo(), nil
}
