package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/quash-auth/quash/internal/buskeys"
)

// natsCmd is "quash nats".
type natsCmd struct {
	Init natsInitCmd `cmd:"" help:"Make the keys, certificates and users of a NATS server with TLS; what is there is kept, what is missing is made."`
}

// natsInitCmd makes everything that deploy/nats/production.conf includes.
type natsInitCmd struct {
	Dir   string   `arg:"" help:"Directory for the files; made if it is missing."`
	Users []string `arg:"" optional:"" name:"user" placeholder:"ROLE:NAME" help:"Users to make: verifier:NAME and issuer:NAME for each node, verifiers:NAME for any number, publisher:NAME, operator:NAME, records:NAME. Without any and in a new directory: those of docker-compose.yml."`

	ServerName      []string      `default:"localhost,127.0.0.1" placeholder:"HOST" help:"Names and addresses under which clients reach the server, for its certificate (${default})."`
	CertificateLife time.Duration `default:"8760h" help:"Life of the server's certificate (${default})."`
}

const authorityLife = 10 * 365 * 24 * time.Hour

var firstUsers = []string{"operator:operator", "publisher:publisher", "issuer:issuer-1", "issuer:issuer-2", "records:records", "verifier:api-1", "verifier:api-2"}

func (c *natsInitCmd) Run(p *program) error {
	if c.CertificateLife <= 0 || c.CertificateLife > authorityLife {
		return usagef("--certificate-life", "%v is not from above 0s to %v", c.CertificateLife, authorityLife)
	}
	if len(c.ServerName) == 0 || slices.Contains(c.ServerName, "") {
		return usagef("--server-name", "is empty: name the host in the URL that clients use")
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("making the directory: %w", err)
	}
	if info, err := os.Stat(c.Dir); err != nil || info.Mode().Perm()&0o002 != 0 {
		return errors.Join(err, fmt.Errorf("everybody may write to %s, so anybody may have put files there: make another directory, or chmod 700 it and look at what it holds", c.Dir))
	}
	users, err := c.users()
	if err != nil {
		return err
	}
	if err := c.certificates(time.Now()); err != nil {
		return err
	}
	for i := range users {
		if users[i].public, err = c.seed(users[i]); err != nil {
			return err
		}
	}
	if err := buskeys.WritePublic(c.path("users.conf"), []byte(usersConf(users))); err != nil {
		return err
	}
	return c.say(p, users)
}

func (c *natsInitCmd) path(name string) string { return filepath.Join(c.Dir, name) }

// users are those that have a seed already, and those that are asked for.
func (c *natsInitCmd) users() ([]busUser, error) {
	files, err := filepath.Glob(c.path("*.*.nk"))
	if err != nil {
		return nil, usagef("DIR", "%v", err)
	}
	var texts []string
	for _, f := range files {
		texts = append(texts, strings.Replace(strings.TrimSuffix(filepath.Base(f), ".nk"), ".", ":", 1))
	}
	asked := c.Users
	if len(asked) == 0 && len(texts) == 0 {
		asked = firstUsers
	}
	var users []busUser
	for _, text := range append(texts, asked...) {
		role, name, _ := strings.Cut(text, ":")
		u := busUser{role: busRoleNamed(role), name: name}
		if u.role == nil || !plainName.MatchString(name) {
			return nil, usagef("ROLE:NAME", "%s is not a role (operator, publisher, verifier, verifiers, issuer or records), a colon, and a name of letters, digits, - and _", printable(text))
		}
		at := slices.IndexFunc(users, func(o busUser) bool { return o.name == name })
		if at >= 0 && users[at].role != u.role {
			return nil, usagef("ROLE:NAME", "%s is the name of a user of the role %s: each user has a name of its own", name, users[at].role.name)
		}
		if at < 0 {
			users = append(users, u)
		}
	}
	slices.SortFunc(users, func(a, b busUser) int {
		return cmp.Or(strings.Compare(a.role.name, b.role.name), strings.Compare(a.name, b.name))
	})
	return users, nil
}

