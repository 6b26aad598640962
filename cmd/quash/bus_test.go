package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/quash-auth/quash/internal/ports"
)

// TestDeploy_production runs everything over TLS with an nkey for each process, and
// the rights of that and nothing else; the server refuses nobody anything. Then a
// node's key and the server's certificate are replaced while all of it runs.
func TestDeploy_production(t *testing.T) {
	s := secured(t)
	s.ensure()
	var addresses []string
	for range 3 {
		a, err := ports.Address()
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, a)
	}
	issuerURL := "http://" + addresses[0]
	issuerArgs := append([]string{"issuer", "--listen", addresses[0], "--keys-dir", t.TempDir(), "--user", "ada:lovelace", "--admin-user", "root:toor", "--node", "issuer-1",
		"--ledger", filepath.Join(t.TempDir(), "ledger"), "--records-nats-nkey", s.key("records.records.nk"), "--records-nats-inbox", "_INBOX_records"}, s.user("issuer", "issuer-1")...)
	startQuash(t, issuerArgs...)
	nodes := map[string]*process{}
	for i, name := range []string{"api-1", "api-2"} {
		nodes[name] = startQuash(t, append([]string{"api", "--listen", addresses[i+1], "--issuer", issuerURL, "--node", name, "--max-staleness", "12s"}, s.user("verifier", name)...)...)
	}
	for _, a := range addresses {
		if err := waitStatus("http://"+a+"/readyz", "", http.StatusOK); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	c := patientClient(issuerURL)
	defer c.close()
	revoke := func() {
		t.Helper()
		got, err := c.login(ctx, "ada", "lovelace")
		if err != nil {
			t.Fatal(err)
		}
		claims, err := claimsOf(got.Access)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addresses[1:] {
			if err := waitStatus("http://"+a+"/secure", got.Access, http.StatusOK); err != nil {
				t.Fatal(err)
			}
		}
		runQuash(t, append([]string{"revoke", "session", claims.Sid, "--iss", issuerURL, "--wait", "20s"}, s.user("publisher", "publisher")...),
			fmt.Sprintf("enforced on %d of %d nodes", len(addresses), len(addresses)))
		for _, a := range addresses[1:] {
			if err := waitStatus("http://"+a+"/secure", got.Access, http.StatusUnauthorized); err != nil {
				t.Fatal(err)
			}
		}
		if a, err := c.refresh(ctx, got.Refresh); err != nil || a.status != http.StatusBadRequest {
			t.Errorf("refresh of the revoked session: %d, %v", a.status, err)
		}
	}
	revoke()
	root, err := c.login(ctx, "root", "toor")
	if err != nil {
		t.Fatal(err)
	}
	minted, err := c.post(ctx, "/admin/one-time", "application/json", []byte(`{"username":"root","scope":"password:reset"}`), root.Access)
	if err != nil || minted.status != http.StatusOK {
		t.Fatalf("mint a one-time token: %d %s, %v", minted.status, minted.text(), err)
	}
	_, rest, _ := strings.Cut(string(minted.body), `"access_token":"`)
	link, _, _ := strings.Cut(rest, `"`)
	for n, want := range []int{http.StatusOK, http.StatusUnauthorized} {
		node := patientClient("http://" + addresses[1+n])
		a, err := node.post(ctx, "/once", "application/json", nil, link)
		node.close()
		if err != nil || a.status != want {
			t.Errorf("use %d of a one-time token: %d, %v, want %d", n+1, a.status, err, want)
		}
	}
	for _, who := range [][2]string{{"publisher", "publisher"}, {"operator", "operator"}} {
		runQuash(t, append([]string{"status"}, s.user(who[0], who[1])...), "api-2", "issuer-1")
	}
	if v := s.said.violations(); len(v) > 0 {
		t.Errorf("the server refused what a role needs:\n%s", strings.Join(v, "\n"))
	}

	// A new key for a node: the file first, then the server, which throws the old one out.
	for _, f := range []string{"verifier.api-1.nk", "server.crt"} {
		if err := os.Remove(s.key(f)); err != nil {
			t.Fatal(err)
		}
	}
	s.init("verifier:api-1")
	s.reload()
	if err := nodes["api-1"].waitLine("connected to NATS again"); err != nil {
		t.Fatal(err)
	}
	revoke()

	// And the authority itself: for this each process is given the next one's certificate first.
	for _, f := range []string{"server.crt", "ca.crt"} {
		if err := os.Remove(s.key(f)); err != nil {
			t.Fatal(err)
		}
	}
	s.init()
	s.reload()
	revoke() // connections that stand are not disturbed
	if n := strings.Count(nodes["api-2"].output(), "connected to NATS again"); n != 0 {
		t.Errorf("api-2 lost its connection %d times", n)
	}
	nodes["api-2"].kill()
	startQuash(t, append([]string{"api", "--listen", addresses[2], "--issuer", issuerURL, "--node", "api-2"}, s.user("verifier", "api-2")...)...)
	if err := waitStatus("http://"+addresses[2]+"/readyz", "", http.StatusOK); err != nil {
		t.Fatal(err)
	}
	revoke()

	// A node more, and a node less: its account comes and goes while all others run.
	s.init("verifier:api-3")
	s.reload()
	s.reload() // nats-server 2.15 makes the imports of an account that a reload brings work at the next
	third, err := ports.Address()
	if err != nil {
		t.Fatal(err)
	}
	startQuash(t, append([]string{"api", "--listen", third, "--issuer", issuerURL, "--node", "api-3", "--max-staleness", "12s"}, s.user("verifier", "api-3")...)...)
	if err := waitStatus("http://"+third+"/readyz", "", http.StatusOK); err != nil {
		t.Fatal(err)
	}
	addresses = append(addresses, third)
	revoke()
	if v := s.said.violations(); len(v) > 0 {
		t.Errorf("the server refused what a role needs:\n%s", strings.Join(v, "\n"))
	}
	if err := os.Remove(s.key("verifier.api-1.nk")); err != nil {
		t.Fatal(err)
	}
	s.init()
	s.reload()
	for _, line := range []string{"connection to NATS lost", "NATS does not let us in"} {
		if err := nodes["api-1"].waitLine(line); err != nil {
			t.Error(err)
		}
	}
	if err := waitStatus("http://"+addresses[1]+"/readyz", "", http.StatusServiceUnavailable); err != nil {
		t.Error(err)
	}
	addresses = append(addresses[:1], addresses[2:]...)
	revoke()
}

