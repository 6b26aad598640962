package issuer_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// send is any request with a JSON body.
func (r *rig) send(method, path, token string, body any) answer {
	r.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	req := r.request(method, path, jsonType, string(text))
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return r.do(req)
}

type object = map[string]any

func pairsOf(pairs []any) object {
	o := object{}
	for n := 0; n < len(pairs); n += 2 {
		o[pairs[n].(string)] = pairs[n+1]
	}
	return o
}

// TestAdminUsers: an account from its creation to its end and back, with who and why on record.
func TestAdminUsers(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	root := r.user("root", issuer.ScopeAdmin)
	admin := r.login("root").Access
	a := r.send("POST", "/admin/users", admin, object{"username": "Eve", "password": "first", "scopes": []string{"read"}, "reason": "hired"})
	r.want("create", a, 201, "")
	sub, _ := a.body["sub"].(string)
	if sub == "" || a.body["username"] != "Eve" || fmt.Sprint(a.body["scopes"]) != "[read]" || a.body["disabled"] != false || strings.Contains(a.raw, "argon2") {
		t.Errorf("created: got %s", a.raw)
	}
	taken := r.send("POST", "/admin/users", admin, object{"username": "EVE", "password": "x"})
	if r.want("create again", taken, 409, "invalid_request"); taken.Description != "the name is taken" {
		t.Errorf("got %q", taken.Description)
	}
	r.want("the first password", r.tryLogin("eve", "first"), 200, "")
	at := "/admin/users/" + url.PathEscape(sub)
	if got := r.with("GET", at, admin); got.status != 200 || got.body["username"] != "Eve" {
		t.Errorf("get: got %d %s", got.status, got.raw)
	}

	s := r.tryLogin("eve", "first")
	d := r.send("POST", at+"/disable", admin, object{"reason": "fraud 4711", "txn": "case-4711"})
	if r.want("disable", d, 200, ""); d.body["disabled"] != true || d.ID == "" || d.Sequence == 0 || d.body["txn"] != "case-4711" {
		t.Errorf("disable: got %s", d.raw)
	}
	r.dead("an access token of the disabled user", s.Access)
	r.want("refresh while disabled", r.refresh(s.Refresh), 400, "invalid_grant")
	r.want("login while disabled", r.tryLogin("eve", "first"), 403, "access_denied")
	r.want("a wrong password while disabled", r.tryLogin("eve", "second"), 401, "invalid_credentials")
	recorded := slices.IndexFunc(r.statements(), func(s events.Revocation) bool { return s.ID == d.ID })
	if recorded < 0 {
		t.Fatalf("%s is not on record", d.ID)
	}
	if s := r.statements()[recorded]; s.Scope != events.Subject || s.Key != sub || s.By != "admin" || s.Actor != root.Sub || s.Reason != "fraud 4711" || s.Txn != "case-4711" {
		t.Errorf("on record: got %+v", s)
	}
	e := r.send("POST", at+"/enable", admin, object{"reason": "cleared"})
	if r.want("enable", e, 200, ""); e.body["disabled"] != false || e.ID != "" {
		t.Errorf("enable: got %s", e.raw)
	}
	r.dead("an old access token of the enabled user", s.Access)
	r.want("an old refresh token", r.refresh(s.Refresh), 400, "invalid_grant")
	s = r.tryLogin("eve", "first")
	r.alive("a new one", s.Access)

	r.want("password", r.send("POST", at+"/password", admin, object{"password": "second"}), 200, "")
	r.dead("after a new password", s.Access)
	r.want("the old password", r.tryLogin("eve", "first"), 401, "invalid_credentials")
	s = r.tryLogin("eve", "second")
	r.alive("the new password", s.Access)

	r.want("more scopes", r.send("POST", at+"/scopes", admin, object{"scopes": []string{"read", "write"}}), 200, "")
	r.alive("with more scopes", s.Access)
	r.want("fewer scopes", r.send("POST", at+"/scopes", admin, object{"scopes": []string{"write"}}), 200, "")
	r.dead("with a scope that was taken", s.Access)
	if s = r.tryLogin("eve", "second"); s.Scope != "write" {
		t.Errorf("got scope %q, want write", s.Scope)
	}
	added := r.send("POST", at+"/scopes", admin, object{"add": []string{"read", "write", "read"}, "remove": []string{"never had"}})
	if r.want("add", added, 200, ""); added.ID != "" || !reflect.DeepEqual(added.body["scopes"], []any{"write", "read"}) {
		t.Errorf("add: got %s, want write and read, and nothing ended", added.raw)
	}
	r.alive("with an added scope", s.Access)
	if next := r.refresh(s.Refresh); next.Scope != "write" {
		t.Errorf("after a refresh: got scope %q, want write: an added one comes with a login", next.Scope)
	}
	s = r.tryLogin("eve", "second")
	lost := r.send("POST", at+"/scopes", admin, object{"remove": []string{"write"}, "add": []string{"audit"}, "reason": "moved"})
	if r.want("remove", lost, 200, ""); lost.ID == "" || !reflect.DeepEqual(lost.body["scopes"], []any{"read", "audit"}) {
		t.Errorf("remove: got %s, want read and audit, and every session ended", lost.raw)
	}
	r.dead("with a removed scope", s.Access)
	r.want("its session", r.refresh(s.Refresh), 400, "invalid_grant")
	empty := r.send("POST", at+"/scopes", admin, object{"scopes": []string{}})
	if r.want("empty", empty, 200, ""); empty.ID == "" || len(empty.body["scopes"].([]any)) != 0 {
		t.Errorf("empty: got %s, want no scopes, and every session ended", empty.raw)
	}
}

