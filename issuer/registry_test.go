package issuer_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
)

// clientsFile is a registry file that a test rewrites.
type clientsFile struct {
	t    testing.TB
	path string
}

func newClientsFile(t testing.TB, clients ...string) *clientsFile {
	f := &clientsFile{t, filepath.Join(t.TempDir(), "clients.json")}
	f.write(clients...)
	return f
}

func (f *clientsFile) write(clients ...string) {
	f.t.Helper()
	f.raw(`{"clients":[` + strings.Join(clients, ",") + `]}`)
}

func (f *clientsFile) raw(text string) {
	f.t.Helper()
	next := f.path + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(next, f.path); err != nil {
		f.t.Fatal(err)
	}
}

const (
	appOn  = `{"client_id":"app","public":true}`
	appOff = `{"client_id":"app","public":true,"disabled":true}`
	other  = `{"client_id":"other","public":true}`
)

func (r *rig) loginAt(client string) answer {
	r.t.Helper()
	return r.do(r.request("POST", "/login", jsonType, `{"username":"ann","password":"`+password+`","client_id":"`+client+`"}`))
}

func (r *rig) refreshAt(client, token string) answer {
	return r.form("/token", "grant_type", "refresh_token", "refresh_token", token, "client_id", client)
}

func (r *rig) reload() {
	r.t.Helper()
	if err := r.Reload(within(r.t)); err != nil {
		r.t.Fatal(err)
	}
}

// ends waits until a token is dead on this replica: its statement arrives by the stream.
func (r *rig) ends(what, access string) {
	r.t.Helper()
	until(r.t, what, func() bool { return issuer.Covered(r.Issuer, access) })
}

func (r *rig) wantStatements(what, client string, n int) {
	r.t.Helper()
	if got := r.published(events.Client, client); got != n {
		r.t.Errorf("%s: got %d statements on %s, want %d", what, got, client, n)
	}
}

// TestS8_DisabledClient: disabling a client ends its tokens and no others, by one statement however many replicas see it, and
// enabling it lets new ones work.
func TestS8_DisabledClient(t *testing.T) {
	t.Parallel()
	nats := server(t)
	f := newClientsFile(t, appOn, other)
	a := start(t, nats.URL(), func(c *issuer.Config) { c.ClientsFile = f.path })
	b := startWith(t, nats.URL(), a.cfg)
	a.user("ann")
	for round := 1; round <= 2; round++ {
		old, foreign := a.loginAt("app"), a.loginAt("other")
		a.want("login", old, 200, "")
		f.write(appOff, other)
		a.reload()
		b.reload()
		a.ends("a token of app", old.Access)
		b.ends("a token of app on the other replica", old.Access)
		for _, r := range []*rig{a, b} {
			r.dead("a token of app", old.Access)
			r.alive("a token of the other client", foreign.Access)
			r.want("login at app", r.loginAt("app"), 400, "invalid_client")
			r.want("refresh at app", r.refreshAt("app", old.Refresh), 400, "invalid_client")
			r.want("refresh without a client", r.refresh(old.Refresh), 400, "invalid_grant")
		}
		a.want("refresh at the other client", a.refreshAt("other", foreign.Refresh), 200, "")
		a.wantStatements("both replicas reloaded", "app", round)
		f.raw(`{ "clients": [` + appOff + `,` + other + `] }`) // another text, the same clients
		a.reload()
		b.reload()
		a.wantStatements("reloaded again", "app", round)

		f.write(appOn, other)
		b.reload()
		a.reload()
		fresh := b.loginAt("app")
		b.want("login after enabling", fresh, 200, "")
		a.alive("the new token", fresh.Access)
		a.dead("the old token", old.Access)
		a.want("the old refresh token", a.refreshAt("app", old.Refresh), 400, "invalid_grant")
		a.wantStatements("enabled", "app", round)
	}
	a.wantStatements("the other client", "other", 0)
	for _, s := range a.statements() {
		if s.By != "policy" || s.Reason != "client disabled" {
			t.Errorf("got a statement by %q because %q, want by policy, client disabled", s.By, s.Reason)
		}
	}
}

