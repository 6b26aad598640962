package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/quash-auth/quash/internal/natstest"
)

// rehearsal runs the commands of docs/operations.md as they stand there.
type rehearsal struct {
	*world
	blocks map[string][]string // by section
	ran    map[string]bool
	env    []string
}

var shellBlock = regexp.MustCompile("(?ms)^## ([^\n]+)$|^ *```sh\n(.*?)^ *```$")

func newRehearsal(w *world, broker *natstest.Process) *rehearsal {
	w.t.Helper()
	r := &rehearsal{world: w, blocks: map[string][]string{}, ran: map[string]bool{}}
	section := ""
	for _, m := range shellBlock.FindAllStringSubmatch(readText(w.t.(*testing.T), filepath.Join("..", "..", "docs", "operations.md")), -1) {
		if m[1] != "" {
			section = m[1]
		} else {
			r.blocks[section] = append(r.blocks[section], m[2])
		}
	}
	bin := w.t.TempDir()
	exe, err := os.Executable()
	if err == nil {
		err = os.Symlink(exe, filepath.Join(bin, "quash"))
	}
	if err != nil {
		w.t.Fatal(err)
	}
	r.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "STORE="+broker.Dir(), "KEYS="+filepath.Join(w.dir, "keys"),
		"BACKUP="+filepath.Join(w.dir, "backup"), "API="+w.node(0), "ISSUER="+w.issuers[0].url(), "QUASH_ISSUER="+w.issuers[0].url(),
		"QUASH_ADMIN="+worldAdmin+":"+w.password(worldAdmin), "QUASH_NATS="+w.nats)
	return r
}

