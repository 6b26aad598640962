package events

import (
	"errors"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
)

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
