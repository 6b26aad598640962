package events

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"

	"github.com/nats-io/nats.go"
)

// refused reports whether a server was reached that will not have us, or is not
// the one we trust: waiting does not mend that.
func refused(err error) bool {
	var file *fs.PathError
	return advice(err) != "" && !errors.As(err, &file)
}

// advice says what to do about a server that does not accept us, or we not it, in the
// order of how much the error tells. Empty: err is something else.
func advice(err error) string {
	var (
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		any     *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		remote  *net.OpError
		file    *fs.PathError
	)
	switch {
	case err == nil:
		return ""
	case errors.As(err, &name):
		return "the server's certificate is for other names than the one in the URL: use one of its names, or give it a certificate for this one"
	case errors.As(err, &unknown):
		return "the server's certificate is not signed by an authority that is trusted here: give the file with its authority's certificate (CA)"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate is not valid at this time: renew it at the server, or mend this machine's clock"
	case errors.As(err, &any), errors.As(err, &invalid):
		return "the server's certificate cannot be trusted: renew it at the server"
	case errors.As(err, &record):
		return "what answers there does not speak TLS: check the address, and the TLS configuration of the server"
	case errors.As(err, &remote) && remote.Op == "remote error":
		return "the server refuses our certificate: give one, with its key, that an authority signed which the server trusts and that has not expired"
	case errors.Is(err, nats.ErrTLS):
		return "the server ended the TLS handshake: if it asks for client certificates, give a valid one with its key"
	case errors.Is(err, nats.ErrSecureConnWanted):
		return "the server offers no TLS, and a tls:// URL, a CA or a client certificate demands it: turn TLS on at the server; without it nothing was sent"
	case errors.Is(err, nats.ErrSecureConnRequired):
		return "the server demands TLS: use a tls:// URL, and the CA of its certificate"
	case errors.Is(err, nats.ErrNkeysNotSupported):
		return "the server has no nkey users: use the credentials that it has, or add this nkey to its configuration"
	case errors.Is(err, nats.ErrNoInfoReceived):
		return "what answers there is no NATS server: check the address"
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAccountAuthExpired):
		return "the credentials have expired: put new ones in their place; the file is read again at each attempt"
	case errors.Is(err, nats.ErrAuthRevoked):
		return "these credentials were revoked: put new ones in their place; the file is read again at each attempt"
	case errors.Is(err, nats.ErrAuthorization):
		return "the server does not accept this user: check the user and password, nkey or credentials file, and that the server's configuration has that user"
	case errors.As(err, &file):
		return "a file with a credential cannot be read: put it back; it is read again at each attempt"
	}
	return ""
}

// explained is the error with what to do about it.
func explained(err error) error {
	if text := advice(err); text != "" {
		return &refusalError{advice: text, err: err}
	}
	return err
}

type refusalError struct {
	advice string
	err    error
}

func (e *refusalError) Error() string { return e.advice + ": " + e.err.Error() }
func (e *refusalError) Unwrap() error { return e.err }
