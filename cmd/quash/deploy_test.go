package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/internal/ports"
	"github.com/quash-auth/quash/issuer"
)

const deployDir = "../../deploy"

// rolePasswords are what deploy/example.env names.
var rolePasswords = map[string]string{
	"QUASH_NATS_OPERATOR_PASSWORD": "p-operator", "QUASH_NATS_ISSUER_PASSWORD": "p-issuer",
	"QUASH_NATS_PUBLISHER_PASSWORD": "p-publisher", "QUASH_NATS_VERIFIER_PASSWORD": "p-verifier",
	"QUASH_NATS_RECORDS_PASSWORD": "p-records",
}

// complaints collects what a server logs as a warning or an error.
type complaints struct {
	mu    sync.Mutex
	lines []string
}

func (c *complaints) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (c *complaints) WithAttrs([]slog.Attr) slog.Handler           { return c }
func (c *complaints) WithGroup(string) slog.Handler                { return c }
func (c *complaints) Handle(_ context.Context, r slog.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, r.Message)
	return nil
}

func (c *complaints) violations() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.lines), func(s string) bool { return !strings.Contains(s, "Violation") })
}

// shippedNATS runs deploy/nats/nats.conf as it is, but for addresses and paths of
// this machine.
func shippedNATS(t *testing.T) (url string, log *complaints) {
	t.Helper()
	for name, value := range rolePasswords {
		t.Setenv(name, value)
	}
	opts, err := server.ProcessConfigFile(filepath.Join(deployDir, "nats", "nats.conf"))
	if err != nil {
		t.Fatalf("the shipped configuration: %v", err)
	}
	if !opts.SyncAlways || !opts.JetStream || opts.StoreDir != "/data" {
		t.Errorf("the shipped configuration has sync always %v, JetStream %v, store %q", opts.SyncAlways, opts.JetStream, opts.StoreDir)
	}
	if !isLoopback(fmt.Sprintf("%s:%d", opts.HTTPHost, opts.HTTPPort)) {
		t.Errorf("the monitoring port listens on %s", opts.HTTPHost)
	}
	opts.Host, opts.Port, opts.HTTPPort, opts.StoreDir = "127.0.0.1", server.RANDOM_PORT, 0, t.TempDir()
	opts.NoSigs, opts.NoLog, opts.AuthTimeout = true, true, patience.Seconds() // clients here are as busy as this machine
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	log = &complaints{}
	srv.SetLoggerV2(&natsLog{log: slog.New(log)}, false, false, false)
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(patience) {
		t.Fatal("the server does not become ready")
	}
	return "nats://" + srv.Addr().String(), log
}

// as gives the flags of a role.
func as(role, url string) []string {
	return []string{"--nats", url, "--nats-user", role, "--nats-password", "p-" + role, "--nats-inbox", "_INBOX_" + role}
}