// try runs the n-th block of a section, from 1.
func (r *rehearsal) try(section string, n int) (string, error) {
	r.t.Helper()
	if len(r.blocks[section]) < n {
		r.t.Fatalf("docs/operations.md has no block %d under %q", n, section)
	}
	r.ran[fmt.Sprint(section, n)] = true
	cmd := exec.Command("sh", "-eu", "-c", r.blocks[section][n-1])
	cmd.Env = r.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (r *rehearsal) run(section string, n int) string {
	r.t.Helper()
	out, err := r.try(section, n)
	if err != nil {
		r.t.Fatalf("%s, block %d: %v: %s", section, n, err, r.redact(out))
	}
	return out
}

// told repeats a block that revokes while it says only that a busy node did not confirm in time: that one is told to repeat it.
func (r *rehearsal) told(section string, n int) {
	r.t.Helper()
	r.eventually(r.blocks[section][n-1], func() bool {
		out, err := r.try(section, n)
		if err != nil && !strings.Contains(out, "stored, but not confirmed within") && !strings.Contains(out, "stored, but no node answered") {
			r.t.Fatalf("%s, block %d: %v: %s", section, n, err, r.redact(out))
		}
		return err == nil
	})
}

// until repeats a block until it succeeds, and its output shows so many ready nodes, as a person does who waits.
func (r *rehearsal) until(section string, n, nodes int) {
	r.t.Helper()
	r.eventually(r.blocks[section][n-1], func() bool {
		out, err := r.try(section, n)
		return err == nil && strings.Count(out, " yes ") >= nodes && !strings.Contains(out, " no ") && !strings.Contains(out, "different")
	})
}

// all is whether every command of the page was run.
func (r *rehearsal) all() {
	r.t.Helper()
	n := 0
	for _, blocks := range r.blocks {
		n += len(blocks)
	}
	if len(r.ran) != n || n < 10 {
		r.t.Errorf("ran %d of the %d blocks of docs/operations.md", len(r.ran), n)
	}
}

func (r *rehearsal) admins(path, body string) reply {
	r.t.Helper()
	a := r.json("POST", path, r.login(worldAdmin).Access, body)
	if a.status >= 300 {
		r.t.Fatalf("%s: %s", path, a)
	}
	return a
}

// TestOperations_restore follows docs/operations.md: a backup, work that goes on, everything destroyed, the older copy restored.
// What was revoked since is still refused, by nodes that ran and by new ones; what the page says is lost, is.
func TestOperations_restore(t *testing.T) {
	t.Parallel()
	broker := natstest.StartProcess(t, filepath.Join(t.TempDir(), "store"), 0)
	ledger := filepath.Join(t.TempDir(), "ledger")
	w := newWorld(t, withNATS(broker.URL()), withIssuer("--ledger", ledger), withUser("carl", "dora", "eve"),
		withNode("--max-staleness", "1m", "--snapshot", filepath.Join(t.TempDir(), "snapshot")), withNode("--max-staleness", "1m"))
	r := newRehearsal(w, broker)
	subOf := func(name string) string {
		return w.json("GET", "/admin/users?username="+name, w.login(worldAdmin).Access, "").body["users"].([]any)[0].(map[string]any)["sub"].(string)
	}
	before, ended, barred, living := w.login("ann"), w.login("ann"), w.login("eve"), w.login("dora")
	subject, kept := w.login("bob"), w.login("carl")
	r.admins("/admin/revocations", `{"scope":"session","key":"`+before.Sid+`"}`)

	r.run("Back up", 1)
	broker.Kill()
	r.run("Back up", 2)
	broker.Restart(t)
	w.issuers[0].ready()
	w.nodes[0].ready()
	r.until("Back up", 3, 3)

	// Work goes on. Every one of these is acknowledged.
	r.admins("/admin/revocations", `{"scope":"session","key":"`+ended.Sid+`","reason":"lost laptop"}`)
	r.admins("/admin/revocations", `{"scope":"subject","key":"`+subOf("bob")+`","reason":"card fraud"}`)
	r.admins("/admin/users/"+subOf("eve")+"/disable", `{"reason":"fraud"}`)
	since := w.login("carl")
	rotated := w.refresh(w.refresh(living))
	r.admins("/admin/users", `{"username":"fred","password":"made after the backup"}`)
	kid := w.json("GET", "/admin/keys", w.login(worldAdmin).Access, "").body["keys"].([]any)[0].(map[string]any)["kid"].(string)
	refused := []string{before.Access, ended.Access, subject.Access, barred.Access}
	for _, token := range refused {
		w.wants(0, token, 401)
		w.wants(1, token, 401)
	}

	// Everything is lost but the ledger and what the nodes remember.
	w.issuers[0].kill()
	broker.Kill()
	w.nodes[1].kill() // a new one is started later: it remembers nothing
	r.run("Restore", 1)
	r.run("Restore", 2)
	broker.Restart(t)
	w.issuers[0].start()
	w.issuers[0].ready()
	if err := w.issuers[0].process.waitLine("the stream has its statements again"); err != nil {
		t.Fatal(err)
	}
	w.nodes[1].start()
	w.nodes[1].ready()
	r.until("Restore", 3, 3)
	for n, token := range refused {
		for node := range w.nodes {
			if a := w.call(node, token); a.status != 401 {
				t.Errorf("token %d at node %d after the restore: %s, want 401", n, node, a)
			}
		}
	}
	for name, s := range map[string]session{"ended before": before, "ended since": ended, "of a subject revoked since": subject,
		"of a user disabled since": barred, "begun since": since, "refreshed since": rotated} {
		if a := w.tryRefresh(s.Refresh); a.status != 400 || a.code() != "invalid_grant" {
			t.Errorf("refresh of a session %s: %s, want 400 invalid_grant", name, a)
		}
	}
	w.wants(1, r.login("bob").Access, 200) // his next login is not covered by what came back
	w.wants(1, since.Access, 200)
	w.refresh(kept)
	if a := w.tryLogin("eve", w.password("eve")); a.status != 200 {
		t.Errorf("login of one who was disabled since: %s, and the page says 200", a)
	}
	r.run("What an older store means", 1)
	if a := w.tryLogin("eve", w.password("eve")); a.status != 403 {
		t.Errorf("login after the page's command: %s, want 403", a)
	}
	if a := w.tryLogin("fred", "made after the backup"); a.status != 401 {
		t.Errorf("login to an account made since: %s, and the page says it is gone", a)
	}

	// A key that is revoked stays so although its file and the older store come back; and then the ledger is lost as well.
	r.admins("/admin/keys/"+kid+"/revoke", `{"reason":"stolen","confirm":"`+kid+`"}`)
	w.wants(0, since.Access, 401)
	w.issuers[0].kill()
	broker.Kill()
	for _, dir := range []string{broker.Dir(), filepath.Join(w.dir, "keys")} {
		if err := os.RemoveAll(dir + ".lost"); err != nil {
			t.Fatal(err)
		}
	}
	r.run("Restore", 2)
	broker.Restart(t)
	w.issuers[0].start()
	w.issuers[0].ready()
	w.nodes[0].ready()
	w.eventually("the revoked key is out of use", func() bool {
		keys := fmt.Sprint(w.json("GET", "/.well-known/jwks.json", "", "").raw)
		return !strings.Contains(keys, kid)
	})
	w.wants(1, since.Access, 401)
	last := r.login("dora")
	w.wants(0, last.Access, 200)
	r.told("What an older store means", 2)
	w.wants(0, last.Access, 401)
	w.wants(1, last.Access, 401)

	r.upgrade()
	r.all()
}

// upgrade is a rolling restart in the order of the page. Nobody is refused meanwhile by the node that is up.
func (r *rehearsal) upgrade() {
	r.t.Helper()
	s := r.login("ann")
	if out := r.run("Upgrade", 1); !strings.HasPrefix(out, "quash ") {
		r.t.Errorf("got %q, want a version first", out)
	}
	for n, node := range r.nodes {
		if err := node.process.interrupt(); err != nil {
			r.t.Errorf("stop node %d: %v", n, err)
		}
		r.wants(1-n, s.Access, 200)
		node.start()
		r.env = append(slices.DeleteFunc(r.env, func(v string) bool { return strings.HasPrefix(v, "API=") }), "API="+node.url())
		r.until("Upgrade", 2, 0)
		r.wants(n, s.Access, 200)
	}
	if err := r.issuers[0].process.interrupt(); err != nil {
		r.t.Errorf("stop the issuer: %v", err)
	}
	r.issuers[0].start()
	r.until("Upgrade", 3, 0)
	r.refresh(s)
	r.until("Upgrade", 4, 3)
}
