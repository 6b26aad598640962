package issuer

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/quash-auth/quash/events"
)

// keyAnswer is a key as operators see it; instants are seconds since 1970.
type keyAnswer struct {
	ID        string   `json:"kid"`
	Algorithm string   `json:"alg"`
	State     KeyState `json:"state"`
	Created   int64    `json:"created"`
	SignsAt   int64    `json:"signs_at,omitempty"`
	RetiredAt int64    `json:"retired_at,omitempty"`
	RemovedAt int64    `json:"removed_at,omitempty"`
	Txn       string   `json:"txn,omitempty"`
}

func (k Key) answer(txn string) keyAnswer {
	at := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return wholeSeconds(t.Sub(time.Unix(0, 0))) // never too early
	}
	return keyAnswer{k.ID, k.Algorithm, k.State, at(k.Created), at(k.SignsAt), at(k.RetiredAt), at(k.RemovedAt), txn}
}

func (i *Issuer) serveAdminKeys(w http.ResponseWriter, r *http.Request) error {
	if _, err := i.operator(r, ScopeAdmin); err != nil {
		return err
	}
	keys, err := i.Keys()
	if err != nil {
		return err
	}
	answer := struct {
		Keys []keyAnswer `json:"keys"`
	}{[]keyAnswer{}}
	for _, k := range keys {
		answer.Keys = append(answer.Keys, k.answer(""))
	}
	i.respond(w, http.StatusOK, answer)
	return nil
}

// serveAdminKeyRotate is POST /admin/keys/rotate.
func (i *Issuer) serveAdminKeyRotate(w http.ResponseWriter, r *http.Request) error {
	return i.changeKey(w, r, "rotate", i.RotateKey)
}

// serveAdminKeyChange is POST /admin/keys/{kid}/retire and revoke.
func (i *Issuer) serveAdminKeyChange(w http.ResponseWriter, r *http.Request) error {
	kid := r.PathValue("kid")
	switch r.PathValue("change") {
	case "retire":
		return i.changeKey(w, r, "retire", func() (Key, error) { return i.RetireKey(kid) })
	case "revoke":
		return i.serveAdminKeyRevoke(w, r, kid)
	}
	return &fault{status: http.StatusNotFound, code: "invalid_request", description: "no such endpoint"}
}

func (i *Issuer) changeKey(w http.ResponseWriter, r *http.Request, what string, change func() (Key, error)) error {
	c, err := i.operator(r, ScopeAdmin)
	if err != nil {
		return err
	}
	var reason, txn string
	if err := readMembers(r, field{"reason", &reason, true}, field{"txn", &txn, true}); err != nil {
		return err
	}
	back, err := i.limit.take(r.Context(), c.Subject, false)
	if err != nil {
		return err
	}
	txn = cmp.Or(txn, events.NewID())
	k, err := change()
	if err != nil {
		back(r.Context())
		return keyFault(err)
	}
	i.log.Info("key changed", "kid", k.ID, "change", what, "state", k.State, "actor", c.Subject, "reason", reason, "txn", txn)
	i.respond(w, http.StatusOK, k.answer(txn))
	return nil
}

func keyFault(err error) error {
	switch {
	case errors.Is(err, ErrNoKey):
		return &fault{status: http.StatusNotFound, code: "invalid_request", description: "there is no such key in the keys directory"}
	case errors.Is(err, ErrLastKey):
		return &fault{status: http.StatusConflict, code: "invalid_request",
			description: "no other key may sign yet: rotate, and retire this one when the new one signs; or revoke it if it was stolen"}
	}
	return err
}

// serveAdminKeyRevoke is POST /admin/revocations with scope key, for a key of the directory: a mistyped kid is no revocation.
func (i *Issuer) serveAdminKeyRevoke(w http.ResponseWriter, r *http.Request, kid string) error {
	c, err := i.operator(r, ScopeAdmin)
	if err != nil {
		return err
	}
	q := adminRevocation{Revocation: events.Revocation{Scope: events.Key, Key: kid}}
	if err := readMembers(r, field{"reason", &q.Reason, true}, field{"txn", &q.Txn, true}, field{"confirm", &q.confirm, true},
		field{"dry_run", &q.dryRun, true}); err != nil {
		return err
	}
	if _, err := i.key(kid); err != nil {
		return keyFault(fmt.Errorf("revoke: %w", err))
	}
	return i.order(w, r, c, q)
}