// TestAdminUsersRefuses what is wrong, and everybody who may not.
func TestAdminUsersRefuses(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	root := r.user("root", issuer.ScopeAdmin)
	ann := r.user("ann")
	r.user("fraud", issuer.ScopeRevoke)
	admin, user, system := r.login("root").Access, r.login("ann").Access, r.login("fraud").Access
	before := len(r.statements())
	for _, c := range []struct {
		method, path, token string
		body                any
		status              int
		code, want          string
	}{
		{"POST", "/admin/users", admin, object{"username": "x"}, 400, "invalid_request", "password: is required"},
		{"POST", "/admin/users", admin, object{"username": "x", "password": ""}, 400, "invalid_request", "password: must be 1 to 1024 bytes"},
		{"POST", "/admin/users", admin, object{"username": " x", "password": "p"}, 400, "invalid_request", "username: begins or ends with space"},
		{"POST", "/admin/users", admin, object{"username": "x", "password": "p", "scopes": "read"}, 400, "invalid_request", "scopes: must be an array of strings"},
		{"POST", "/admin/users", admin, object{"username": "x", "password": "p", "scopes": []string{"a b"}}, 400, "invalid_request", "scopes: has a member"},
		{"POST", "/admin/users", admin, object{"username": "x", "password": "p", "admin": true}, 400, "invalid_request", "unknown member, there are username"},
		{"POST", "/admin/users", user, object{"username": "x", "password": "p"}, 403, "insufficient_scope", "quash.admin"},
		{"POST", "/admin/users", system, object{"username": "x", "password": "p"}, 403, "insufficient_scope", "quash.admin"},
		{"POST", "/admin/users", "", object{"username": "x", "password": "p"}, 401, "invalid_token", ""},
		{"POST", "/admin/users/nobody/disable", admin, object{}, 404, "invalid_request", "no such user"},
		{"POST", "/admin/users/" + ann.Sub + "/delete", admin, object{}, 404, "invalid_request", "no such endpoint"},
		{"POST", "/admin/users/" + ann.Sub + "/disable", user, object{}, 403, "insufficient_scope", ""},
		{"POST", "/admin/users/" + ann.Sub + "/enable", system, object{}, 403, "insufficient_scope", ""},
		{"POST", "/admin/users/" + ann.Sub + "/password", system, object{"password": "p"}, 403, "insufficient_scope", ""},
		{"POST", "/admin/users/" + root.Sub + "/disable", system, object{}, 403, "insufficient_scope", ""},
		{"POST", "/admin/users/" + ann.Sub + "/password", admin, object{}, 400, "invalid_request", "password: is required"},
		{"POST", "/admin/users/" + ann.Sub + "/scopes", admin, object{}, 400, "invalid_request", "scopes: is required, or add and remove"},
		{"POST", "/admin/users/" + ann.Sub + "/scopes", admin, object{"scopes": []string{"a"}, "add": []string{"b"}}, 400, "invalid_request", "send one or the other"},
		{"POST", "/admin/users/" + ann.Sub + "/scopes", admin, object{"remove": []string{"a"}, "add": []string{"a"}}, 400, "invalid_request", "in remove as well"},
		{"POST", "/admin/users/" + ann.Sub + "/scopes", admin, object{"add": []string{"a b"}}, 400, "invalid_request", "scopes: has a member"},
		{"POST", "/admin/users/" + ann.Sub + "/scopes", admin, object{"add": "a"}, 400, "invalid_request", "add: must be an array of strings"},
		{"POST", "/admin/users/" + ann.Sub + "/scopes", system, object{"add": []string{"a"}}, 403, "insufficient_scope", "quash.admin"},
		{"POST", "/admin/users/" + ann.Sub + "/password", admin, object{"password": strings.Repeat("p", 1025)}, 400, "invalid_request", "password: must be 1 to 1024 bytes"},
		{"POST", "/admin/users/" + ann.Sub + "/disable", admin, object{"reason": 1}, 400, "invalid_request", "reason: must be a string"},
		{"POST", "/admin/users/" + ann.Sub + "/disable", admin, object{"reason": strings.Repeat("x", 5000)}, 400, "invalid_request", "reason"},
		{"GET", "/admin/users/" + ann.Sub + "/disable", admin, nil, 405, "invalid_request", ""},
		{"DELETE", "/admin/users/" + ann.Sub, admin, nil, 405, "invalid_request", ""},
		{"GET", "/admin/users?limit=0", admin, nil, 400, "invalid_request", "limit"},
		{"GET", "/admin/users?cursor=*", admin, nil, 400, "invalid_request", "cursor"},
		{"GET", "/admin/users?name=x", admin, nil, 400, "invalid_request", "unknown parameter"},
		{"GET", "/admin/users", system, nil, 403, "insufficient_scope", ""},
		{"GET", "/admin/users/nobody", admin, nil, 404, "invalid_request", "no such user"},
	} {
		var a answer
		if c.method == "POST" {
			a = r.send(c.method, c.path, c.token, c.body)
		} else {
			a = r.with(c.method, c.path, c.token)
		}
		if r.want(fmt.Sprint(c.method, c.path, c.body), a, c.status, c.code); !strings.Contains(a.Description, c.want) {
			t.Errorf("%s %s %v: got %q, want %q", c.method, c.path, c.body, a.Description, c.want)
		}
	}
	if n := len(r.statements()) - before; n != 0 {
		t.Errorf("got %d statements, want none: %+v", n, r.statements()[before:])
	}
	r.alive("ann", user)
	r.want("a system disables a plain user", r.send("POST", "/admin/users/"+ann.Sub+"/disable", system, object{}), 200, "")
	r.dead("ann", user)
}

