package issuer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quash-auth/quash/events"
)

// registrar keeps the clients as their file says, and ends the tokens of those that were disabled or taken out.
type registrar struct {
	wake chan struct{} // one slot: look at the file now

	mu     sync.Mutex // guards what follows, and one load or settle at a time
	digest [sha256.Size]byte
	gone   map[string]*departure
	dirty  bool // the records were not compared with the file since it changed

	problem atomic.Pointer[string] // of the last read; nil: none
}

// departure is a client that could get tokens here and no longer can.
type departure struct {
	reason string
	issued *atomic.Int64
}

const clientsEvery = 2 * time.Second

// loadClients reads the file; if it cannot be used the old clients stay, if there are any.
func (i *Issuer) loadClients() error {
	if i.cfg.ClientsFile == "" {
		return nil
	}
	err := i.readClients()
	if err == nil {
		if i.registrar.problem.Swap(nil) != nil {
			i.log.Info("the clients file is good again", "file", i.cfg.ClientsFile)
		}
		return nil
	}
	err = fmt.Errorf("%w: ClientsFile: %s: %w", ErrConfig, i.cfg.ClientsFile, err)
	text := err.Error()
	was := i.registrar.problem.Swap(&text)
	if started := i.registrar.digest != [sha256.Size]byte{}; started && (was == nil || *was != text) {
		i.log.Error("the clients file cannot be used, the clients stay as they were; mend it", "error", err)
	}
	return err
}

func (i *Issuer) readClients() error {
	text, err := readClientsFile(i.cfg.ClientsFile)
	if err != nil {
		return err
	}
	digest, was := sha256.Sum256(text), i.clients.Load()
	if digest == i.registrar.digest {
		return nil
	}
	clients, err := parseClients(text)
	if err != nil {
		return err
	}
	now := newRegistry(mergeClients(i.cfg.Clients, clients), was)
	for id, e := range was.byID {
		if !was.usable(id) || now.usable(id) {
			continue
		}
		reason := "client removed"
		if now.byID[id] != nil {
			reason = "client disabled"
		}
		i.registrar.gone[id] = &departure{reason, e.issued}
	}
	first := i.registrar.digest == [sha256.Size]byte{}
	i.clients.Store(now)
	i.registrar.digest, i.registrar.dirty = digest, true
	if !first {
		i.log.Info("clients loaded", "file", i.cfg.ClientsFile, "clients", len(now.byID))
	}
	return nil
}

// mergeClients: a client of the file takes the place of the configured one with its ID.
func mergeClients(configured, file []Client) []Client {
	out := slices.Clone(configured)
	for _, c := range file {
		if n := slices.IndexFunc(configured, func(o Client) bool { return o.ID == c.ID }); n >= 0 {
			out[n] = c
		} else {
			out = append(out, c)
		}
	}
	return out
}

// Reload reads Config.ClientsFile now instead of at the next look, and publishes what follows from it. nil means that
// this replica serves the clients of the file and that the tokens of those that were disabled or taken out are revoked.
// Errors: ErrConfig (the file is unusable and the old clients stay), ErrUnavailable (Run tries again).
func (i *Issuer) Reload(ctx context.Context) error {
	i.registrar.mu.Lock()
	defer i.registrar.mu.Unlock()
	if err := i.loadClients(); err != nil {
		return err
	}
	return i.settleClients(ctx)
}

// watchClients looks at the file again and again until ctx ends.
func (i *Issuer) watchClients(ctx context.Context) {
	if i.cfg.ClientsFile == "" {
		return
	}
	i.every(ctx, clientsEvery, "follow the clients file", i.registrar.wake, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
		defer cancel()
		if err := i.Reload(ctx); !errors.Is(err, ErrConfig) { // that was logged
			return err
		}
		return nil
	})
}

// clientRecord says what all replicas together did about a client: On while it may get tokens; else the statement that
// ended it, Open until that is known to be published.
type clientRecord struct {
	On        bool   `json:"on"`
	Statement string `json:"statement,omitempty"`
	Open      bool   `json:"open,omitempty"`
	Before    int64  `json:"before,omitempty"` // of the statement, fixed before it is published: whoever finishes it says the same

	revision uint64
}

