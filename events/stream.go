package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// EnsureStream creates the stream, or checks the one that exists. It never
// alters an existing stream. Zero fields of l accept what an existing stream
// has; a retention that is given is a minimum, replicas and bytes that are given
// must match. Errors: ErrInvalid (l itself), ErrLayout, ErrUnavailable.
func EnsureStream(ctx context.Context, js jetstream.JetStream, l Layout) (jetstream.Stream, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	stream, err := openStream(ctx, js, l.StreamConfig())
	if err != nil {
		return nil, streamError("create or read", StreamName, err)
	}
	got, err := LayoutOf(stream.CachedInfo().Config)
	if err != nil {
		return nil, err
	}
	if d := l.compare(got); len(d) > 0 {
		return nil, &LayoutError{Differences: d}
	}
	return stream, nil
}

// openStream returns the stream of this name, and creates it if there is none. Where one was deleted an instant ago the server may
// still be clearing its directory, and then cannot make the next one's: it is asked for a second.
func openStream(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	for attempt := 1; ; attempt++ {
		stream, err := js.Stream(ctx, cfg.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			stream, err = js.CreateStream(ctx, cfg)
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
				stream, err = js.Stream(ctx, cfg.Name) // somebody else was faster
			}
		}
		var api *jetstream.APIError
		if attempt == 10 || !errors.As(err, &api) || api.ErrorCode != codeCreateFailed {
			return stream, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// compare lists what was asked for in l and is not so in got.
func (l Layout) compare(got Layout) differences {
	var d differences
	if l.Replicas != 0 {
		d.number("replicas", int64(got.Replicas), int64(l.Replicas))
	}
	if l.MaxBytes != 0 {
		d.number("max_bytes", got.MaxBytes, l.MaxBytes)
	}
	return append(d, l.Retention.compare(got.Retention)...)
}

// compare lists what got promises less of than r asks for. Zero fields of r ask
// for nothing.
func (r Retention) compare(got Retention) differences {
	var d differences
	if got.MaxTokenLife < r.MaxTokenLife {
		d.add("metadata "+metaLife, got.MaxTokenLife.String(), "at least "+r.MaxTokenLife.String()+", else tokens outlive the statements about them")
	}
	if got.Leeway < r.Leeway {
		d.add("metadata "+metaLeeway, got.Leeway.String(), "at least "+r.Leeway.String())
	}
	if got.Skew < r.Skew {
		d.add("metadata "+metaSkew, got.Skew.String(), "at least "+r.Skew.String())
	}
	return d
}

// CheckStream reads the stream's configuration and returns its layout. Errors:
// ErrLayout (missing, or every differing field), ErrUnavailable.
func CheckStream(ctx context.Context, js jetstream.JetStream) (Layout, error) {
	cfg, err := streamConfig(ctx, js)
	if err != nil {
		return Layout{}, err
	}
	return LayoutOf(cfg)
}

func streamConfig(ctx context.Context, js jetstream.JetStream) (jetstream.StreamConfig, error) {
	stream, err := js.Stream(ctx, StreamName)
	if err != nil {
		return jetstream.StreamConfig{}, streamError("read", StreamName, err)
	}
	return stream.CachedInfo().Config, nil
}

// streamError puts an error of the JetStream API under our sentinels.
func streamError(doing, stream string, err error) error {
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("%w: the stream %s does not exist: run `quash stream ensure`", ErrLayout, stream)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w: %s stream %s: JetStream is off for this server or account, enable it: %w", ErrUnavailable, doing, stream, err)
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%w: %s stream %s: no JetStream answers, check that the server runs with JetStream enabled: %w", ErrUnavailable, doing, stream, err)
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch {
		case fullCode(api):
			return fmt.Errorf("%w: %s stream %s: the server has no room, raise its JetStream limits: %w", ErrFull, doing, stream, err)
		case api.ErrorCode == codeCreateFailed:
			return fmt.Errorf("%w: %s stream %s: the server cannot write its files, look at its disk and its log: %w", ErrUnavailable, doing, stream, err)
		}
	}
	return fmt.Errorf("%w: %s stream %s (connected, and allowed to?): %w", ErrUnavailable, doing, stream, err)
}
