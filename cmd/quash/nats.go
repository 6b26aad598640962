package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
)

const (
	defaultNATSURL   = "nats://127.0.0.1:4222"
	defaultIssuerURL = "http://127.0.0.1:8080" // what quash up uses
)

// plainName is what may stand in a NATS subject as one word, and in a file's name.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// natsFlags are the usual ways to reach a NATS server, the same for every command.
type natsFlags struct {
	NATS       string `name:"nats" default:"${default_nats}" placeholder:"URL" help:"NATS server, or several separated by commas (${default})."`
	NATSUser   string `name:"nats-user" placeholder:"NAME" help:"NATS user."`
	NATSPass   string `name:"nats-password" placeholder:"PASSWORD" help:"Password of the NATS user; better given as $$QUASH_NATS_PASSWORD, which other users of this machine do not see."`
	NATSCreds  string `name:"nats-creds" placeholder:"FILE" help:"NATS credentials file (a JWT and its seed)."`
	NATSNKey   string `name:"nats-nkey" placeholder:"FILE" help:"File with a NATS nkey seed."`
	NATSCA     string `name:"nats-ca" placeholder:"FILE" help:"Certificate authority of the NATS server, PEM."`
	NATSCert   string `name:"nats-cert" placeholder:"FILE" help:"Client certificate for NATS, PEM."`
	NATSKey    string `name:"nats-key" placeholder:"FILE" help:"Key of the client certificate, PEM."`
	NATSInbox  string `name:"nats-inbox" placeholder:"PREFIX" help:"Prefix of reply subjects, if the server's permissions ask for one."`
	NATSReader string `name:"nats-reader" placeholder:"NAME" help:"Name of this node's reader on the NATS server, if the server's permissions ask for one; one for each node (default: random)."`

	prefix string // of the flags' names, in messages
}

func (f *natsFlags) config(name string, log *slog.Logger) events.ConnectConfig {
	return events.ConnectConfig{
		URL:         f.NATS,
		Name:        name,
		User:        f.NATSUser,
		Password:    f.NATSPass,
		CredsFile:   f.NATSCreds,
		NKeyFile:    f.NATSNKey,
		CAFile:      f.NATSCA,
		CertFile:    f.NATSCert,
		KeyFile:     f.NATSKey,
		InboxPrefix: f.NATSInbox,
		Logger:      log,
	}
}

// connect gives a connection that keeps trying for ever: for programs that must
// run whether or not NATS is there.
func (f *natsFlags) connect(name string, log *slog.Logger) (*nats.Conn, error) {
	if f.NATSReader != "" && !plainName.MatchString(f.NATSReader) {
		return nil, usagef("--nats-reader", "%s is not 1 to 64 letters, digits, - and _", printable(f.NATSReader))
	}
	nc, err := events.Connect(f.config(name, log))
	if err != nil {
		// Everything that can fail here is configuration: reaching the server is not
		// part of it.
		return nil, f.wrong(err)
	}
	return nc, nil
}

// wrong names the flag that a field of the connection's configuration came from.
func (f *natsFlags) wrong(err error) error {
	field := (*events.FieldError)(nil)
	if !errors.As(err, &field) {
		return &usageError{problem: fmt.Sprintf("NATS at %s refuses the connection (check the --nats flags): %v", f.redacted(), err)}
	}
	flag := "--" + f.prefix + "nats-" + field.Field
	switch field.Field {
	case "url":
		flag = "--" + f.prefix + "nats"
	case "inbox_prefix":
		flag = "--" + f.prefix + "nats-inbox"
	}
	text := strings.TrimPrefix(err.Error(), "connect to NATS: ")
	return usagef(flag, "%s", strings.Replace(text, fmt.Sprintf("%v: %s: ", events.ErrInvalid, field.Field), "", 1))
}

// standPatience is how long a NATS server that has greeted may take to let somebody in. One that refuses says so at once.
const standPatience = 10 * time.Second

// connectNow gives a connection that stands, or an error within a few seconds:
// for commands that do one thing and end.
func (f *natsFlags) connectNow(ctx context.Context, name string, log *slog.Logger) (*nats.Conn, error) {
	if err := f.config(name, log).Validate(); err != nil {
		return nil, f.wrong(err)
	}
	if err := f.probe(ctx); err != nil {
		return nil, err
	}
	nc, err := f.connect(name, log)
	if err != nil {
		return nil, err
	}
	if err := waitConnected(ctx, nc, standPatience); err != nil {
		nc.Close()
		return nil, fmt.Errorf("NATS at %s does not let us in (%w): check --nats, its credentials and its certificates", f.redacted(), err)
	}
	return nc, nil
}

// permitted gives a context that ends as soon as the server says that this user
// may not do something: it answers such a request with nothing else. refusal then
// turns the error of what was attempted into that sentence.
func (f *natsFlags) permitted(ctx context.Context, nc *nats.Conn) (limited context.Context, refusal func(error) error) {
	ctx, end := context.WithCancelCause(ctx)
	nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) {
			end(&notAllowedError{user: f.NATSUser, err: err})
		}
	})
	return ctx, func(err error) error {
		denied := (*notAllowedError)(nil)
		if errors.As(context.Cause(ctx), &denied) {
			err = denied
		}
		end(nil)
		return err
	}
}

// notAllowedError is a permission that the NATS user lacks.
type notAllowedError struct {
	user string
	err  error
}

func (e *notAllowedError) Error() string {
	who := "this NATS user"
	if e.user != "" {
		who = "the NATS user " + printable(e.user)
	}
	text := e.err.Error()
	if _, what, ok := strings.Cut(text, "Violation for "); ok {
		text = what
	}
	return fmt.Sprintf("%s may not do this (%s): use another with the --nats flags, or widen its permissions", who, text)
}

func (e *notAllowedError) Unwrap() error { return e.err }

// redacted is the server list without passwords.
func (f *natsFlags) redacted() string {
	var out []string
	for _, raw := range strings.Split(f.NATS, ",") {
		if u, err := url.Parse(strings.TrimSpace(raw)); err == nil && u.User != nil {
			u.User = url.User("…")
			raw = strings.Replace(u.String(), url.PathEscape("…"), "…", 1)
		}
		out = append(out, strings.TrimSpace(raw))
	}
	return strings.Join(out, ",")
}

// waitConnected waits until the connection stands.
func waitConnected(ctx context.Context, nc *nats.Conn, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	changes := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	for {
		switch nc.Status() {
		case nats.CONNECTED:
			return nil
		case nats.CLOSED:
			return closedReason(nc)
		}
		select {
		case <-changes:
		case <-ctx.Done():
			if err := nc.LastError(); err != nil {
				return err
			}
			return ctx.Err()
		}
	}
}

func closedReason(nc *nats.Conn) error {
	if err := nc.LastError(); err != nil {
		return err
	}
	return errors.New("connection closed")
}
