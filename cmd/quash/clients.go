package main

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/quash-auth/quash/issuer"
)

// clientsFlags say who may use the issuer.
type clientsFlags struct {
	Clients string `placeholder:"FILE" help:"Registry of clients as JSON, read again when it changes (default: one public client, quash); see docs/clients.md and quash client check."`
}

func (f *clientsFlags) apply(c *issuer.Config) { c.ClientsFile = f.Clients }

// clientCmd is "quash client".
type clientCmd struct {
	NewSecret newSecretCmd   `cmd:"" help:"Make a client secret: print it once, and its hash for the registry file."`
	Check     checkClientCmd `cmd:"" help:"Check a registry file before it is put in place."`
}

type newSecretCmd struct{}

func (*newSecretCmd) Run(p *program) error {
	secret := issuer.NewSecret()
	_, err := fmt.Fprintf(p.stdout, "client_secret       %s\nclient_secret_hash  %s\n", secret, issuer.HashSecret(secret))
	return err
}

type checkClientCmd struct {
	File string `arg:"" placeholder:"FILE" help:"The registry file."`
}

func (c *checkClientCmd) Run(p *program) error {
	clients, err := issuer.ReadClients(c.File)
	if err != nil {
		return &usageError{problem: fmt.Sprintf("%s: %v; mend it, an issuer keeps the clients it had", c.File, err)}
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CLIENT\tKIND\tGRANTS\tSCOPES")
	for _, cl := range clients {
		kind := "confidential"
		if cl.Public {
			kind = "public"
		}
		if cl.Disabled {
			kind += ", disabled"
		}
		grants := cl.Grants
		if len(grants) == 0 {
			grants = []string{issuer.GrantLogin, issuer.GrantRefresh}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", cl.ID, kind, strings.Join(grants, " "), cmp.Or(strings.Join(cl.Scopes, " "), "-"))
	}
	return w.Flush()
}
