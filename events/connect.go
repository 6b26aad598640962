package events

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// ConnectConfig says how to reach NATS. All fields are optional.
type ConnectConfig struct {
	URL         string // one or more, separated by commas. Empty means nats://127.0.0.1:4222
	Name        string // shown in the server's connection list
	CredsFile   string // user credentials (JWT and nkey seed)
	NKeyFile    string // nkey seed
	User        string
	Password    string
	CAFile      string       // PEM certificates to trust instead of the system's; demands TLS
	CertFile    string       // client certificate, with KeyFile; demands TLS
	KeyFile     string       // private key of CertFile
	InboxPrefix string       // where answers to this client's requests go. Empty means _INBOX
	Logger      *slog.Logger // told about lost and regained connections. Nil discards
}

const (
	connectTimeout = 2 * time.Second
	pingInterval   = 2 * time.Second // two unanswered ones make a link dead
	reconnectFirst = 100 * time.Millisecond
	reconnectMost  = time.Second
)

// Connect opens a connection that is never given up: it reconnects for ever,
// with short random waits, and notices a dead link within about 6 s. A server
// that cannot be reached yet is not an error: the connection is returned and
// comes up by itself. Wrong configuration is an error, and so are credentials or
// certificates that are refused now; once connected, a refusal is logged and tried
// again. While disconnected nothing is buffered; publishing fails immediately.
//
// The files are read again at each attempt: replaced by new ones (in one step, by
// renaming), they are used from the next reconnect on. Replacing them does not end a
// connection that stands.
//
// A tls:// URL, a CA or a client certificate demands TLS, of every server and at every
// reconnect: without it nothing is sent. With a nats:// URL and none of them the server
// decides, so somebody on the way can have a password sent in clear.
//
// The caller closes the connection. It wraps ErrInvalid for a field that is
// wrong and ErrUnavailable when a server refuses.
func Connect(c ConnectConfig) (*nats.Conn, error) {
	opts, err := c.options()
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	l := &link{log: c.Logger, seed: c.NKeyFile}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	address := c.URL
	if address == "" {
		address = nats.DefaultURL
	}
	nc, err := dial(address, append(opts, l.options()...))
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w: %w", ErrUnavailable, explained(err))
	}
	l.conn.Store(nc)
	return nc, nil
}

// dial fails if a server refuses, and else comes back with a connection that stands or
// that is tried for in the background, for ever.
func dial(address string, opts []nats.Option) (*nats.Conn, error) {
	for try := 1; ; try++ {
		nc, err := nats.Connect(address, opts...)
		switch {
		case err == nil:
			return nc, nil
		case !refused(err):
			return nats.Connect(address, append(opts, nats.RetryOnFailedConnect(true))...)
		case !errors.Is(err, nats.ErrTLS) || try == 3:
			return nil, err
		}
		// A server that is going away ends handshakes, too: ask again before that
		// counts as an answer.
		time.Sleep(reconnectFirst)
	}
}

// Validate looks at the configuration and at the files it names, and asks no
// server. The error is a *FieldError.
func (c ConnectConfig) Validate() error {
	_, err := c.options()
	return err
}

func (c ConnectConfig) options() ([]nats.Option, error) {
	if err := checkURLs(c.URL); err != nil {
		return nil, err
	}
	opts := []nats.Option{
		nats.Timeout(connectTimeout),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
		nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1),
		nats.IgnoreAuthErrorAbort(),
	}
	if c.Name != "" {
		opts = append(opts, nats.Name(c.Name))
	}
	if c.InboxPrefix != "" {
		if strings.ContainsAny(c.InboxPrefix, " \t\r\n*>") || strings.HasSuffix(c.InboxPrefix, ".") || strings.HasPrefix(c.InboxPrefix, ".") {
			return nil, badField("inbox_prefix", "%q is not a plain NATS subject", c.InboxPrefix)
		}
		opts = append(opts, nats.CustomInboxPrefix(c.InboxPrefix))
	}
	return c.credentials(opts)
}

func checkURLs(list string) error {
	if list == "" {
		return nil
	}
	for address := range strings.SplitSeq(list, ",") {
		address = strings.TrimSpace(address)
		if address == "" {
			return badField("url", "an address in the list is empty")
		}
		if !strings.Contains(address, "://") {
			address = "nats://" + address
		}
		u, err := url.Parse(address)
		if err != nil {
			return badField("url", "not a URL such as nats://127.0.0.1:4222") // the text may hold a password
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return badField("url", "scheme %q is none of nats, tls, ws, wss", u.Scheme)
		}
		if u.Hostname() == "" {
			return badField("url", "%q names no host", u.Redacted())
		}
		if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" { // a password may have been cut off here
			return badField("url", "something follows the host and the port: write /, ? and # in a password as %%2F, %%3F and %%23")
		}
	}
	return nil
}

// reconnectDelay spreads a fleet that lost the same server.
func reconnectDelay(attempts int) time.Duration {
	most := reconnectMost
	if attempts < 4 {
		most = reconnectFirst << max(attempts, 0)
	}
	return most/2 + rand.N(most/2)
}
