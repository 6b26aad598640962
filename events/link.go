package events

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// link looks after one connection that comes and goes: it says why it does not come
// back, and has each attempt use the nkey that is in the seed's file by then. The client
// library itself reads certificates and credentials files again.
type link struct {
	log  *slog.Logger
	seed string                    // file; empty: no nkey
	conn atomic.Pointer[nats.Conn] // nil until Connect returns

	mu   sync.Mutex // guards what follows
	said string     // the reason that was logged
	at   time.Time  // when
}

// sayAgain is how often a lasting reason is repeated.
const sayAgain = time.Minute

func (l *link) options() []nats.Option {
	opts := []nats.Option{
		nats.CustomReconnectDelay(l.delay),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				l.log.Warn("connection to NATS lost", "err", err)
			}
		}),
		nats.ConnectHandler(func(nc *nats.Conn) {
			l.back()
			l.log.Debug("connected to NATS", "url", nc.ConnectedUrlRedacted())
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			l.back()
			l.log.Info("connected to NATS again", "url", nc.ConnectedUrlRedacted())
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			l.log.Debug("NATS not reached yet", "err", err)
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if advice(err) != "" {
				l.failed(err)
				return
			}
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			l.log.Error("NATS reports an error", "err", err, "subject", subject)
		}),
	}
	if l.seed != "" {
		opts = append(opts, nats.ReconnectToServer(l.renew))
	}
	return opts
}

// delay is called between attempts. A failed handshake is reported to nobody else.
func (l *link) delay(attempts int) time.Duration {
	if nc := l.conn.Load(); nc != nil {
		if err := nc.LastError(); err != nil {
			l.failed(err)
		}
	}
	return reconnectDelay(attempts)
}

// failed logs a reason when it is new, and now and then.
func (l *link) failed(err error) {
	text := advice(err)
	if text == "" {
		text = err.Error()
	}
	now := time.Now()
	l.mu.Lock()
	silent := l.said == text && now.Sub(l.at) < sayAgain
	if !silent {
		l.said, l.at = text, now
	}
	l.mu.Unlock()
	if !silent {
		l.log.Warn("NATS does not let us in; retrying", "err", explained(err))
	}
}

func (l *link) back() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = ""
}

// renew puts the public key of the seed that is in the file now into the connection's
// options. The library calls it before each attempt, on the goroutine that will use
// them and under the lock that guards them; nil leaves the choice of server to it.
func (l *link) renew([]nats.Server, nats.ServerInfo) (*nats.Server, time.Duration) {
	nc := l.conn.Load()
	if nc == nil {
		return nil, 0
	}
	if public, err := nkeyOf(l.seed); err == nil { // else signing fails, which says so
		nc.Opts.Nkey = public
	}
	return nil, 0
}

// nkeyOf is the public key of a seed's file.
func nkeyOf(seed string) (string, error) {
	opt, err := nats.NkeyOptionFromSeed(seed)
	if err != nil {
		return "", err
	}
	var o nats.Options
	if err := opt(&o); err != nil {
		return "", err
	}
	return o.Nkey, nil
}

// disconnected is why a connection is not up.
func disconnected(nc *nats.Conn) error {
	if err := nc.LastError(); advice(err) != "" {
		return explained(err)
	}
	return fmt.Errorf("no NATS server answers at %s; retrying", strings.Join(nc.Servers(), ", "))
}
