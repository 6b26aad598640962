package issuer

import (
	"errors"
	"net/http"
)

// serveAuthorizeLogin takes the login form and sends the browser back with a code. Only who has shown the right password
// learns whether the account is disabled, and only on the page: the application is told nothing.
func (i *Issuer) serveAuthorizeLogin(w http.ResponseWriter, r *http.Request) error {
	if err := i.sameOrigin.Check(r); err != nil {
		return errTicket
	}
	form, err := readForm(r)
	if err != nil {
		return err
	}
	q, err := i.redeemTicket(r, form["ticket"])
	if err != nil && !errors.Is(err, errExpired) {
		return err
	}
	name, password := form["username"], form["password"]
	var code string
	if err == nil {
		code, err = i.authorize(r, q, name, password)
	}
	if mayTryAgain(err) {
		return i.showLogin(w, r, q, name, err)
	}
	if err != nil {
		return err
	}
	redirect(w, i.answerTo(q, "code", code))
	return nil
}

// authorize checks the password and stores a code.
func (i *Issuer) authorize(r *http.Request, q *authorization, name, password string) (string, error) {
	if nameProblem(name) != "" || password == "" || len(password) > maxPassword {
		return "", ErrCredentials
	}
	from := i.origin(r)
	var p proof
	err := i.attempt(r.Context(), name, from.address, func(try *attempt) (err error) {
		var checked judged
		p, err = i.prove(r.Context(), try, name, password, q.client, &checked)
		return err
	})
	if err != nil {
		return "", err
	}
	scope := q.granted(p.user)
	if len(scope) == 0 && len(q.scope) > 0 {
		return "", &rejection{q, "invalid_scope", "the user has none of the scopes"}
	}
	c, raw := newCode(p.at)
	c.Sub, c.Gen, c.Client, c.Redirect, c.Challenge = p.user.Sub, p.gen, q.client.ID, q.redirect, q.challenge
	c.Nonce, c.Scope, c.Agent = q.nonce, scope, from.agent
	if err := i.writeCode(r.Context(), c); err != nil {
		return "", err
	}
	i.log.Info("code issued", "sub", c.Sub, "client", c.Client, "sid", c.Sid)
	return raw, nil
}
