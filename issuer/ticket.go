package issuer

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A ticket is the hidden member of the login form: the authorization request, until when it counts, and a code that binds
// both to a cookie of the same browser. So nobody can have somebody else's browser send a form that he filled in or fetched
// himself (login CSRF, RFC 9700 §4.7). Nothing is stored for it: showing the page to the whole world costs no write.
const (
	ticketLife = 10 * time.Minute
	ticketKey  = "f.login" // record of the key that all replicas share
	cookieLen  = 22        // of the cookie: 16 bytes in base64url
)

var (
	errTicket  = &fault{status: http.StatusForbidden, code: "access_denied", description: "the login form does not belong to this browser"}
	errExpired = &fault{status: http.StatusBadRequest, code: "invalid_request", description: "the login form was open for too long"}
)

// formKey reads the shared key, or makes it the first time.
func (i *Issuer) formKey(ctx context.Context) ([]byte, error) {
	if k := i.ticketSecret.Load(); k != nil {
		return *k, nil
	}
	for range maxRounds {
		r, err := i.store.get(ctx, ticketKey)
		if err != nil {
			return nil, err
		}
		if r.exists() {
			secret, err := decodeForm(r)
			if err != nil {
				return nil, err
			}
			i.ticketSecret.Store(&secret)
			return secret, nil
		}
		value, err := encodeForm(random(32))
		if err != nil {
			return nil, err
		}
		if _, err := i.store.put(ctx, write{key: ticketKey, value: value, revision: r.revision}); err != nil && !errors.Is(err, ErrConflict) {
			return nil, err
		}
	}
	return nil, errContended
}

func encodeForm(secret []byte) ([]byte, error) {
	return encodeRecord(kindForm, ticketKey, struct {
		Secret []byte `json:"secret"`
	}{secret})
}

func decodeForm(r record) (secret []byte, err error) {
	err = r.decode(kindForm, field{name: "secret", into: &secret})
	if err == nil && len(secret) < sha256.Size {
		err = badRecord(r.key, errors.New("secret: is too short"))
	}
	return secret, err
}

func seal(key []byte, cookie string, body []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("quash login form\x00" + cookie + "\x00"))
	m.Write(body)
	return m.Sum(nil)
}

// ticket seals the request for the browser that has the cookie.
func (i *Issuer) ticket(ctx context.Context, q *authorization, cookie string) (string, error) {
	key, err := i.formKey(ctx)
	if err != nil {
		return "", err
	}
	body := binary.BigEndian.AppendUint64(nil, uint64(i.cfg.Now().Add(ticketLife).Unix()))
	body = append(body, q.values().Encode()...)
	return strict64.EncodeToString(append(seal(key, cookie, body), body...)), nil
}

// redeemTicket gives the request again, checked against the clients as they are now. With errExpired it is returned as well, to
// show the page once more. Errors: errTicket, errExpired, and those of readAuthorization.
func (i *Issuer) redeemTicket(r *http.Request, text string) (*authorization, error) {
	key, err := i.formKey(r.Context())
	if err != nil {
		return nil, err
	}
	cookie, ok := i.ticketCookie(r)
	raw, err := strict64.DecodeString(text)
	if !ok || err != nil || len(raw) < sha256.Size+8 {
		return nil, errTicket
	}
	mac, body := raw[:sha256.Size], raw[sha256.Size:]
	if !hmac.Equal(mac, seal(key, cookie, body)) {
		return nil, errTicket
	}
	values, err := url.ParseQuery(string(body[8:]))
	if err != nil {
		return nil, errTicket
	}
	q, err := i.readAuthorization(values)
	if err == nil && uint64(i.cfg.Now().Unix()) >= binary.BigEndian.Uint64(body) {
		err = errExpired
	}
	return q, err
}

// ticketCookieName has the prefix by which browsers keep subdomains and plain http from planting a cookie. On loopback without TLS
// there is no such protection to be had.
func (i *Issuer) ticketCookieName() string {
	if i.secure() {
		return "__Host-quash-login"
	}
	return "quash-login"
}

func (i *Issuer) secure() bool { return strings.HasPrefix(i.cfg.Issuer, "https:") }

// ticketCookie is the browser's cookie, if it has one and only one.
func (i *Issuer) ticketCookie(r *http.Request) (string, bool) {
	cookies := r.CookiesNamed(i.ticketCookieName())
	if len(cookies) != 1 || len(cookies[0].Value) != cookieLen {
		return "", false
	}
	_, err := strict64.DecodeString(cookies[0].Value)
	return cookies[0].Value, err == nil
}

// giveTicketCookie keeps the browser's cookie, so that a second tab does not spoil the first. Lax, not Strict: the first request
// comes from the application's site and must show the cookie that is there; the form is posted by our own page.
func (i *Issuer) giveTicketCookie(w http.ResponseWriter, r *http.Request) string {
	value, ok := i.ticketCookie(r)
	if !ok {
		value = token(16)
	}
	http.SetCookie(w, &http.Cookie{Name: i.ticketCookieName(), Value: value, Path: "/", MaxAge: int(ticketLife / time.Second),
		Secure: i.secure(), HttpOnly: true, SameSite: http.SameSiteLaxMode})
	return value
}