// TestDeploy_roles runs every part with the rights of its role and nothing else:
// the whole path works, and the server refuses nobody anything.
func TestDeploy_roles(t *testing.T) {
	url, log := shippedNATS(t)
	runQuash(t, append([]string{"stream", "ensure"}, as("operator", url)...))
	issuerAddress, err := ports.Address()
	if err != nil {
		t.Fatal(err)
	}
	apiAddress, err := ports.Address()
	if err != nil {
		t.Fatal(err)
	}
	issuerURL := "http://" + issuerAddress
	clients := newRegistry(t).add("app", map[string]any{"public": true}).add(demoClientID, map[string]any{"public": true})
	issuerArgs := append([]string{"issuer", "--listen", issuerAddress, "--clients", clients.path, "--keys-dir", t.TempDir(), "--user", "ada:lovelace", "--node", "issuer",
		"--ledger", filepath.Join(t.TempDir(), "ledger"), "--records-nats-user", "records", "--records-nats-password", "p-records", "--records-nats-inbox", "_INBOX_records"}, as("issuer", url)...)
	p := startQuash(t, issuerArgs...)
	api := startQuash(t, append([]string{"api", "--listen", apiAddress, "--issuer", issuerURL, "--node", "api"}, as("verifier", url)...)...)
	for _, u := range []string{issuerURL + "/readyz", "http://" + apiAddress + "/readyz"} {
		if err := waitStatus(u, "", http.StatusOK); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	c := patientClient(issuerURL)
	defer c.close()
	login := func() tokens {
		t.Helper()
		got, err := c.login(ctx, "ada", "lovelace")
		if err != nil {
			t.Fatal(err)
		}
		if err := waitStatus("http://"+apiAddress+"/secure", got.Access, http.StatusOK); err != nil {
			t.Fatal(err)
		}
		return got
	}
	first, second := login(), login()
	claims, err := claimsOf(first.Access)
	if err != nil {
		t.Fatal(err)
	}
	runQuash(t, append([]string{"revoke", "session", claims.Sid, "--iss", issuerURL, "--wait", "20s"}, as("publisher", url)...), "enforced on 2 of 2 nodes")
	if err := waitStatus("http://"+apiAddress+"/secure", first.Access, http.StatusUnauthorized); err != nil {
		t.Error(err)
	}
	if a, err := c.refresh(ctx, first.Refresh); err != nil || a.status != http.StatusBadRequest {
		t.Errorf("refresh of the revoked session: %d, %v", a.status, err)
	}
	if a, err := c.refresh(ctx, second.Refresh); err != nil || a.status != http.StatusOK {
		t.Errorf("refresh of the other session: %d, %v", a.status, err)
	}
	for _, role := range []string{"publisher", "operator"} {
		runQuash(t, append([]string{"status"}, as(role, url)...), "api ", "issuer ")
	}
	runQuash(t, append([]string{"stream", "check"}, as("operator", url)...))
	watch := startQuash(t, append([]string{"watch", "--all"}, as("operator", url)...)...)
	if err := watch.waitLine(claims.Sid); err != nil {
		t.Error(err)
	}
	clients.set("app", "disabled", true) // nothing more is needed to end a client's tokens
	if err := watch.waitLine(`client.*\bapp\b`); err != nil {
		t.Error(err)
	}
	// A restart reads what is stored: the same rights must do.
	api.kill()
	startQuash(t, append([]string{"api", "--listen", apiAddress, "--issuer", issuerURL, "--node", "api"}, as("verifier", url)...)...)
	if err := waitStatus("http://"+apiAddress+"/secure", first.Access, http.StatusUnauthorized); err != nil {
		t.Error(err)
	}
	p.kill()
	startQuash(t, issuerArgs...)
	if err := waitStatus(issuerURL+"/readyz", "", http.StatusOK); err != nil {
		t.Error(err)
	}
	if _, err := c.login(ctx, "ada", "lovelace"); err != nil {
		t.Error(err)
	}
	listUsers(t, issuerURL, url)
	if v := log.violations(); len(v) > 0 {
		t.Errorf("the server refused what a role needs:\n%s", strings.Join(v, "\n"))
	}
}

// listUsers does what needs a consumer on the issuer's bucket.
func listUsers(t *testing.T, issuerURL, natsURL string) {
	t.Helper()
	flags := natsFlags{NATS: natsURL, NATSUser: "issuer", NATSPass: "p-issuer", NATSInbox: "_INBOX_issuer"}
	conn, err := flags.connect("test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	own := recordsFlags{RecordsUser: "records", RecordsPass: "p-records", RecordsInbox: "_INBOX_records"}
	records, err := own.connect(&flags, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer records.Close()
	i, err := issuer.New(t.Context(), issuer.Config{Issuer: issuerURL, Audience: []string{"api"}, Conn: conn, Records: records, KeysDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	if err := i.Users().List(t.Context(), func(u issuer.User) bool {
		names = append(names, u.Name)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(names, []string{"ada"}) {
		t.Errorf("the users are %v", names)
	}
}

// TestPeerBug24_DeployRefusesWriters tries what each role must not do: nobody
// writes to the channel without being allowed to.
func TestPeerBug24_DeployRefusesWriters(t *testing.T) {
	url, _ := shippedNATS(t)
	runQuash(t, append([]string{"stream", "ensure"}, as("operator", url)...))
	if nc, err := nats.Connect(url, nats.MaxReconnects(0)); err == nil {
		nc.Close()
		t.Error("a connection without a user was let in")
	}
	if nc, err := nats.Connect(url, nats.UserInfo("verifier", "wrong"), nats.MaxReconnects(0)); err == nil {
		nc.Close()
		t.Error("a wrong password was let in")
	}
	write := []string{"quash.v1.session-revoked.session", "quash.v1.session-revoked.issuer", "quash.live.quash.v1.session-revoked.session"}
	alter := []string{
		"$JS.API.STREAM.DELETE.QUASH", "$JS.API.STREAM.PURGE.QUASH", "$JS.API.STREAM.UPDATE.QUASH", "$JS.API.STREAM.CREATE.QUASH",
		"$JS.API.STREAM.MSG.DELETE.QUASH", "$JS.API.STREAM.RESTORE.QUASH", "$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.SNAPSHOT.QUASH",
	}
	onces := []string{
		"quash.v1.once.a.b", "$JS.API.STREAM.DELETE.QUASH_ONCE", "$JS.API.STREAM.PURGE.QUASH_ONCE", "$JS.API.STREAM.UPDATE.QUASH_ONCE",
		"$JS.API.STREAM.MSG.DELETE.QUASH_ONCE", "$JS.API.DIRECT.GET.QUASH_ONCE", "$JS.API.CONSUMER.CREATE.QUASH_ONCE.x", "$JS.API.STREAM.CREATE.QUASH_ONCE",
	}
	noOnce := append([]string{"quash.v1.once.a", "$JS.API.STREAM.MSG.GET.QUASH_ONCE"}, onces...)
	store := []string{
		"$KV.QUASH_ISSUER.user", "$JS.API.DIRECT.GET.KV_QUASH_ISSUER", "$JS.API.STREAM.MSG.GET.KV_QUASH_ISSUER",
		"$JS.API.STREAM.DELETE.KV_QUASH_ISSUER", "$JS.API.CONSUMER.CREATE.KV_QUASH_ISSUER.x",
	}
	for _, role := range []struct {
		name      string
		publish   []string
		subscribe []string
	}{
		{"verifier", slices.Concat(write, alter, store, onces, []string{"quash.v1.fleet"}), []string{"_INBOX.>", "_INBOX_issuer.>", "quash.v1.>", ">", "$KV.>"}},
		{"publisher", slices.Concat(write[2:], alter, store, noOnce, []string{"quash.v1.beacon", "$JS.API.CONSUMER.CREATE.QUASH.x"}), []string{"_INBOX.>", "_INBOX_operator.>", "quash.live.>", "quash.v1.fleet", ">"}},
		{"issuer", slices.Concat(write[2:], alter, store, noOnce, []string{"quash.v1.fleet"}), []string{"_INBOX_operator.>", "$KV.>", ">"}},
		{"records", slices.Concat(write, alter, noOnce, []string{"$JS.API.STREAM.DELETE.KV_QUASH_ISSUER", "$JS.API.STREAM.PURGE.KV_QUASH_ISSUER", "quash.v1.fleet", "quash.v1.beacon"}), []string{"quash.live.>", "$KV.>", ">"}},
		{"operator", slices.Concat(write[2:], []string{"quash.v1.once.a", "quash.v1.beacon", "$KV.QUASH_ISSUER.user"}), []string{"_INBOX_issuer.>", "$KV.>", ">"}},
	} {
		t.Run(role.name, func(t *testing.T) {
			refused := make(chan error, 1)
			nc, err := nats.Connect(url, nats.UserInfo(role.name, "p-"+role.name), nats.CustomInboxPrefix("_INBOX_"+role.name), nats.Timeout(patience),
				nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			expect := func(what string) {
				t.Helper()
				select {
				case err := <-refused:
					if !errors.Is(err, nats.ErrPermissionViolation) {
						t.Errorf("%s: %v", what, err)
					}
				case <-time.After(patience):
					t.Errorf("%s was not refused", what)
				}
			}
			for _, subject := range role.publish {
				if err := nc.PublishRequest(subject, nc.NewInbox(), []byte("{}")); err != nil {
					t.Fatal(err)
				}
				expect("publishing " + subject)
			}
			for _, subject := range role.subscribe {
				if _, err := nc.SubscribeSync(subject); err != nil {
					t.Fatal(err)
				}
				expect("subscribing to " + subject)
			}
		})
	}
}

// TestDeploy_compose checks the compose file as far as that goes without an
// engine: each variable is a flag of the command it is given to or a name of
// example.env, each service named exists, each file mounted exists.
func TestDeploy_compose(t *testing.T) {
	t.Parallel()
	compose := readText(t, "../../docker-compose.yml")
	if strings.Contains(compose, "\t") {
		t.Error("YAML has no tabs")
	}
	var commands cli
	parser, err := kong.New(&commands, kong.Name("quash"), kong.DefaultEnvars("QUASH"),
		kong.Vars{"default_iss": defaultIssuerURL, "default_nats": defaultNATSURL})
	if err != nil {
		t.Fatal(err)
	}
	services := regexp.MustCompile(`(?m)^  ([a-z0-9-]+):`).FindAllStringSubmatch(compose, -1)
	var names []string
	for _, s := range services {
		names = append(names, s[1])
	}
	for _, want := range []string{"nats", "stream", "issuer-1", "issuer-2", "proxy", "api-1", "api-2"} {
		if !slices.Contains(names, want) {
			t.Errorf("no service %s", want)
		}
	}
	for _, d := range regexp.MustCompile(`(?m)^      ([a-z0-9-]+): \{condition`).FindAllStringSubmatch(compose, -1) {
		if !slices.Contains(names, d[1]) {
			t.Errorf("depends on %s, which is no service", d[1])
		}
	}
	unknown := []string{}
	for _, v := range regexp.MustCompile(`(?m)^      (QUASH_[A-Z_]+):`).FindAllStringSubmatch(compose, -1) {
		unknown = append(unknown, unknownVariables([]string{v[1] + "="}, parser.Model)...)
	}
	if len(unknown) > 0 {
		t.Errorf("no command reads %v", unknown)
	}
	example := readText(t, filepath.Join(deployDir, "example.env"))
	for _, v := range regexp.MustCompile(`\$\{([A-Z_]+)`).FindAllStringSubmatch(compose, -1) {
		if !strings.Contains(example, "\n"+v[1]+"=") {
			t.Errorf("deploy/example.env lacks %s", v[1])
		}
	}
	for _, path := range []string{"deploy/Dockerfile", "deploy/nats/nats.conf", "deploy/proxy/nginx.conf", "deploy/clients"} {
		if !strings.Contains(compose, path) {
			t.Errorf("does not name %s", path)
		}
		if _, err := os.Stat(filepath.Join("..", "..", path)); err != nil {
			t.Error(err)
		}
	}
	// Nothing is open to other machines unless somebody decides so.
	for _, p := range regexp.MustCompile(`(?m)^      - "([0-9.:]+)"$`).FindAllStringSubmatch(compose, -1) {
		if !strings.HasPrefix(p[1], "127.0.0.1:") {
			t.Errorf("port %s is published to other machines", p[1])
		}
	}
	docker := readText(t, filepath.Join(deployDir, "Dockerfile"))
	for _, want := range []string{"FROM scratch", "CGO_ENABLED=0", "USER 65532:65532", `ENTRYPOINT ["/quash"]`} {
		if !strings.Contains(docker, want) {
			t.Errorf("the Dockerfile lacks %s", want)
		}
	}
	if want := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(readText(t, "../../go.mod"))[1]; !strings.Contains(docker, "golang:"+want+"-") {
		t.Errorf("the Dockerfile does not build with Go %s, which go.mod asks for", want)
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
