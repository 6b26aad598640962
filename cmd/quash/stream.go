package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
)

// streamCmd is "quash stream".
type streamCmd struct {
	Ensure streamEnsureCmd `cmd:"" help:"Create the stream, or check that the existing one is as asked. Never alters one."`
	Check  streamCheckCmd  `cmd:"" help:"Check the existing stream, field by field."`
}

// layoutFlags are what an operator chooses about the stream. Empty means: the
// default when creating, whatever is there when checking.
type layoutFlags struct {
	Replicas     int           `placeholder:"N" help:"Replicas: 1 for one server, 3 for a cluster (default when created: 1)."`
	MaxBytes     string        `placeholder:"SIZE" help:"Size beyond which publishers are refused, for example 512MiB (default when created: 1GiB)."`
	MaxTokenLife time.Duration `placeholder:"DURATION" help:"Longest life of an access token (default when created: 1h)."`
}

func (f *layoutFlags) layout() (events.Layout, error) {
	l := events.Layout{Replicas: f.Replicas, Retention: events.Retention{MaxTokenLife: f.MaxTokenLife}}
	switch {
	case f.Replicas < 0 || f.Replicas > 5:
		return l, usagef("--replicas", "%d is not from 1 to 5", f.Replicas)
	case f.MaxTokenLife < 0:
		return l, usagef("--max-token-life", "%v is negative", f.MaxTokenLife)
	case f.MaxBytes == "":
		return l, nil
	}
	var err error
	l.MaxBytes, err = byteSize("--max-bytes", f.MaxBytes)
	return l, err
}

type streamEnsureCmd struct {
	layoutFlags `embed:""`
	natsFlags   `embed:""`
}

func (c *streamEnsureCmd) Run(p *program) error {
	l, err := c.layout()
	if err != nil {
		return err
	}
	return withJetStream(p, &c.natsFlags, func(ctx context.Context, js jetstream.JetStream) error {
		if _, err := events.EnsureStream(ctx, js, l); err != nil {
			return err
		}
		got, err := events.CheckStream(ctx, js)
		if err != nil {
			return err
		}
		return printLayout(p, got)
	})
}

type streamCheckCmd struct {
	layoutFlags `embed:""`
	natsFlags   `embed:""`
}

func (c *streamCheckCmd) Run(p *program) error {
	want, err := c.layout()
	if err != nil {
		return err
	}
	return withJetStream(p, &c.natsFlags, func(ctx context.Context, js jetstream.JetStream) error {
		got, err := events.CheckStream(ctx, js)
		if err != nil {
			return err
		}
		switch {
		case want.Replicas != 0 && got.Replicas != want.Replicas:
			return fmt.Errorf("the stream has %d replicas, --replicas asks for %d", got.Replicas, want.Replicas)
		case want.MaxBytes != 0 && got.MaxBytes != want.MaxBytes:
			return fmt.Errorf("the stream holds %d bytes, --max-bytes asks for %d", got.MaxBytes, want.MaxBytes)
		case got.Retention.MaxTokenLife < want.Retention.MaxTokenLife:
			return fmt.Errorf("the stream was made for tokens that live %v, --max-token-life asks for %v", got.Retention.MaxTokenLife, want.Retention.MaxTokenLife)
		}
		return printLayout(p, got)
	})
}

func printLayout(p *program, l events.Layout) error {
	_, err := fmt.Fprintf(p.stdout, "stream %s is as it must be: replicas %d, max bytes %d, max token life %v, leeway %v, skew %v\n",
		events.StreamName, l.Replicas, l.MaxBytes, l.Retention.MaxTokenLife, l.Retention.Leeway, l.Retention.Skew)
	return err
}

// withJetStream runs f over a connection that stands.
func withJetStream(p *program, flags *natsFlags, f func(context.Context, jetstream.JetStream) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	conn, err := flags.connectNow(ctx, "quash-stream", p.logger("error"))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return fmt.Errorf("opening JetStream: %w", err)
	}
	return f(ctx, js)
}