// TestS8_RemovedClient: also if no replica was running when it was taken out.
func TestS8_RemovedClient(t *testing.T) {
	t.Parallel()
	nats := server(t)
	f := newClientsFile(t, appOn, other)
	r := start(t, nats.URL(), func(c *issuer.Config) { c.ClientsFile = f.path })
	r.user("ann")
	until(t, "app on record", func() bool { on, err := issuer.ClientOn(t.Context(), r.Issuer, "app"); return err == nil && on })
	app, kept := r.loginAt("app"), r.loginAt("other")
	r.stop()
	f.write(other)
	r = startWith(t, nats.URL(), r.cfg)
	until(t, "the statement", func() bool { return r.published(events.Client, "app") == 1 })
	r.want("login at app", r.loginAt("app"), 400, "invalid_client")
	r.want("refresh at app", r.refresh(app.Refresh), 400, "invalid_grant")
	r.dead("a token of app", app.Access)
	r.alive("a token of the other client", kept.Access)
	r.stop()
	r = startWith(t, nats.URL(), r.cfg)
	r.reload()
	r.wantStatements("after one more start", "app", 1)
}

// TestS8_LateReplica: a replica whose file came late gave out tokens after the statement; they die when it learns.
func TestS8_LateReplica(t *testing.T) {
	t.Parallel()
	nats := server(t)
	fa, fb := newClientsFile(t, appOn), newClientsFile(t, appOn)
	a := start(t, nats.URL(), func(c *issuer.Config) { c.ClientsFile = fa.path })
	cfg := a.cfg
	cfg.ClientsFile = fb.path
	b := startWith(t, nats.URL(), cfg)
	a.user("ann")
	a.reload()
	b.reload()
	fa.write(appOff)
	a.reload()
	a.wantStatements("the first replica", "app", 1)
	late := b.loginAt("app") // waits for the second after the statement
	b.want("login at the late replica", late, 200, "")
	if issuer.Covered(b.Issuer, late.Access) {
		t.Fatal("the late token is covered already, so nothing is left to test")
	}
	fb.write(appOff)
	b.reload()
	b.ends("the late token", late.Access)
	b.wantStatements("the late replica", "app", 2)
}

// TestS8_CrashWhileDisabling: another replica finishes the statement, with its ID, and be it a second later.
func TestS8_CrashWhileDisabling(t *testing.T) {
	t.Parallel()
	nats := server(t)
	fa, fb := newClientsFile(t, appOn), newClientsFile(t, appOn) // b must not look at it before a has crashed
	c := &stopped{at: time.Now()}
	a := start(t, nats.URL(), func(cfg *issuer.Config) { cfg.ClientsFile, cfg.Now, cfg.MaxStaleness = fa.path, c.now, time.Hour })
	cfg := a.cfg
	cfg.ClientsFile = fb.path
	b := startWith(t, nats.URL(), cfg)
	a.user("ann")
	s := a.loginAt("app")
	for _, step := range []string{"client", "ending", "publish", "published"} {
		fa.write(appOn)
		fb.write(appOn)
		a.reload()
		b.reload()
		before := a.published(events.Client, "app")
		crash := errors.New("crash")
		issuer.SetFault(a.Issuer, func(at string) error {
			if at == step {
				return crash
			}
			return nil
		})
		fa.write(appOff)
		if err := a.Reload(within(t)); !errors.Is(err, crash) {
			t.Fatalf("%s: got %v, want the crash", step, err)
		}
		c.set(c.now().Add(time.Second))
		fb.write(appOff)
		b.reload()
		b.wantStatements(step, "app", before+1)
		b.ends(step, s.Access)
		issuer.SetFault(a.Issuer, nil)
		a.reload()
		a.wantStatements(step+", and the first one again", "app", before+1)
	}
}

// TestClientsFile: what is read is what is served, and a bad file changes nothing.
func TestClientsFile(t *testing.T) {
	t.Parallel()
	l := &logs{}
	f := newClientsFile(t, appOn)
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.ClientsFile, c.Logger = f.path, l.logger() })
	r.user("ann")
	r.want("login at app", r.loginAt("app"), 200, "")
	r.want("login at the first client", r.tryLogin("ann", password), 200, "")
	r.want("login at a stranger", r.loginAt("other"), 400, "invalid_client")
	f.raw(`{"clients":[`)
	for range 2 {
		if err := r.Reload(within(t)); !errors.Is(err, issuer.ErrConfig) || !strings.Contains(err.Error(), f.path) {
			t.Errorf("a bad file: got %v, want ErrConfig naming the file", err)
		}
	}
	if n := strings.Count(l.String(), "cannot be used"); n != 1 {
		t.Errorf("a bad file was logged %d times, want once", n)
	}
	r.want("login at app with a bad file", r.loginAt("app"), 200, "")
	if s := r.Stats(); s.ClientsFileProblem == "" || s.Clients != 1 {
		t.Errorf("got stats %+v, want a problem and one client", s)
	}
	if err := r.Ready(); err != nil {
		t.Errorf("a bad file after a good one: got %v, want ready", err)
	}
	f.write(appOn, other)
	until(t, "the good file is noticed", func() bool { return r.loginAt("other").status == 200 })
	r.reload() // whoever has noticed it is done
	if s := r.Stats(); s.ClientsFileProblem != "" || s.Clients != 2 {
		t.Errorf("got stats %+v, want no problem and two clients", s)
	}
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(within(t)); !errors.Is(err, issuer.ErrConfig) {
		t.Errorf("no file: got %v, want ErrConfig", err)
	}
	r.want("login without a file", r.loginAt("other"), 200, "")
	r.wantStatements("no file", "app", 0)
}

