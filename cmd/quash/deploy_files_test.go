package main

import (
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/ports"
)

const deployAdmin = "admin:p-admin"

func shippedCompose(t *testing.T) map[string]*service {
	t.Helper()
	secrets := maps.Clone(rolePasswords)
	secrets["QUASH_ADMIN_USER"] = deployAdmin
	return readCompose(t, readText(t, "../../docker-compose.yml"), readEnv(t, readText(t, filepath.Join(deployDir, "example.env")), secrets))
}

// TestDeploy_composeIsTrue runs every service of ours with the command and the environment that the compose file gives it, but for
// addresses and paths of this machine, against the shipped NATS: all become ready, the server refuses nothing, any
// issuer takes any request, and each file is where a volume keeps it.
func TestDeploy_composeIsTrue(t *testing.T) {
	services := shippedCompose(t)
	url, log := shippedNATS(t)
	dir := t.TempDir()
	var addresses []string
	for range 4 {
		a, err := ports.Address()
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, a)
	}
	listen := map[string]string{"issuer-1": addresses[0], "issuer-2": addresses[1], "api-1": addresses[2], "api-2": addresses[3]}
	issuerURL := "http://" + addresses[0]
	kept := map[string]string{} // by volume
	run := func(name string, more ...string) *process {
		t.Helper()
		s := services[name]
		if s == nil || len(s.command) == 0 {
			t.Fatalf("docker-compose.yml has no service %s with a command", name)
		}
		cmd := quashCommand(s.command...)
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "QUASH_") })
		for k, v := range s.env {
			v = strings.NewReplacer("nats://nats:4222", url, "http://proxy:8080", issuerURL, "http://127.0.0.1:8080", issuerURL).Replace(v)
			if k == "QUASH_LISTEN" {
				v = listen[name]
			}
			for mounted, volume := range s.volumes {
				if rest, ok := strings.CutPrefix(v, mounted+"/"); ok || v == mounted {
					v = filepath.Join(place(t, dir, volume), rest)
					kept[name+" "+k] = v
				}
			}
			cmd.Env = append(cmd.Env, k+"="+v)
		}
		cmd.Env = append(cmd.Env, more...)
		p, err := startProcess(cmd)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			p.kill()
			if t.Failed() {
				t.Logf("%s:\n%s", name, p.output())
			}
			if strings.Contains(p.output(), "belongs to no flag") {
				t.Errorf("%s: a variable belongs to no flag", name)
			}
		})
		return p
	}
	stream := run("stream")
	<-stream.done
	if stream.err != nil {
		t.Fatalf("stream ensure: %v: %s", stream.err, stream.output())
	}
	cheap := []string{"QUASH_PASSWORD_MEMORY=64", "QUASH_PASSWORD_PASSES=1"}
	for _, name := range []string{"issuer-1", "issuer-2", "api-1", "api-2"} {
		run(name, cheap...)
	}
	for name, a := range listen {
		if err := waitStatus("http://"+a+"/readyz", "", http.StatusOK); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	ctx := t.Context()
	one, two := patientClient(issuerURL), patientClient("http://"+listen["issuer-2"])
	defer one.close()
	defer two.close()
	got, err := one.login(ctx, "admin", "p-admin")
	if err != nil {
		t.Fatal(err)
	}
	if a, err := two.refresh(ctx, got.Refresh); err != nil || a.status != http.StatusOK {
		t.Errorf("the other issuer refreshes: %d, %v", a.status, err)
	}
	for _, name := range []string{"api-1", "api-2"} {
		if err := waitStatus("http://"+listen[name]+"/secure", got.Access, http.StatusOK); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	wanted := []string{"issuer-1 QUASH_KEYS_DIR", "issuer-1 QUASH_LEDGER", "issuer-1 QUASH_CLIENTS", "issuer-2 QUASH_KEYS_DIR", "issuer-2 QUASH_LEDGER",
		"issuer-2 QUASH_CLIENTS", "api-1 QUASH_SNAPSHOT", "api-2 QUASH_SNAPSHOT"}
	if got := slices.Sorted(maps.Keys(kept)); !slices.Equal(got, slices.Sorted(slices.Values(wanted))) {
		t.Errorf("on volumes are %v, want %v", got, wanted)
	}
	for what, path := range kept {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, p := range [][2]string{{"issuer-1 QUASH_LEDGER", "issuer-2 QUASH_LEDGER"}, {"api-1 QUASH_SNAPSHOT", "api-2 QUASH_SNAPSHOT"}} {
		if kept[p[0]] == kept[p[1]] {
			t.Errorf("%s and %s are one file", p[0], p[1])
		}
	}
	for _, p := range [][2]string{{"issuer-1 QUASH_KEYS_DIR", "issuer-2 QUASH_KEYS_DIR"}, {"issuer-1 QUASH_CLIENTS", "issuer-2 QUASH_CLIENTS"}} {
		if kept[p[0]] != kept[p[1]] {
			t.Errorf("%s and %s are not the same", p[0], p[1])
		}
	}
	if v := log.violations(); len(v) > 0 {
		t.Errorf("the server refused what a role needs:\n%s", strings.Join(v, "\n"))
	}
}

// TestDeploy_twoHear: an issuer listens for the question for ledgers itself before the one who did so until it was open has stopped. A role
// may answer a question once, and the server counts a question that it hands over twice as answered.
func TestDeploy_twoHear(t *testing.T) {
	url, log := shippedNATS(t)
	connect := func(role string) *nats.Conn {
		nc, err := nats.Connect(url, nats.UserInfo(role, "p-"+role), nats.CustomInboxPrefix("_INBOX_"+role), nats.Timeout(patience))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	issuer, node := connect("issuer"), connect("verifier")
	for _, say := range []events.Whole{{}, {Node: "issuer-1"}} {
		stop, err := events.HearWhole(issuer, func() events.Whole { return say })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
	}
	other := connect("issuer")
	stop, err := events.HearWhole(other, func() events.Whole { return events.Whole{Node: "issuer-2"} })
	if err == nil {
		err = errors.Join(issuer.Flush(), other.Flush())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	heard := map[string]bool{}
	for deadline := time.Now().Add(patience); len(heard) < 2; {
		got, err := events.AskWhole(t.Context(), node)
		if err != nil && !errors.Is(err, events.ErrUnavailable) || time.Now().After(deadline) { // it may be too busy to take the question
			t.Fatalf("heard from %v, %v", heard, err)
		}
		for _, w := range got {
			heard[w.Node] = true
		}
	}
	if v := log.violations(); len(v) > 0 {
		t.Errorf("the server refused what a role needs:\n%s", strings.Join(v, "\n"))
	}
}

// place is where a volume is on this machine: a file of the repository, or an empty directory as the image has it.
func place(t *testing.T, dir, volume string) string {
	t.Helper()
	if file, ok := strings.CutPrefix(volume, "./"); ok {
		if !strings.HasSuffix(file, ":ro") {
			t.Errorf("%s is mounted writable", volume)
		}
		return filepath.Join("..", "..", strings.TrimSuffix(file, ":ro"))
	}
	path := filepath.Join(dir, volume)
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestDeploy_files: what the shipped files say of each other is so.
func TestDeploy_files(t *testing.T) {
	t.Parallel()
	services := shippedCompose(t)
	var commands cli
	parser, err := kong.New(&commands, kong.Name("quash"), kong.DefaultEnvars("QUASH"), kong.Vars{"default_iss": defaultIssuerURL, "default_nats": defaultNATSURL})
	if err != nil {
		t.Fatal(err)
	}
	docker := readText(t, filepath.Join(deployDir, "Dockerfile"))
	own := regexp.MustCompile(`--chown=65532:65532 --chmod=0700 \S+ (\S+)`).FindAllStringSubmatch(docker, -1)
	for name, s := range services {
		if len(s.command) == 0 || name == "nats" {
			continue
		}
		node := commandNode(parser.Model, s.command)
		for v := range s.env {
			if len(unknownVariables([]string{v + "="}, &kong.Application{Node: node})) > 0 {
				t.Errorf("%s: quash %s does not read %s", name, strings.Join(s.command, " "), v)
			}
		}
		for mounted, volume := range s.volumes {
			writable := !strings.HasSuffix(volume, ":ro")
			if has := slices.ContainsFunc(own, func(o []string) bool { return o[1] == mounted }); writable && !has {
				t.Errorf("%s: %s is not quash's own in the image, so it could not write there", name, mounted)
			}
		}
	}
	nginx := readText(t, filepath.Join(deployDir, "proxy", "nginx.conf"))
	for _, want := range []string{"$proxy_add_x_forwarded_for", "server issuer-1:8080;", "server issuer-2:8080;", "location = /metrics { return 404; }"} {
		if !strings.Contains(nginx, want) {
			t.Errorf("proxy/nginx.conf lacks %s", want)
		}
	}
	compose := readText(t, "../../docker-compose.yml")
	if a := services["issuer-1"].env["QUASH_TRUSTED_PROXY"]; !strings.Contains(compose, "ipv4_address: "+a+"\n") {
		t.Errorf("the issuers trust %s, which no service has", a)
	}
	if out, err := quashCommand("client", "check", filepath.Join(deployDir, "clients", "clients.json")).CombinedOutput(); err != nil {
		t.Errorf("clients.json: %v: %s", err, out)
	}
	info, err := os.Stat(filepath.Join(deployDir, "clients", "clients.json"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&0o002 != 0 {
		t.Errorf("clients.json may be written by everybody: mode %#o", info.Mode().Perm())
	}
	readme := readText(t, filepath.Join(deployDir, "README.md"))
	for _, v := range regexp.MustCompile(`QUASH_[A-Z_]+[A-Z]`).FindAllString(readme, -1) {
		if example := readText(t, filepath.Join(deployDir, "example.env")); v != "QUASH_ISSUER" && v != "QUASH_ONCE" && !strings.Contains(example, v+"=") &&
			len(unknownVariables([]string{v + "="}, parser.Model)) > 0 && v != "KV_QUASH_ISSUER" && v != "QUASH_THROTTLE" {
			t.Errorf("deploy/README.md names %s, which nothing reads", v)
		}
	}
}

// commandNode finds a command and its sub-command.
func commandNode(app *kong.Application, command []string) *kong.Node {
	at := app.Node
	for _, word := range command {
		for _, c := range at.Children {
			if c.Name == word {
				at = c
			}
		}
	}
	return at
}