// TestAdminUsersPages in the order of names, each user once.
func TestAdminUsersPages(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL())
	r.user("root", issuer.ScopeAdmin)
	admin := r.login("root").Access
	want := []string{"root"}
	for n := range 24 {
		name := fmt.Sprintf("%s-%d", []string{"ann", "BOB", "Zoë"}[n%3], n)
		if _, err := r.Users().Create(within(t), issuer.User{Sub: fmt.Sprint(n), Name: name, Created: time.Now()}); err != nil {
			t.Fatal(err)
		}
		want = append(want, name)
	}
	slices.SortFunc(want, func(a, b string) int { return strings.Compare(issuer.FoldName(a), issuer.FoldName(b)) })
	for _, limit := range []int{1, 7, 24, 25, 1000} {
		var got []string
		pages, cursor := 0, ""
		for {
			a := r.with("GET", fmt.Sprintf("/admin/users?limit=%d&cursor=%s", limit, cursor), admin)
			if a.status != 200 {
				t.Fatalf("limit %d: got %d %s", limit, a.status, a.raw)
			}
			pages++
			for _, u := range a.body["users"].([]any) {
				got = append(got, u.(object)["username"].(string))
			}
			var more bool
			if cursor, more = a.body["next"].(string); !more {
				break
			}
		}
		if !slices.Equal(got, want) || pages != (len(want)+limit-1)/limit {
			t.Errorf("limit %d: got %q on %d pages, want %q", limit, got, pages, want)
		}
	}
	one := r.with("GET", "/admin/users?username=bob-1", admin)
	if us := one.body["users"].([]any); len(us) != 1 || us[0].(object)["username"] != "BOB-1" {
		t.Errorf("by name: got %s", one.raw)
	}
	if none := r.with("GET", "/admin/users?username=nobody", admin); none.status != 200 || len(none.body["users"].([]any)) != 0 {
		t.Errorf("by a name of nobody: got %d %s", none.status, none.raw)
	}
}