func clientKey(id string) string { return "k." + base64.RawURLEncoding.EncodeToString([]byte(id)) }

func decodeClient(r record) (clientRecord, error) {
	c := clientRecord{revision: r.revision}
	if !r.exists() {
		return c, nil
	}
	err := r.decode(kindClient, field{name: "on", into: &c.On}, field{"statement", &c.Statement, true},
		field{"open", &c.Open, true}, field{"before", &c.Before, true})
	return c, err
}

func (i *Issuer) writeClient(ctx context.Context, id string, c *clientRecord) error {
	value, err := encodeRecord(kindClient, clientKey(id), c)
	if err != nil {
		return err
	}
	c.revision, err = i.store.put(ctx, write{key: clientKey(id), value: value, revision: c.revision})
	return err
}

// settleClients compares the records with the clients once after each change. What this replica saw leave it ends; what
// left while it was not running it learns from the records.
func (i *Issuer) settleClients(ctx context.Context) error {
	if !i.registrar.dirty {
		return nil
	}
	clients := i.clients.Load()
	on := map[string]bool{} // by the records
	var bad error
	err := i.store.each(ctx, "k.*", func(r record) bool {
		id, err := base64.RawURLEncoding.DecodeString(r.key[len("k."):])
		if err != nil {
			return true // no client's
		}
		c, err := decodeClient(r)
		if err != nil {
			bad = err
			return false
		}
		if on[string(id)] = c.On; !clients.usable(string(id)) && (c.On || c.Open) && i.registrar.gone[string(id)] == nil {
			i.registrar.gone[string(id)] = &departure{"client disabled or removed", new(atomic.Int64)}
		}
		return true
	})
	if err = errors.Join(err, bad); err != nil {
		return err
	}
	for id, d := range i.registrar.gone {
		if err := i.endClient(ctx, id, d); err != nil {
			return err
		}
		on[id] = false
		delete(i.registrar.gone, id)
	}
	for id := range clients.byID {
		if clients.usable(id) && !on[id] {
			if err := i.beginClient(ctx, id); err != nil {
				return err
			}
		}
	}
	i.registrar.dirty = false
	return nil
}

// endClient publishes once, however many replicas see the client leave: the first one decides the statement's ID, and one
// more statement follows only if this replica gave out tokens that the first does not cover.
func (i *Issuer) endClient(ctx context.Context, id string, d *departure) error {
	for range maxRounds {
		r, err := i.store.get(ctx, clientKey(id))
		if err != nil {
			return err
		}
		c, err := decodeClient(r)
		if err != nil {
			return err
		}
		if !c.Open {
			if c.Statement != "" && !c.On && d.issued.Load() <= c.Before {
				return nil
			}
			c.On, c.Open, c.Statement, c.Before = false, true, events.NewID(), i.cfg.Now().Unix()
			if err = i.writeClient(ctx, id, &c); errors.Is(err, ErrConflict) {
				continue
			}
			if err != nil {
				return err
			}
		}
		if err := i.step("client"); err != nil {
			return err
		}
		_, err = i.Revoke(ctx, events.Revocation{ID: c.Statement, Scope: events.Client, Key: id, Before: time.Unix(c.Before, 0),
			By: "policy", Reason: d.reason})
		if err != nil {
			return err
		}
		c.Open = false
		if err = i.writeClient(ctx, id, &c); err != nil && !errors.Is(err, ErrConflict) {
			return err
		} // and look again: the statement may have been another replica's, older than our last token
	}
	return errContended
}

// beginClient makes a later departure one that is published.
func (i *Issuer) beginClient(ctx context.Context, id string) error {
	for range maxRounds {
		r, err := i.store.get(ctx, clientKey(id))
		if err != nil {
			return err
		}
		c, err := decodeClient(r)
		if err != nil || c.On {
			return err
		}
		if c.Open {
			err = i.endClient(ctx, id, &departure{"client disabled or removed", new(atomic.Int64)})
		} else {
			c = clientRecord{On: true, revision: c.revision}
			if err = i.writeClient(ctx, id, &c); err == nil {
				return nil
			}
		}
		if err != nil && !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return errContended
}