// TestClientsFileAtStart: an issuer does not start without its clients.
func TestClientsFileAtStart(t *testing.T) {
	nats := natstest.Start(t)
	f := newClientsFile(t)
	f.raw(`{"clients":[{"client_id":"app"}]}`)
	_, err := issuer.New(t.Context(), issuer.Config{Issuer: iss, Audience: []string{"api"}, Conn: nats.Connect(t), EnsureStream: true,
		KeysDir: filepath.Join(t.TempDir(), "keys"), ClientsFile: f.path})
	if !errors.Is(err, issuer.ErrConfig) || !strings.Contains(err.Error(), "client_secret_hash") {
		t.Errorf("got %v, want ErrConfig naming client_secret_hash", err)
	}
}

// TestParseClients: the file's members, and what is refused.
func TestParseClients(t *testing.T) {
	hash := issuer.HashSecret("s")
	all := `{"clients":[{"client_id":"web","client_name":"Wéb","client_secret_hash":"` + hash + `","public":false,"disabled":true,
		"redirect_uris":["https://web.example/cb"],"grant_types":["authorization_code","refresh_token","client_credentials"],
		"scope":"read write","audience":["a","b"],"introspects":["a"]},{"client_id":"app","public":true,"audience":"one"}]}`
	got, err := issuer.ParseClients([]byte(all))
	if err != nil || len(got) != 2 {
		t.Fatalf("got %d clients %v, want 2", len(got), err)
	}
	c := got[0]
	if c.ID != "web" || c.Name != "Wéb" || c.SecretHash != hash || c.Public || !c.Disabled || len(c.RedirectURIs) != 1 || len(c.Grants) != 3 ||
		len(c.Scopes) != 2 || c.Scopes[1] != "write" || len(c.Audience) != 2 || len(c.Introspects) != 1 || got[1].Audience[0] != "one" {
		t.Errorf("got %+v", got)
	}
	for name, text := range map[string]string{
		"no object":      `[]`,
		"no clients":     `{}`,
		"unknown":        `{"clients":[],"x":1}`,
		"unknown member": `{"clients":[{"client_id":"a","public":true,"x":1}]}`,
		"twice":          `{"clients":[{"client_id":"a","public":true},{"client_id":"a","public":true}]}`,
		"member twice":   `{"clients":[{"client_id":"a","client_id":"b","public":true}]}`,
		"plain secret":   `{"clients":[{"client_id":"a","client_secret":"hunter2"}]}`,
		"wrong type":     `{"clients":[{"client_id":"a","public":"true"}]}`,
		"bad client":     `{"clients":[{"client_id":"a","public":true,"grant_types":["password"]}]}`,
		"trailing":       `{"clients":[]} x`,
	} {
		if _, err := issuer.ParseClients([]byte(text)); err == nil {
			t.Errorf("%s: got no error", name)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error holds the secret: %v", name, err)
		}
	}
}

// TestS8_DisabledMeanwhile: a login that began before gets no token after, even if it sees no statement yet.
func TestS8_DisabledMeanwhile(t *testing.T) {
	t.Parallel()
	f := newClientsFile(t, appOn)
	r := start(t, server(t).URL(), func(c *issuer.Config) { c.ClientsFile = f.path })
	r.user("ann")
	r.reload()
	issuer.SetFault(r.Issuer, func(at string) error {
		switch at {
		case "client": // nothing is published
			return errCrash
		case "session":
			f.write(appOff)
			if err := r.Reload(within(t)); !errors.Is(err, errCrash) {
				t.Errorf("reload: got %v, want the crash", err)
			}
		}
		return nil
	})
	r.want("login", r.loginAt("app"), 400, "invalid_client")
	r.wantStatements("while nothing is published", "app", 0)
	issuer.SetFault(r.Issuer, nil)
	r.reload()
	r.wantStatements("in the end", "app", 1)
}
