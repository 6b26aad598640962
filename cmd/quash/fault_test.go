package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/internal/ports"
)

// foreignAPI is "quash api" as a process, for tokens of an identity provider from
// a JWK Set file.
type foreignAPI struct {
	t       *testing.T
	idp     *foreignKey
	jwks    string
	address string
	nats    string
	flags   []string
	process *process
}

func newForeignAPI(t *testing.T, natsURL string) *foreignAPI {
	t.Helper()
	idp, err := newForeignKey()
	if err != nil {
		t.Fatal(err)
	}
	set, err := idp.jwks()
	if err != nil {
		t.Fatal(err)
	}
	f := &foreignAPI{t: t, idp: idp, jwks: filepath.Join(t.TempDir(), "jwks.json"), nats: natsURL}
	if err := os.WriteFile(f.jwks, set, 0o600); err != nil {
		t.Fatal(err)
	}
	if f.address, err = ports.Address(); err != nil {
		t.Fatal(err)
	}
	f.start()
	return f
}

func (f *foreignAPI) start() {
	f.t.Helper()
	f.process = startQuash(f.t, append([]string{"api", "--listen", f.address, "--issuer", foreignIssuer, "--jwks", f.jwks, "--nats", f.nats}, f.flags...)...)
}

func (f *foreignAPI) token(session string) string {
	f.t.Helper()
	token, err := f.idp.mint(session)
	if err != nil {
		f.t.Fatal(err)
	}
	return token
}

// expect waits until the path answers with the status.
func (f *foreignAPI) expect(status int, path, token string) {
	f.t.Helper()
	if err := waitStatus("http://"+f.address+path, token, status); err != nil {
		f.t.Fatal(err)
	}
}

