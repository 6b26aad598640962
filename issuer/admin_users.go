package issuer

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/quash-auth/quash/events"
)

// account is a user as operators see her.
type account struct {
	Sub      string   `json:"sub"`
	Name     string   `json:"username"`
	Scopes   []string `json:"scopes"`
	Disabled bool     `json:"disabled"`
	Created  int64    `json:"created"`  // seconds since 1970
	Password bool     `json:"password"` // the issuer has a hash; without one the store decides, or nobody logs in
}

func accountOf(u User) account {
	scopes := u.Scopes
	if scopes == nil {
		scopes = []string{}
	}
	return account{u.Sub, u.Name, scopes, u.Disabled, u.Created.Unix(), u.PasswordHash != ""}
}

// changed is the answer to a change: the account, and the statement that ended its sessions, if any.
type changed struct {
	account
	ID       string `json:"id,omitempty"`
	Sequence uint64 `json:"sequence,omitempty"`
	Txn      string `json:"txn,omitempty"`
}

// unseen leaves out what only those may read who may list accounts.
func (c changed) unseen() any {
	return struct {
		Sub      string `json:"sub"`
		Disabled bool   `json:"disabled"`
		ID       string `json:"id"`
		Sequence uint64 `json:"sequence"`
		Txn      string `json:"txn"`
	}{c.Sub, c.Disabled, c.ID, c.Sequence, c.Txn}
}

func (i *Issuer) serveAdminUsers(w http.ResponseWriter, r *http.Request) error {
	c, err := i.operator(r, ScopeAdmin)
	if err != nil {
		return err
	}
	if r.Method != http.MethodPost {
		return i.listUsers(w, r, c)
	}
	var name, password, reason, txn string
	var scopes []string
	err = readMembers(r, field{"username", &name, false}, field{"password", &password, false}, field{"scopes", &scopes, true},
		field{"reason", &reason, true}, field{"txn", &txn, true})
	if err != nil {
		return err
	}
	u, err := i.CreateUser(r.Context(), name, password, scopes...)
	if err != nil {
		return err
	}
	i.log.Info("user created", "sub", u.Sub, "actor", c.Subject, "reason", reason, "txn", txn)
	i.respond(w, http.StatusCreated, changed{account: accountOf(u), Txn: txn})
	return nil
}

type usersAnswer struct {
	Users []account `json:"users"`
	Next  string    `json:"next,omitempty"` // cursor of the next page; absent: this was the last
}

// listUsers gives a page in the order of names. Every page reads all users, for a store has no order; it keeps one page of them.
func (i *Issuer) listUsers(w http.ResponseWriter, r *http.Request, c accessClaims) error {
	q, err := readQuery(r, "username", "limit", "cursor")
	if err != nil {
		return err
	}
	answer := usersAnswer{Users: []account{}}
	if name, ok := q["username"]; ok {
		u, err := i.users.ByName(r.Context(), name)
		if err == nil {
			answer.Users = append(answer.Users, accountOf(u))
		} else if !errors.Is(err, ErrNoUser) {
			return unavailable(err)
		}
		i.respond(w, http.StatusOK, answer)
		return nil
	}
	limit := pageDefault
	if text, ok := q["limit"]; ok {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > pageMost {
			return badRequest("limit: must be 1 to 1000")
		}
	}
	after, err := base64.RawURLEncoding.DecodeString(q["cursor"])
	if err != nil {
		return badRequest("cursor: is not one of ours")
	}
	done, err := i.lists.take(c.Subject)
	if err != nil {
		return err
	}
	defer done()
	if err := i.step("list"); err != nil {
		return err
	}
	order := func(a, b User) int { return cmp.Compare(foldName(a.Name), foldName(b.Name)) }
	var page []User // sorted, one more than the limit
	err = i.users.List(r.Context(), func(u User) bool {
		if foldName(u.Name) <= string(after) {
			return true
		}
		at, _ := slices.BinarySearchFunc(page, u, order)
		if at <= limit {
			page = slices.Insert(page, at, u)
			page = page[:min(len(page), limit+1)]
		}
		return r.Context().Err() == nil
	})
	if err = errors.Join(err, r.Context().Err()); err != nil {
		return unavailable(err)
	}
	if len(page) > limit {
		page = page[:limit]
		answer.Next = base64.RawURLEncoding.EncodeToString([]byte(foldName(page[limit-1].Name)))
	}
	for _, u := range page {
		answer.Users = append(answer.Users, accountOf(u))
	}
	i.respond(w, http.StatusOK, answer)
	return nil
}

