package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
)

// streamCmd is "quash stream".
type streamCmd struct {
	Ensure streamEnsureCmd `cmd:"" help:"Create the stream, or check that the existing one is as asked. Never alters one."`
	Check  streamCheckCmd  `cmd:"" help:"Check the existing stream, field by field."`
}

// layoutFlags are what an operator chooses about the stream. Nil or empty: the
// default when creating, whatever is there when checking.
type layoutFlags struct {
	Replicas     *int           `placeholder:"N" help:"Replicas: 1 for one server, 3 in a cluster of three (default when created: 1)."`
	MaxBytes     *string        `placeholder:"SIZE" help:"Size beyond which publishers are refused, for example 512MiB; the server reserves it (default when created: 1GiB)."`
	MaxTokenLife *time.Duration `placeholder:"DURATION" help:"Longest life of an access token, at least 1m (default when created: 1h)."`
}

func (f *layoutFlags) layout() (events.Layout, error) {
	var l events.Layout
	if f.Replicas != nil {
		if err := checkReplicas(*f.Replicas); err != nil {
			return l, err
		}
		l.Replicas = *f.Replicas
	}
	if f.MaxTokenLife != nil {
		if *f.MaxTokenLife < time.Minute {
			return l, usagef("--max-token-life", "%v is below 1m: it is the longest life of any access token", *f.MaxTokenLife)
		}
		l.Retention.MaxTokenLife = *f.MaxTokenLife
	}
	if f.MaxBytes != nil {
		var err error
		if l.MaxBytes, err = byteSize("--max-bytes", *f.MaxBytes); err != nil {
			return l, err
		}
	}
	return l, nil
}

func checkReplicas(n int) error {
	if n < 1 || n > 5 {
		return usagef("--replicas", "%d is not from 1 to 5", n)
	}
	return nil
}

type streamEnsureCmd struct {
	layoutFlags `embed:""`
	natsFlags   `embed:""`
}

func (c *streamEnsureCmd) Run(p *program) error {
	want, err := c.layout()
	if err != nil {
		return err
	}
	return withJetStream(p, &c.natsFlags, func(ctx context.Context, js jetstream.JetStream) error {
		if _, err := events.EnsureStream(ctx, js, want); err != nil && !errors.As(err, new(*events.LayoutError)) {
			return storeHint(err)
		}
		if _, err := events.EnsureOnce(ctx, js, once(want)); err != nil && !errors.As(err, new(*events.LayoutError)) {
			return storeHint(err)
		}
		return compareLayouts(ctx, p, js, want)
	})
}

// once is what the flags mean for the stream of used one-time tokens: --max-bytes
// is about revocations.
func once(l events.Layout) events.Layout {
	l.MaxBytes = 0
	return l
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
		return compareLayouts(ctx, p, js, want)
	})
}

// compareLayouts prints what the two streams are, or every difference: from what
// quash needs, and from what the flags ask for.
func compareLayouts(ctx context.Context, p *program, js jetstream.JetStream, want events.Layout) error {
	got, err := events.CheckStream(ctx, js)
	first := compareLayout(p, events.StreamName, got, err, want)
	got, err = events.CheckOnce(ctx, js)
	second := compareLayout(p, events.OnceStream, got, err, once(want))
	if first != nil && second != nil {
		return fmt.Errorf("%w; %w", first, second)
	}
	return errors.Join(first, second)
}

func compareLayout(p *program, stream string, got events.Layout, err error, want events.Layout) error {
	fixed := (*events.LayoutError)(nil)
	if err != nil && !errors.As(err, &fixed) {
		return err
	}
	var all []events.Difference
	if fixed != nil {
		all = append(all, fixed.Differences...)
	}
	if want.Replicas != 0 && got.Replicas != want.Replicas {
		all = append(all, events.Difference{Field: "replicas", Got: strconv.Itoa(got.Replicas), Want: strconv.Itoa(want.Replicas)})
	}
	if want.MaxBytes != 0 && got.MaxBytes != want.MaxBytes {
		all = append(all, events.Difference{Field: "max_bytes", Got: strconv.FormatInt(got.MaxBytes, 10), Want: strconv.FormatInt(want.MaxBytes, 10)})
	}
	if asked := want.Retention.MaxTokenLife; got.Retention.MaxTokenLife < asked {
		all = append(all, events.Difference{Field: "quash_max_token_life", Got: got.Retention.MaxTokenLife.String(), Want: "at least " + asked.String()})
	}
	if len(all) == 0 {
		return printLayout(p, stream, got)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIELD\tGOT\tWANT")
	names := make([]string, len(all))
	for i, d := range all {
		names[i] = d.Field
		fmt.Fprintf(w, "%s\t%s\t%s\n", d.Field, d.Got, d.Want)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return fmt.Errorf("stream %s differs in %s, and quash never alters a stream: ask for what it has, or change it as the operator (nats stream edit %s; what that refuses needs a new stream, see deploy/README.md), then run quash stream check again",
		stream, strings.Join(names, ", "), stream)
}

// Error codes of the JetStream API that our own flags lead to.
const (
	codeNoPeers           = 10005 // fewer servers in the cluster than replicas
	codeNoResources       = 10023
	codeNoStorage         = 10047
	codeReplicasNoCluster = 10074
)

// storeHint names the flag behind a refusal of the server to make a stream or a
// bucket.
func storeHint(err error) error {
	api := (*jetstream.APIError)(nil)
	if !errors.As(err, &api) {
		return err
	}
	switch int(api.ErrorCode) {
	case codeNoPeers, codeReplicasNoCluster:
		return fmt.Errorf("%w: --replicas needs a cluster of at least as many NATS servers; for a single server leave it at 1", err)
	case codeNoResources, codeNoStorage:
		return fmt.Errorf("%w: NATS has not that much storage left: raise max_file_store of the server (quash up: free some of the disk), or make stream %s with a smaller --max-bytes", err, events.StreamName)
	}
	return err
}

func printLayout(p *program, stream string, l events.Layout) error {
	_, err := fmt.Fprintf(p.stdout, "stream %s is as it must be: replicas %d, max bytes %d, max token life %v, leeway %v, skew %v\n",
		stream, l.Replicas, l.MaxBytes, l.Retention.MaxTokenLife, l.Retention.Leeway, l.Retention.Skew)
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
	ctx, refusal := flags.permitted(ctx, conn)
	return refusal(f(ctx, js))
}