// TestOwnPassword: the user changes it herself, and everything she was logged in to ends.
func TestOwnPassword(t *testing.T) {
	t.Parallel()
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.LoginBurst, c.LoginEvery = 3, time.Hour })
	u := r.user("ann")
	s, phone := r.login("ann"), r.login("ann")
	change := func(token, current, next string) answer {
		return r.send("POST", "/password", token, object{"current_password": current, "new_password": next})
	}
	r.want("without a token", change("", password, "n"), 401, "invalid_token")
	r.want("without a new one", change(s.Access, password, ""), 400, "invalid_request")
	r.want("the same", change(s.Access, password, password), 400, "invalid_request")
	r.want("too long", change(s.Access, password, strings.Repeat("x", 1025)), 400, "invalid_request")
	r.want("the wrong current one", change(s.Access, "guess", "next"), 403, "invalid_credentials")
	r.alive("after refusals", phone.Access)
	r.want("right", change(s.Access, password, "next"), 200, "")
	r.dead("this session", s.Access)
	r.dead("another one", phone.Access)
	r.want("refresh", r.refresh(phone.Refresh), 400, "invalid_grant")
	r.want("the old password", r.tryLogin("ann", password), 401, "invalid_credentials")
	last := r.statements()[len(r.statements())-1]
	if last.Scope != events.Subject || last.Key != u.Sub || last.By != "user" || last.Actor != u.Sub || last.Reason != "password changed" {
		t.Errorf("on record: got %+v", last)
	}
	s = r.tryLogin("ann", "next")
	r.want("guess", change(s.Access, "guess", "x"), 403, "invalid_credentials")
	r.want("guessing with a stolen token", change(s.Access, "next", "x"), 429, "temporarily_unavailable")
}

func FuzzMembers(f *testing.F) {
	for _, s := range []string{`{"reason":"r","scopes":["a"]}`, `{"reason":1}`, `{}`, `[]`, ``, `{"reason":"a","reason":"b"}`, `{"scopes":null}`, `{"on":true}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		reason, scopes, on, err := issuer.ParseMembers(body)
		if err != nil {
			return
		}
		var std struct {
			Reason string
			Scopes []string
			On     bool
		}
		if err := json.Unmarshal(body, &std); err != nil || std.Reason != reason || !slices.Equal(std.Scopes, scopes) || std.On != on {
			t.Errorf("%q: got %q %q %v, encoding/json says %+v %v", body, reason, scopes, on, std, err)
		}
	})
}