// seed makes a user's secret unless it is there, and gives its public key.
func (c *natsInitCmd) seed(u busUser) (public string, err error) {
	path := c.path(u.seed())
	text, err := secretFile(path)
	if err == nil {
		if public, err = buskeys.PublicUser(text); err != nil {
			return "", fmt.Errorf("reading %s: %w; remove the file to have a new one made", path, err)
		}
		return public, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading a seed: %w", err)
	}
	text, public, err = buskeys.NewUser()
	if err != nil {
		return "", err
	}
	return public, buskeys.WriteSecret(path, text)
}

// secretFile reads one that is to be used on. What others could read is none any more.
func secretFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o007 != 0 {
		err = fmt.Errorf("everybody may read %s or write to it (mode %#o): chmod 600 it, or remove it for a new one if somebody did", path, info.Mode().Perm())
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// certificates makes an authority and the server's certificate, unless they are there.
func (c *natsInitCmd) certificates(now time.Time) error {
	switch server, err := exists(c.path("server.crt"), c.path("server.key")); {
	case err != nil:
		return err
	case server:
		return nil
	}
	a, err := c.authority(now)
	if err != nil {
		return err
	}
	cert, key, err := a.Issue(buskeys.Leaf{Name: c.ServerName[0], Hosts: c.ServerName, Now: now, Expiry: now.Add(c.CertificateLife)})
	if err != nil {
		return err
	}
	return errors.Join(buskeys.WriteSecret(c.path("server.key"), key), buskeys.WritePublic(c.path("server.crt"), cert))
}

func (c *natsInitCmd) authority(now time.Time) (*buskeys.Authority, error) {
	cert, err := os.ReadFile(c.path("ca.crt"))
	if errors.Is(err, fs.ErrNotExist) {
		a, err := buskeys.NewAuthority("quash NATS", now, authorityLife)
		if err != nil {
			return nil, err
		}
		cert, key, err := a.PEM()
		if err != nil {
			return nil, err
		}
		return a, errors.Join(buskeys.WriteSecret(c.path("ca.key"), key), buskeys.WritePublic(c.path("ca.crt"), cert))
	}
	if err != nil {
		return nil, fmt.Errorf("reading the authority: %w", err)
	}
	key, err := secretFile(c.path("ca.key"))
	if err != nil {
		return nil, fmt.Errorf("reading the authority: %w: put ca.key back to have a server certificate made", err)
	}
	a, err := buskeys.ReadAuthority(cert, key)
	if err != nil {
		return nil, fmt.Errorf("reading the authority in %s: %w", c.Dir, err)
	}
	return a, nil
}

// exists reports whether both files are there; one without the other is as good as none.
func exists(paths ...string) (bool, error) {
	for _, p := range paths {
		if _, err := os.Stat(p); errors.Is(err, fs.ErrNotExist) {
			return false, nil
		} else if err != nil {
			return false, fmt.Errorf("looking for a certificate: %w", err)
		}
	}
	return true, nil
}

// say prints which file belongs where.
func (c *natsInitCmd) say(p *program, users []busUser) error {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHO\tGETS\tAND THE FLAGS")
	fmt.Fprintln(w, "NATS server\tserver.crt server.key users.conf\t(deploy/nats/production.conf)")
	for _, u := range users {
		fmt.Fprintf(w, "%s %s\tca.crt %s\t%s\n", u.role.name, u.name, u.seed(), u.flags(c.ServerName[0]))
	}
	fmt.Fprintln(w, "NATS server\t-\tthen reload it, twice if a user is new: nats-server --signal reload")
	fmt.Fprintln(w, "nobody\tca.key\tkeep it elsewhere; it is needed for the next server certificate only")
	return w.Flush()
}

// flags are how a process of this user reaches the server.
func (u busUser) flags(host string) string {
	if u.role.name == "records" {
		return fmt.Sprintf("--records-nats-nkey %s --records-nats-inbox %s", u.seed(), u.inbox())
	}
	text := fmt.Sprintf("--nats tls://%s:4222 --nats-ca ca.crt --nats-nkey %s --nats-inbox %s", host, u.seed(), u.inbox())
	if len(u.role.answers) > 0 && !u.role.shared {
		text += " --nats-reader " + u.name
	}
	return text
}