// TestDeploy_sameRoles holds the two shipped configurations to each other: a role may do
// the same in both, but for its own names.
func TestDeploy_sameRoles(t *testing.T) {
	for name, value := range rolePasswords {
		t.Setenv(name, value)
	}
	quick, err := server.ProcessConfigFile(filepath.Join(deployDir, "nats", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if len(quick.Users) != len(busRoles)-1 { // verifiers are what verifier is there
		t.Errorf("nats.conf has %d users, there are %d roles", len(quick.Users), len(busRoles))
	}
	shared := strings.NewReplacer("quash.api.", "$JS.API.", "CONSUMER.CREATE.QUASH.*", "CONSUMER.CREATE.QUASH.READER", "MSG.NEXT.QUASH.*", "MSG.NEXT.QUASH.READER",
		"CONSUMER.INFO.QUASH.*", "CONSUMER.INFO.QUASH.READER", "CONSUMER.DELETE.QUASH.*", "CONSUMER.DELETE.QUASH.READER")
	for _, u := range quick.Users {
		role := busRoleNamed(u.Username)
		if role == nil || u.Account == nil || (role.account == "") == (u.Account.Name == streamAccount || u.Account.Name == recordsAccount) {
			t.Errorf("nats.conf: %s is no role, or in the account of a stream, or not", u.Username)
			continue
		}
		sorted := func(subjects []string, more ...string) string {
			var all []string
			for _, s := range subjects {
				all = append(all, shared.Replace(strings.Replace(s, "_INBOX_"+u.Username+".", "INBOX.", 1)))
			}
			slices.Sort(all)
			return strings.Join(all, "\n")
		}
		named := slices.DeleteFunc(slices.Clone(role.publish), func(s string) bool { return strings.HasSuffix(s, ".SLOT") }) // there any reader is allowed
		if got, want := sorted(u.Permissions.Publish.Allow), sorted(named); got != want {
			t.Errorf("%s publishes, in nats.conf:\n%s\n\nin the roles:\n%s", u.Username, got, want)
		}
		if got, want := sorted(u.Permissions.Subscribe.Allow), sorted(role.subscribe); got != want {
			t.Errorf("%s subscribes, in nats.conf:\n%s\n\nin the roles:\n%s", u.Username, got, want)
		}
		if (u.Permissions.Response != nil) != (len(role.answers) > 0) {
			t.Errorf("%s: answers %v in nats.conf, %v in the roles", u.Username, u.Permissions.Response != nil, role.answers)
		}
	}
}

// TestNATSInit: nothing that is there is replaced, no secret can be read by others or is
// printed, and mistakes are named.
func TestNATSInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	run := func(args ...string) (string, error) {
		out, err := quashCommand(append([]string{"nats", "init", dir}, args...)...).CombinedOutput()
		return string(out), err
	}
	out, err := run()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	read := func() map[string]string {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for _, f := range files {
			all[f.Name()] = readText(t, filepath.Join(dir, f.Name()))
			info, err := f.Info()
			if err != nil {
				t.Fatal(err)
			}
			public := strings.HasSuffix(f.Name(), ".crt") || f.Name() == "users.conf"
			if mode := info.Mode().Perm(); !public && mode != 0o600 {
				t.Errorf("%s has mode %v", f.Name(), mode)
			}
		}
		return all
	}
	first := read()
	for _, want := range []string{"ca.crt", "ca.key", "server.crt", "server.key", "users.conf", "operator.operator.nk", "verifier.api-2.nk", "issuer.issuer-2.nk"} {
		if first[want] == "" {
			t.Errorf("%s was not made", want)
		}
	}
	for name, text := range first {
		secret := strings.TrimSpace(text)
		if strings.HasSuffix(name, ".nk") && (strings.Contains(out, secret) || strings.Contains(first["users.conf"], secret)) {
			t.Errorf("the secret of %s is shown", name)
		}
	}
	if out, err := run("verifier:api-3"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	second := read()
	for name, text := range first {
		if name != "users.conf" && second[name] != text {
			t.Errorf("%s was replaced", name)
		}
	}
	if !strings.Contains(second["users.conf"], "_INBOX_api-3.>") || !strings.Contains(second["users.conf"], "_INBOX_api-1.>") {
		t.Errorf("users.conf lacks a user:\n%s", second["users.conf"])
	}
	for _, c := range []struct{ arg, want string }{
		{"thief:x", "is not a role"}, {"verifier", "is not a role"}, {"verifier:a.b", "is not a role"}, {"verifier:../x", "is not a role"}, {"verifier:>", "is not a role"},
		{"publisher:api-1", "is the name of a user of the role verifier"}, {"--server-name=", "--server-name"}, {"--certificate-life=0s", "--certificate-life"},
	} {
		if out, err := run(c.arg); err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: %v: %s", c.arg, err, out)
		}
	}
	// What others can read or put there is not used on.
	for _, c := range []struct {
		file, want string
		bad, good  os.FileMode
	}{
		{"verifier.api-1.nk", "chmod 600", 0o644, 0o600}, {"verifier.api-1.nk", "chmod 600", 0o602, 0o600}, {".", "everybody may write", 0o777, 0o700},
	} {
		path := filepath.Join(dir, c.file)
		if err := os.Chmod(path, c.bad); err != nil {
			t.Fatal(err)
		}
		if out, err := run(); err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%s of mode %v: %v: %s", c.file, c.bad, err, out)
		}
		if err := os.Chmod(path, c.good); err != nil {
			t.Fatal(err)
		}
	}
	// What cannot be used is named, never shown.
	for _, c := range []struct{ file, text, want string }{
		{"verifier.api-1.nk", "SUXXXXXXXXXXXX", "remove the file"}, {"ca.key", "SECRETKEY", "authority"},
	} {
		if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, "server.crt")); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if out, err := run(); err == nil || !strings.Contains(out, c.want) || strings.Contains(out, c.text) {
			t.Errorf("%s: %v: %s", c.file, err, out)
		}
	}
	if fmt.Sprint(read()["users.conf"]) != second["users.conf"] {
		t.Error("users.conf was changed by a run that failed")
	}
}