func (i *Issuer) serveAdminUser(w http.ResponseWriter, r *http.Request) error {
	if _, err := i.operator(r, ScopeAdmin); err != nil {
		return err
	}
	u, err := i.account(r.Context(), r.PathValue("sub"))
	if err != nil {
		return err
	}
	i.respond(w, http.StatusOK, accountOf(u))
	return nil
}

// memberNames turns an ErrUser's text into one about the body's members.
var memberNames = strings.NewReplacer(ErrUser.Error()+": ", "", "Name: ", "username: ", "Password: ", "password: ", "Scopes: ", "scopes: ")

var errNoAccount = &fault{status: http.StatusNotFound, code: "invalid_request", description: "there is no such user"}

func (i *Issuer) account(ctx context.Context, sub string) (User, error) {
	u, err := i.users.Get(ctx, sub)
	if errors.Is(err, ErrNoUser) {
		return u, errNoAccount
	}
	return u, unavailable(err)
}

// named is the account with this name.
func (i *Issuer) named(ctx context.Context, name string) (User, error) {
	u, err := i.users.ByName(ctx, name)
	if errors.Is(err, ErrNoUser) {
		return u, errNoAccount
	}
	return u, unavailable(err)
}

// serveAdminUserChange is POST /admin/users/{sub}/disable, enable, password and scopes. A system with the scope quash.revoke may
// disable those who have no scope of the issuer's own; it can end their sessions anyway.
func (i *Issuer) serveAdminUserChange(w http.ResponseWriter, r *http.Request) error {
	what := r.PathValue("change")
	allowed := []string{ScopeAdmin}
	if what == "disable" {
		allowed = append(allowed, ScopeRevoke)
	}
	c, err := i.operator(r, allowed...)
	if err != nil {
		return err
	}
	var password string
	var scopes ScopeChange
	why := Cause{By: "admin", Actor: c.Subject}
	members := []field{{"reason", &why.Reason, true}, {"txn", &why.Txn, true}}
	switch what {
	case "password":
		members = append(members, field{"password", &password, false})
	case "scopes":
		members = append(members, field{"scopes", &scopes.Set, true}, field{"add", &scopes.Add, true}, field{"remove", &scopes.Remove, true})
	case "disable", "enable":
	default:
		return &fault{status: http.StatusNotFound, code: "invalid_request", description: "no such endpoint"}
	}
	if err := readMembers(r, members...); err != nil {
		return err
	}
	why.Txn = cmp.Or(why.Txn, events.NewID())
	u, err := i.account(r.Context(), r.PathValue("sub"))
	if err != nil {
		return err
	}
	if !has(c, ScopeAdmin) && slices.ContainsFunc(u.Scopes, func(s string) bool { return strings.HasPrefix(s, ownScopes) }) {
		return &scopeError{ScopeAdmin}
	}
	back, err := i.limit.take(r.Context(), c.Subject, false)
	if err != nil {
		return err
	}
	ack, err := i.changeUser(r.Context(), u, what, password, scopes, why)
	if err != nil {
		back(r.Context())
		return err
	}
	if u, err = i.account(r.Context(), u.Sub); err != nil {
		return err
	}
	i.log.Info("user changed", "sub", u.Sub, "change", what, "disabled", u.Disabled, "scopes", u.Scopes, "actor", c.Subject, "reason", why.Reason, "txn", why.Txn)
	done := changed{accountOf(u), ack.ID, ack.Sequence, why.Txn}
	if has(c, ScopeAdmin) {
		i.respond(w, http.StatusOK, done)
	} else {
		i.respond(w, http.StatusOK, done.unseen())
	}
	return nil
}

func (i *Issuer) changeUser(ctx context.Context, u User, what, password string, scopes ScopeChange, why Cause) (events.Ack, error) {
	switch what {
	case "disable":
		return i.disable(ctx, u.Sub, why)
	case "enable":
		return events.Ack{}, i.Enable(ctx, u.Sub)
	case "password":
		return i.setPassword(ctx, u.Sub, password, why)
	}
	return i.changeScopes(ctx, u.Sub, scopes, why)
}