// publisher is a business system on the same NATS, with the stream in place.
func publisher(t *testing.T, url string) *events.Publisher {
	t.Helper()
	conn, err := events.Connect(events.ConnectConfig{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := poll(ctx, func() error {
		_, err := events.EnsureStream(ctx, js, events.Layout{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	p, err := events.NewPublisher(events.PublisherConfig{Conn: conn})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func revoke(t *testing.T, p *events.Publisher, session string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := p.Publish(ctx, events.Revocation{Issuer: foreignIssuer, Scope: events.Session, Key: session}); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

// TestPeerBug03_RestartKeepsState kills an API node without warning: the new one
// remembers nothing, and still lets no revoked token in at any moment.
func TestPeerBug03_RestartKeepsState(t *testing.T) {
	t.Parallel()
	broker := natstest.StartProcess(t, t.TempDir(), 0)
	pub := publisher(t, broker.URL())
	api := newForeignAPI(t, broker.URL())
	revoked, living := api.token("a"), api.token("b")
	api.expect(http.StatusOK, "/secure", revoked)
	revoke(t, pub, "a")
	api.expect(http.StatusUnauthorized, "/secure", revoked)

	for range 3 {
		api.process.kill()
		thief := startThief("http://"+api.address+"/secure", []string{revoked})
		api.start()
		api.expect(http.StatusOK, "/secure", living)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := thief.callOn(ctx, 20)
		cancel()
		_ = thief.task.stop() // it has no error of its own
		if err != nil {
			t.Fatal(err)
		}
		if thief.accepted > 0 || thief.refused == 0 {
			t.Fatalf("of %d calls with a revoked token %d were accepted, %d refused", thief.calls.Load(), thief.accepted, thief.refused)
		}
	}
}

// TestKill_brokerRightAfterAck: what NATS has acknowledged survives its SIGKILL.
func TestKill_brokerRightAfterAck(t *testing.T) {
	t.Parallel()
	broker := natstest.StartProcess(t, t.TempDir(), 0)
	pub := publisher(t, broker.URL())
	api := newForeignAPI(t, broker.URL())
	api.expect(http.StatusOK, "/readyz", "")
	for i := range 3 {
		session := fmt.Sprintf("s%d", i)
		revoke(t, pub, session)
		broker.Kill()
		broker.Restart(t)
	}
	for i := range 3 {
		api.expect(http.StatusUnauthorized, "/secure", api.token(fmt.Sprintf("s%d", i)))
	}
	// And a node that was not there learns all of it before it accepts anything.
	second := newForeignAPI(t, broker.URL())
	second.idp, second.jwks = api.idp, api.jwks
	second.process.kill()
	second.start()
	second.expect(http.StatusOK, "/readyz", "")
	for i := range 3 {
		second.expect(http.StatusUnauthorized, "/secure", api.token(fmt.Sprintf("s%d", i)))
	}
}

// TestPeerBug20_HearsAfterBrokerRestart: a node that lives through a restart of
// the broker is not deaf afterwards.
func TestPeerBug20_HearsAfterBrokerRestart(t *testing.T) {
	t.Parallel()
	broker := natstest.StartProcess(t, t.TempDir(), 0)
	pub := publisher(t, broker.URL())
	api := newForeignAPI(t, broker.URL())
	token := api.token("a")
	api.expect(http.StatusOK, "/secure", token)
	for range 2 {
		broker.Kill()
		broker.Restart(t)
	}
	api.expect(http.StatusOK, "/secure", token)
	revoke(t, pub, "a")
	api.expect(http.StatusUnauthorized, "/secure", token)
}

// TestPeerBug04_NotReadyBeforeFirstLoad: neither without a broker nor without a
// stream does a node accept anything; the process runs on and heals.
func TestPeerBug04_NotReadyBeforeFirstLoad(t *testing.T) {
	t.Parallel()
	port := natstest.FreePorts(t, 1)[0]
	url := fmt.Sprintf("nats://127.0.0.1:%d", port)
	api := newForeignAPI(t, url)
	token := api.token("a")
	closed := func() {
		t.Helper()
		api.expect(http.StatusOK, "/livez", "")
		api.expect(http.StatusServiceUnavailable, "/readyz", "")
		api.expect(http.StatusServiceUnavailable, "/secure", token)
		api.expect(http.StatusServiceUnavailable, "/secure", api.token("never seen"))
	}
	closed()
	broker := natstest.StartProcess(t, t.TempDir(), port)
	closed()
	pub := publisher(t, broker.URL()) // creates the stream
	api.expect(http.StatusOK, "/readyz", "")
	api.expect(http.StatusOK, "/secure", token)
	revoke(t, pub, "a")
	api.expect(http.StatusUnauthorized, "/secure", token)
	if err := api.process.interrupt(); err != nil {
		t.Errorf("the end after an interrupt: %v", err)
	}
}

// TestIssuer_brokerAbsentAtStart: the issuer waits for NATS too, and then creates
// its first users.
func TestIssuer_brokerAbsentAtStart(t *testing.T) {
	t.Parallel()
	port := natstest.FreePorts(t, 1)[0]
	address, err := ports.Address()
	if err != nil {
		t.Fatal(err)
	}
	p := startQuash(t, "issuer", "--listen", address, "--nats", fmt.Sprintf("nats://127.0.0.1:%d", port), "--ensure-stream",
		"--keys-dir", t.TempDir(), "--user", "ada:correct, horse", "--admin-user", "root:battery:staple")
	for path, status := range map[string]int{"/livez": 200, "/readyz": 503, "/.well-known/jwks.json": 503} {
		if err := waitStatus("http://"+address+path, "", status); err != nil {
			t.Fatal(err)
		}
	}
	natstest.StartProcess(t, t.TempDir(), port)
	if err := waitStatus("http://"+address+"/readyz", "", http.StatusOK); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	c := patientClient("http://" + address)
	defer c.close()
	for _, u := range []struct {
		name, password string
		admin          bool
	}{{"ada", "correct, horse", false}, {"root", "battery:staple", true}} {
		got, err := c.login(ctx, u.name, u.password)
		if err != nil {
			t.Fatal(err)
		}
		a, err := c.revoke(ctx, got.Access, map[string]any{"scope": "session", "key": "whatever"})
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{false: http.StatusForbidden, true: http.StatusOK}[u.admin]; a.status != want {
			t.Errorf("POST /admin/revocations by %s answered %d instead of %d: %s", u.name, a.status, want, a.text())
		}
	}
	a, err := c.get(ctx, "http://"+address+"/metrics", "")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(a.body), "\nquash_issuer_open 1\n") || !strings.Contains(string(a.body), "\nquash_ready 1\n") {
		t.Errorf("metrics lack quash_issuer_open or quash_ready:\n%s", a.body)
	}
	if err := p.interrupt(); err != nil {
		t.Errorf("the end after an interrupt: %v", err)
	}
}

// TestUp_order: at the end everything stops before what it depends on.
func TestUp_order(t *testing.T) {
	t.Parallel()
	var addresses []string
	for range 3 {
		a, err := ports.Address()
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, a)
	}
	p := startQuash(t, "up", "--data-dir", t.TempDir(), "--listen", addresses[0], "--nats-listen", addresses[1],
		"--api-listen", addresses[2], "--log-level", "debug")
	if err := p.waitLine("^ready in "); err != nil {
		t.Fatal(err)
	}
	began, before := time.Now(), len(p.output()) // a node that needs a second to start says that as an error
	if err := p.interrupt(); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped after %v", time.Since(began))
	// Nobody lost its connection: NATS went last.
	if out := p.output()[before:]; strings.Contains(out, "connection to NATS lost") || strings.Contains(out, "level=ERROR") {
		t.Errorf("something ended before what it depends on:\n%s", out)
	}
}
