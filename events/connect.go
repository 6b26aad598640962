package events

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
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
	CAFile      string       // PEM certificates to trust instead of the system's
	CertFile    string       // client certificate, with KeyFile
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
// certificates that are refused. While
// disconnected nothing is buffered; publishing fails immediately.
//
// The caller closes the connection. It wraps ErrInvalid for a field that is
// wrong and ErrUnavailable when a server refuses.
func Connect(c ConnectConfig) (*nats.Conn, error) {
	opts, err := c.options()
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	address := c.URL
	if address == "" {
		address = nats.DefaultURL
	}
	nc, err := nats.Connect(address, opts...)
	if err != nil && !refused(err) {
		// Not there yet: try again in the background, for ever.
		nc, err = nats.Connect(address, append(opts, nats.RetryOnFailedConnect(true))...)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w: the server does not accept us, check the credentials and the certificates: %w", ErrUnavailable, err)
	}
	return nc, nil
}

// Validate looks at the configuration and at the files it names, and asks no
// server. The error is a *FieldError.
func (c ConnectConfig) Validate() error {
	_, err := c.options()
	return err
}

// refused reports whether a server was reached that will not have us, or is not
// the one we trust: waiting does not mend that.
func refused(err error) bool {
	var certificate *tls.CertificateVerificationError
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) ||
		errors.Is(err, nats.ErrAccountAuthExpired) || errors.Is(err, nats.ErrSecureConnRequired) || errors.Is(err, nats.ErrSecureConnWanted) ||
		errors.Is(err, nats.ErrNkeysNotSupported) || errors.As(err, &certificate)
}

func (c ConnectConfig) options() ([]nats.Option, error) {
	if err := checkURLs(c.URL); err != nil {
		return nil, err
	}
	log := c.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	opts := []nats.Option{
		nats.Timeout(connectTimeout),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.ReconnectBufSize(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("connection to NATS lost", "err", err)
			}
		}),
		nats.ConnectHandler(func(nc *nats.Conn) {
			log.Debug("connected to NATS", "url", nc.ConnectedUrlRedacted())
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("connected to NATS again", "url", nc.ConnectedUrlRedacted())
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			log.Debug("NATS not reached yet", "err", err)
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Error("NATS reports an error", "err", err, "subject", subject)
		}),
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

// credentials adds what proves who we are. Files are looked at now, so that a
// mistake is reported by field and not as a failed handshake later.
func (c ConnectConfig) credentials(opts []nats.Option) ([]nats.Option, error) {
	for _, f := range [...]struct{ field, path string }{
		{"creds", c.CredsFile}, {"nkey", c.NKeyFile}, {"ca", c.CAFile}, {"cert", c.CertFile}, {"key", c.KeyFile},
	} {
		if f.path == "" {
			continue
		}
		if err := readable(f.path); err != nil {
			return nil, fmt.Errorf("%w: %w", badField(f.field, "the file cannot be read"), err)
		}
	}
	switch {
	case (c.CertFile == "") != (c.KeyFile == ""):
		return nil, badField("cert", "a client certificate needs both the certificate and its key file")
	case c.CredsFile != "" && c.NKeyFile != "":
		return nil, badField("creds", "give either credentials or an nkey, not both")
	case c.User == "" && c.Password != "":
		return nil, badField("user", "a password was given without a user")
	case c.User != "" && (c.CredsFile != "" || c.NKeyFile != ""):
		return nil, badField("user", "give either a user, credentials or an nkey")
	case c.User != "" && c.Password == "":
		return nil, badField("password", "a user was given without a password")
	}
	if c.CredsFile != "" {
		opt := nats.UserCredentials(c.CredsFile)
		err := tryOption(opt, func(o *nats.Options) error {
			if _, err := o.UserJWT(); err != nil {
				return err
			}
			_, err := o.SignatureCB([]byte("nonce"))
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", badField("creds", "%s holds no user JWT with its seed", c.CredsFile), err)
		}
		opts = append(opts, opt)
	}
	if c.NKeyFile != "" {
		nkey, err := nats.NkeyOptionFromSeed(c.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", badField("nkey", "%s holds no nkey seed", c.NKeyFile), err)
		}
		opts = append(opts, nkey)
	}
	if c.User != "" {
		opts = append(opts, nats.UserInfo(c.User, c.Password))
	}
	if c.CAFile != "" {
		opt := nats.RootCAs(c.CAFile)
		err := tryOption(opt, func(o *nats.Options) error { _, err := o.RootCAsCB(); return err })
		if err != nil {
			return nil, fmt.Errorf("%w: %w", badField("ca", "%s holds no PEM certificate", c.CAFile), err)
		}
		opts = append(opts, opt)
	}
	if c.CertFile != "" {
		opt := nats.ClientCert(c.CertFile, c.KeyFile)
		err := tryOption(opt, func(o *nats.Options) error { _, err := o.TLSCertCB(); return err })
		if err != nil {
			return nil, fmt.Errorf("%w: %w", badField("cert", "%s and %s are no certificate with its key", c.CertFile, c.KeyFile), err)
		}
		opts = append(opts, opt)
	}
	return opts, nil
}

// tryOption reads with what the client library reads with once it has reached a
// server, which may never happen.
func tryOption(opt nats.Option, read func(*nats.Options) error) error {
	o := nats.GetDefaultOptions()
	if err := opt(&o); err != nil {
		return err
	}
	return read(&o)
}

func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	_ = f.Close() // only read
	if err != nil {
		return err
	}
	if info.IsDir() {
		return errors.New(path + " is a directory")
	}
	return nil
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
