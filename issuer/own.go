package issuer

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quash-auth/quash/events"
)

// own accepts a token that belongs to a session, of the header or of a cookie: only users have endpoints of their own.
func (i *Issuer) own(r *http.Request) (accessClaims, error) {
	p, err := i.presented(r)
	if err != nil {
		return accessClaims{}, err
	}
	raw := p.access
	switch {
	case raw == "":
		if raw, err = bearer(r); err != nil {
			return accessClaims{}, err
		}
	case r.Method != http.MethodGet && r.Method != http.MethodHead && !i.ownPage(r):
		return accessClaims{}, errOtherPage
	}
	c, err := i.verify(raw)
	if err == nil && c.Session == "" {
		err = &fault{status: http.StatusForbidden, code: "insufficient_scope", description: "the token belongs to no session of a user"}
	}
	return c, err
}

// reach is which sessions of its user a token may see and end: all, if its client may log her in itself; else those at that
// client, for an application of somebody else has no business with the rest.
func (i *Issuer) reach(c accessClaims) filter {
	f := filter{sub: c.Subject}
	if client, ok := i.client(c.Client); !ok || !client.may(GrantLogin) {
		f.client = c.Client
	}
	return f
}

// byUser is a statement of the user about herself.
func byUser(c accessClaims, scope events.Scope, key, reason string) events.Revocation {
	return events.Revocation{Scope: scope, Key: key, By: "user", Actor: c.Subject, Reason: reason}
}

func (i *Issuer) serveLogout(w http.ResponseWriter, r *http.Request) error {
	if p, err := i.byCookie(r, false); err != nil {
		return err
	} else if p.any() {
		return i.logoutByCookie(w, r, p)
	}
	c, err := i.own(r)
	if err != nil {
		return err
	}
	return i.end(w, r, byUser(c, events.Session, c.Session, "logout"))
}

// serveLogoutAll ends all sessions of the user, the presented one included, by one statement.
func (i *Issuer) serveLogoutAll(w http.ResponseWriter, r *http.Request) error {
	c, err := i.own(r)
	if err != nil {
		return err
	}
	if i.reach(c).client != "" {
		return &fault{status: http.StatusForbidden, code: "access_denied",
			description: "this client may end its own sessions only: DELETE /sessions/ and the sid"}
	}
	i.forget(w, r)
	if err = i.end(w, r, byUser(c, events.Subject, c.Subject, "logout of all sessions")); err != nil {
		w.Header().Del("Set-Cookie") // nothing is over
	}
	return err
}

var errNoSession = &fault{status: http.StatusNotFound, code: "invalid_request", description: "you have no such session"}

// serveEndSession ends one session of the user's own. Somebody else's session is answered as one that does not exist.
func (i *Issuer) serveEndSession(w http.ResponseWriter, r *http.Request) error {
	c, err := i.own(r)
	if err != nil {
		return err
	}
	s, err := i.meant(r.Context(), r.PathValue("sid"))
	if err != nil {
		return err
	}
	if s == nil || !i.reach(c).holds(s) {
		return errNoSession
	}
	return i.end(w, r, byUser(c, events.Session, s.sid, "logout of one session"))
}

// end revokes and answers.
func (i *Issuer) end(w http.ResponseWriter, r *http.Request, statement events.Revocation) error {
	ack, err := i.Revoke(r.Context(), statement)
	if err != nil {
		return err
	}
	i.revokedAnswer(w, ack, statement.Txn)
	return nil
}

// listed is a session as its user and the operator see it.
type listed struct {
	Session     string `json:"sid"`
	Subject     string `json:"sub,omitempty"` // for operators
	Client      string `json:"client_id"`
	Auth        int64  `json:"auth_time"`              // seconds since 1970
	LastRefresh int64  `json:"last_refresh,omitempty"` // likewise; absent: never
	IdleEnds    int64  `json:"idle_expires_in"`        // seconds
	SessionEnds int64  `json:"session_expires_in"`     // seconds
	Agent       string `json:"agent,omitempty"`
	Current     bool   `json:"current,omitempty"`
}

func (i *Issuer) listed(s *session) listed {
	now := i.cfg.Now()
	return listed{
		Session: s.sid, Client: s.Client, Auth: s.Auth, LastRefresh: s.Rotated / 1000, Agent: s.Agent,
		IdleEnds: left(s.Idle, now), SessionEnds: left(s.End, now),
	}
}

// left is the whole seconds until an instant, never negative.
func left(at int64, now time.Time) int64 { return max(0, int64(time.Unix(at, 0).Sub(now)/time.Second)) }

type sessionsAnswer struct {
	Subject  string   `json:"sub,omitempty"` // whose they are, for operators
	Sessions []listed `json:"sessions"`
	Next     string   `json:"next,omitempty"` // cursor of the next page; absent: this was the last
}

const (
	pageDefault = 100
	pageMost    = 1000
)

// serveSessions lists the user's own living sessions, the newest first within a page.
func (i *Issuer) serveSessions(w http.ResponseWriter, r *http.Request) error {
	c, err := i.own(r)
	if err != nil {
		return err
	}
	q, err := readQuery(r, "limit", "cursor")
	if err != nil {
		return err
	}
	if err := i.haste.list(c.Subject); err != nil {
		return err
	}
	answer, err := i.sessionsPage(r, c, i.reach(c), q, func(s *session, l *listed) { l.Current = s.sid == c.Session })
	if err != nil {
		return err
	}
	slices.Reverse(answer.Sessions)
	i.respond(w, http.StatusOK, answer)
	return nil
}

// sessionsPage is for the bearer of c.
func (i *Issuer) sessionsPage(r *http.Request, c accessClaims, f filter, q map[string]string, each func(*session, *listed)) (sessionsAnswer, error) {
	limit, after := uint64(pageDefault), uint64(0)
	var err error
	if text, ok := q["limit"]; ok {
		if limit, err = strconv.ParseUint(text, 10, 16); err != nil || limit == 0 || limit > pageMost {
			return sessionsAnswer{}, badRequest("limit: must be 1 to 1000")
		}
	}
	if text, ok := q["cursor"]; ok {
		if after, err = strconv.ParseUint(text, 10, 63); err != nil {
			return sessionsAnswer{}, badRequest("cursor: must be the next of an earlier answer")
		}
	}
	done, err := i.lists.take(c.Subject)
	if err != nil {
		return sessionsAnswer{}, err
	}
	defer done()
	if err := i.step("list"); err != nil {
		return sessionsAnswer{}, err
	}
	ss, next, err := i.page(r.Context(), f, after, int(limit))
	if err != nil {
		return sessionsAnswer{}, err
	}
	answer := sessionsAnswer{Sessions: []listed{}}
	for _, s := range ss {
		l := i.listed(s)
		each(s, &l)
		answer.Sessions = append(answer.Sessions, l)
	}
	if next > 0 {
		answer.Next = strconv.FormatUint(next, 10)
	}
	return answer, nil
}

// readQuery reads the parameters of a GET request: only these, each once, empty ones count as absent.
func readQuery(r *http.Request, names ...string) (map[string]string, error) {
	q, err := parseForm(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("the query must be well formed, and no parameter may be repeated")
	}
	for name := range q {
		if !slices.Contains(names, name) {
			return nil, badRequest("unknown parameter, there are " + strings.Join(names, ", "))
		}
	}
	return q, nil
}
