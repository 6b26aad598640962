package issuer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/quash-auth/quash/internal/strictjson"
)

const maxClientsFile = 4 << 20

// ReadClients reads a client registry file, see Config.ClientsFile. It may be called at any time, also to check a file
// before it is put in place. Errors name the client and the member, and hold no secret.
func ReadClients(path string) ([]Client, error) {
	text, err := readClientsFile(path)
	if err != nil {
		return nil, err
	}
	return parseClients(text)
}

func readClientsFile(path string) ([]byte, error) {
	info, err := os.Stat(path) // before it is opened: opening a pipe would wait for its writer
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	case info.Mode().Perm()&0o002 != 0:
		return nil, errors.New("everybody may write it: chmod o-w it, and look for clients that are not yours")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(f, maxClientsFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxClientsFile {
		return nil, fmt.Errorf("is larger than %d MiB", maxClientsFile>>20)
	}
	return text, nil
}

// parseClients reads {"clients":[…]} with the member names of RFC 7591 §2 where it has them.
func parseClients(text []byte) ([]Client, error) {
	var clients []Client
	found := false
	err := strictjson.Object(text, func(name string, raw []byte) error {
		if name != "clients" {
			return fmt.Errorf("unknown member %.64q, there is only clients", name)
		}
		found = true
		return strictjson.Elements(raw, func(raw []byte) error {
			c, err := parseClient(raw)
			if err != nil {
				return fmt.Errorf("clients[%d]: %w", len(clients), err)
			}
			clients = append(clients, c)
			return nil
		})
	})
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, errors.New("has no member clients")
	}
	return clients, checkClients(clients)
}

func parseClient(raw []byte) (c Client, err error) {
	scope, audience := "", ""
	err = strictjson.Object(raw, func(name string, raw []byte) (err error) {
		switch name {
		case "client_id":
			c.ID, err = strictjson.String(raw)
		case "client_name":
			c.Name, err = strictjson.String(raw)
		case "client_secret_hash":
			c.SecretHash, err = strictjson.String(raw)
		case "public":
			c.Public, err = strictjson.Bool(raw)
		case "disabled":
			c.Disabled, err = strictjson.Bool(raw)
		case "redirect_uris":
			c.RedirectURIs, err = strictjson.Strings(raw)
		case "grant_types":
			c.Grants, err = strictjson.Strings(raw)
		case "scope":
			scope, err = strictjson.String(raw)
			c.Scopes = strings.Fields(scope)
		case "audience":
			if audience, err = strictjson.String(raw); err == nil {
				c.Audience = []string{audience}
			} else {
				c.Audience, err = strictjson.Strings(raw)
			}
		case "introspects":
			c.Introspects, err = strictjson.Strings(raw)
		case "client_secret":
			return errors.New("client_secret: does not belong here, store its hash as client_secret_hash (quash client new-secret)")
		default:
			return fmt.Errorf("unknown member %.64q, there are client_id, client_name, public, client_secret_hash, disabled, grant_types, redirect_uris, scope, audience and introspects", name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	return c, err
}

// fileNames turns what is wrong with a Client into words about the file.
var fileNames = strings.NewReplacer(
	"SecretHash is not the result of HashSecret", `client_secret_hash: must be what quash client new-secret prints, or the client "public": true`,
	"SecretHash", "client_secret_hash", "ID must", "client_id: must", "Name must", "client_name: must", "Audience has", "audience has", "Scopes has", "scope has",
	"Grants has", "grant_types has", "Grants repeats", "grant_types repeats", "Introspects", "introspects", "RedirectURIs", "redirect_uris")

func checkClients(clients []Client) error {
	seen := make(map[string]bool, len(clients))
	for n, c := range clients {
		if problem := c.problem(); problem != "" {
			return fmt.Errorf("clients[%d]: %s", n, fileNames.Replace(problem))
		}
		if seen[c.ID] {
			return fmt.Errorf("clients[%d]: repeats the client_id %s", n, c.ID)
		}
		seen[c.ID] = true
	}
	return nil
}
