package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/quash-auth/quash/issuer"
)

// keysFlags say how signing keys follow each other.
type keysFlags struct {
	KeyDelay       time.Duration `default:"20m" help:"How long a new key is published before it signs, so that verifiers know it (${default})."`
	KeyRotateEvery time.Duration `default:"0s" help:"Make a new key when the newest is that old; 0 is only on demand, by quash keys rotate (${default})."`
}

func (f *keysFlags) check() error {
	switch {
	case f.KeyDelay < time.Second:
		return usagef("--key-delay", "%v is below 1s", f.KeyDelay)
	case f.KeyRotateEvery < 0 || f.KeyRotateEvery > 0 && f.KeyRotateEvery <= 2*f.KeyDelay:
		return usagef("--key-rotate-every", "%v is not more than twice --key-delay %v", f.KeyRotateEvery, f.KeyDelay)
	}
	return nil
}

func (f *keysFlags) apply(c *issuer.Config) {
	c.KeyDelay, c.KeyRotateEvery = f.KeyDelay, f.KeyRotateEvery
}

// keysCmd is "quash keys".
type keysCmd struct {
	List   keysListCmd   `cmd:"" help:"List the signing keys."`
	Rotate keysRotateCmd `cmd:"" help:"Publish a new key. It signs after --key-delay of the issuer; the old ones are then retired and in the end removed."`
	Retire keysRetireCmd `cmd:"" help:"Stop signing with a key. It stays published until no token that it signed is alive."`
	Revoke keysRevokeCmd `cmd:"" help:"For a key that was stolen: end all access tokens that it signed, everywhere, and never use it again."`
}

type keysFlagsFor struct {
	JSON bool `name:"json" help:"Print JSON."`

	auditFlags `embed:""`
	adminFlags `embed:""`
}

// listedKey is what the issuer says about a key.
type listedKey struct {
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	State     string `json:"state"`
	Created   int64  `json:"created"`
	SignsAt   int64  `json:"signs_at,omitempty"`
	RetiredAt int64  `json:"retired_at,omitempty"`
	RemovedAt int64  `json:"removed_at,omitempty"`
	Txn       string `json:"txn,omitempty"`
}

func (k listedKey) next() string {
	switch {
	case k.SignsAt != 0:
		return "signs from " + second(k.SignsAt)
	case k.RemovedAt != 0:
		return "removed at " + second(k.RemovedAt)
	}
	return "-"
}

// run calls one of the endpoints.
func (f *keysFlagsFor) run(method, path string, body map[string]any, out any) error {
	return f.session(func(ctx context.Context, a *adminClient) error {
		if body == nil {
			return a.do(ctx, method, path, nil, nil, out)
		}
		f.into(body)
		return advise(a.do(ctx, method, path, nil, body, out), http.StatusNotFound, "quash keys list shows all")
	})
}

// change calls one of them that answers with the key.
func (f *keysFlagsFor) change(p *program, what string) error {
	var k listedKey
	if err := f.run(http.MethodPost, "/admin/keys/"+what, map[string]any{}, &k); err != nil {
		return err
	}
	return f.print(p, k)
}

func (f *keysFlagsFor) print(p *program, k listedKey) error {
	if f.JSON {
		return writeJSON(p.stdout, k)
	}
	_, err := fmt.Fprintf(p.stdout, "%s (%s): %s, %s\n", printable(k.ID), printable(k.Algorithm), harmless(k.State), k.next())
	return err
}

type keysListCmd struct{ keysFlagsFor }

func (c *keysListCmd) Run(p *program) error {
	var answer struct {
		Keys []listedKey `json:"keys"`
	}
	if err := c.run(http.MethodGet, "/admin/keys", nil, &answer); err != nil {
		return err
	}
	l := newList(p.stdout, c.JSON, "KEY", "ALGORITHM", "STATE", "CREATED", "NEXT")
	for _, k := range answer.Keys {
		if err := l.add(k, printable(k.ID), printable(k.Algorithm), harmless(k.State), second(k.Created), k.next()); err != nil {
			return err
		}
	}
	return l.end()
}

type keysRotateCmd struct{ keysFlagsFor }

func (c *keysRotateCmd) Run(p *program) error {
	return c.change(p, "rotate")
}

type keysRetireCmd struct {
	KID string `arg:"" help:"The key, as quash keys list shows it."`
	keysFlagsFor
}

func (c *keysRetireCmd) Run(p *program) error {
	return c.change(p, url.PathEscape(c.KID)+"/retire")
}

type keysRevokeCmd struct {
	KID     string  `arg:"" help:"The key, as quash keys list shows it."`
	Confirm *string `env:"-" placeholder:"KID" help:"The key once more; on a terminal you are asked instead."`
	keysFlagsFor
}

func (c *keysRevokeCmd) Run(p *program) error {
	if c.Reason == "" {
		return usagef("--reason", "is missing: it says in the audit trail why more than one user was concerned")
	}
	if err := p.confirmWide("KID", c.KID, c.Confirm); err != nil {
		return err
	}
	var done struct {
		ID       string `json:"id"`
		Sequence uint64 `json:"sequence"`
		Txn      string `json:"txn,omitempty"`
	}
	if err := c.run(http.MethodPost, "/admin/keys/"+url.PathEscape(c.KID)+"/revoke", map[string]any{"confirm": c.KID}, &done); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(p.stdout, done)
	}
	_, err := fmt.Fprintf(p.stdout, "%s: revoked by statement %s, number %d\n", printable(c.KID), printable(done.ID), done.Sequence)
	return err
}
