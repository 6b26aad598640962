package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
)

// reply is any answer. A connection that broke has status 0 and err.
type reply struct {
	status int
	header http.Header
	raw    string
	body   map[string]any // nil if it is not a JSON object
	err    error
}

// text is a member that is a string, or empty.
func (r reply) text(member string) string {
	s, _ := r.body[member].(string)
	return s
}

// code is the OAuth error.
func (r reply) code() string { return r.text("error") }

// seconds is a member that is a number.
func (r reply) seconds(member string) int64 {
	n, _ := r.body[member].(float64)
	return int64(n)
}

// session is what a login or a refresh gave.
type session struct {
	reply
	Access, Refresh, Sid string
}

func (r reply) session() session {
	return session{r, r.text("access_token"), r.text("refresh_token"), r.text("sid")}
}

// do sends a request to whatever URL it names; w.secret learns from both sides.
func (w *world) do(req *http.Request) reply {
	resp, err := w.client.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	return w.read(resp)
}

// read takes an answer and remembers what is secret in it.
func (w *world) read(resp *http.Response) reply {
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{err: err}
	}
	r := reply{status: resp.StatusCode, header: resp.Header, raw: string(text)}
	_ = json.Unmarshal(text, &r.body) // some answers are no JSON
	w.learn(r)
	return r
}

// request builds one with a body of the kind, which may be empty, and a bearer,
// which may be too.
func (f face) request(method, path, bearer, kind, body string) *http.Request {
	f.w.t.Helper()
	req, err := http.NewRequest(method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.w.t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	return req
}

// form posts name-value pairs, patiently.
func (f face) form(path string, pairs ...string) reply {
	f.w.t.Helper()
	return f.patient(func() reply { return f.formOnce(path, pairs...) })
}

func (f face) formOnce(path string, pairs ...string) reply {
	f.w.t.Helper()
	return f.w.do(f.request("POST", path, "", "application/x-www-form-urlencoded", f.w.values(pairs).Encode()))
}

// formAs is form with HTTP Basic authentication of a client.
func (f face) formAs(client, secret, path string, pairs ...string) reply {
	f.w.t.Helper()
	f.w.secret("client secret", secret)
	return f.patient(func() reply {
		req := f.request("POST", path, "", "application/x-www-form-urlencoded", f.w.values(pairs).Encode())
		req.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(secret))
		return f.w.do(req)
	})
}

func (w *world) values(pairs []string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
		switch pairs[i] {
		case "password", "client_secret", "code_verifier":
			w.secret(pairs[i], pairs[i+1])
		}
	}
	return v
}

// json sends a body, which may be empty, with a bearer, which may be too, patiently.
func (f face) json(method, path, bearer, body string) reply {
	f.w.t.Helper()
	return f.patient(func() reply { return f.jsonOnce(method, path, bearer, body) })
}

func (f face) jsonOnce(method, path, bearer, body string) reply {
	f.w.t.Helper()
	kind := ""
	if body != "" {
		kind = "application/json"
	}
	return f.w.do(f.request(method, path, bearer, kind, body))
}

func (f face) tryLogin(name, password string) reply {
	f.w.t.Helper()
	body, err := json.Marshal(map[string]string{"username": name, "password": password})
	if err != nil {
		f.w.t.Fatal(err)
	}
	return f.json("POST", "/login", "", string(body))
}

// patient asks again while the issuer says that it has not done it: a machine that stands still for some seconds is not what is tested.
func (f face) patient(ask func() reply) (r reply) {
	f.w.t.Helper()
	f.w.eventually("the issuer answers something but 503", func() bool { r = ask(); return r.status != 503 })
	return r
}

// login logs a user of this world in.
func (f face) login(name string) session {
	f.w.t.Helper()
	r := f.tryLogin(name, f.w.password(name))
	if r.status != 200 {
		f.w.t.Fatalf("login of %s: %s", name, r)
	}
	return r.session()
}

func (f face) tryRefresh(token string) reply {
	f.w.t.Helper()
	return f.form("/token", "grant_type", "refresh_token", "refresh_token", token)
}

func (f face) refresh(s session) session {
	f.w.t.Helper()
	r := f.tryRefresh(s.Refresh)
	if r.status != 200 {
		f.w.t.Fatalf("refresh: %s", r)
	}
	return r.session()
}

// String is for messages of tests: it holds no token, because an answer with one
// is 200.
func (r reply) String() string {
	if r.err != nil {
		return r.err.Error()
	}
	if r.status == 200 {
		return "200"
	}
	return fmt.Sprintf("%d %s %s", r.status, r.header.Get("WWW-Authenticate"), strings.TrimSpace(r.raw))
}

// admin is a bearer with the scope quash.admin.
func (w *world) admin() string {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bearer == "" {
		w.mu.Unlock()
		s := w.login(worldAdmin)
		w.mu.Lock()
		w.bearer = s.Access
	}
	return w.bearer
}

func (w *world) password(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.passwords[name]
}

// setPassword tells the world about a user that the test made, or a new password.
func (w *world) setPassword(name, password string) {
	w.secret("password of "+name, password)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.passwords[name] = password
}

// node is the URL of an API node.
func (w *world) node(k int) string { return w.nodes[k].url() }

// call asks an API node, without a token if there is none.
func (w *world) call(node int, token string) reply {
	w.t.Helper()
	return w.do(face{w, w.node(node)}.request("GET", "/secure", token, "", ""))
}

// wants waits until an API node answers a token so.
func (w *world) wants(node int, token string, status int) {
	w.t.Helper()
	var last reply
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := poll(ctx, func() error {
		if last = w.call(node, token); last.status != status {
			return fmt.Errorf("API node %d answers %s, want %d", node, last, status)
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

// statements are all that the stream holds.
func (w *world) statements() []events.Revocation {
	w.t.Helper()
	var all []events.Revocation
	w.messages(events.StreamName, func(m *jetstream.RawStreamMsg) {
		if m.Subject == events.SubjectBeacon {
			return
		}
		r, err := events.Decode(m.Data)
		if err != nil {
			w.t.Errorf("a statement: %v", err)
			return
		}
		all = append(all, r)
	})
	return all
}

// messages reads a whole stream, or nothing if there is none.
func (w *world) messages(stream string, f func(*jetstream.RawStreamMsg)) {
	w.t.Helper()
	ctx := context.Background()
	js, err := jetstream.New(w.conn, jetstream.WithDefaultTimeout(patience)) // of each question: there may be many
	if err != nil {
		w.t.Error(err)
		return
	}
	s, err := js.Stream(ctx, stream)
	if err != nil {
		w.t.Errorf("stream %s: %v", stream, err)
		return
	}
	state := s.CachedInfo().State
	for n := max(state.FirstSeq, 1); n <= state.LastSeq; n++ { // 0: nothing was ever in it
		m, err := s.GetMsg(ctx, n)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			w.t.Errorf("message %d of %s: %v", n, stream, err)
			return
		}
		f(m)
	}
}
