package issuer

import (
	"errors"
	"net/url"
)

// The parts of the code flow that are tested alone.
var (
	AccessHash  = accessHash
	CodeKey     = codeKey
	TicketKey   = ticketKey
	MayReturnTo = Client.mayReturnTo
	ChallengeOf = challengeOf
)

// ReadAuthorization takes a query as /authorize does. to is where the browser may be sent, with an error or a code; empty: nowhere.
func ReadAuthorization(i *Issuer, query url.Values) (to string, values url.Values) {
	q, err := i.readAuthorization(query)
	var told *rejection
	if errors.As(err, &told) {
		return told.to.redirect, nil
	}
	if err != nil {
		return "", nil
	}
	return q.redirect, q.values()
}
