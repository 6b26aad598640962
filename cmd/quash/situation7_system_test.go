package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// TestSituation7_BusinessSystem: a system with a client of its own logs out one user, and can do nothing wider, by API or CLI.
func TestSituation7_BusinessSystem(t *testing.T) {
	t.Parallel()
	secret := issuer.NewSecret()
	path := filepath.Join(t.TempDir(), "clients.json")
	if err := os.WriteFile(path, []byte(`{"clients":[{"client_id":"quash","public":true},{"client_id":"fraud","client_secret_hash":"`+
		issuer.HashSecret(secret)+`","grant_types":["client_credentials"],"scope":"quash.revoke"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, withIssuer("--clients", path))
	w.secret("client secret", secret)
	ann, bob := w.login("ann"), w.login("bob")
	sub := claimOf(t, ann.Access, "sub")
	bearer := w.formAs("fraud", secret, "/token", "grant_type", "client_credentials").text("access_token")
	n := len(w.statements())
	for _, body := range []string{`{"scope":"client","key":"quash","reason":"x","confirm":"quash"}`,
		`{"scope":"issuer","reason":"x","confirm":"` + claimOf(t, ann.Access, "iss") + `"}`, `{"scope":"key","key":"k","reason":"x","confirm":"k"}`} {
		if r := w.json("POST", "/admin/revocations", bearer, body); r.status != 403 || r.code() != "insufficient_scope" {
			t.Errorf("%s: got %s, want 403 insufficient_scope", body, r)
		}
	}
	command := func(args ...string) (string, error) {
		cmd := quashCommand(args...)
		cmd.Env = append(cmd.Environ(), "QUASH_ISSUER="+w.url, "QUASH_AS_CLIENT=fraud:"+secret)
		return w.run(cmd)
	}
	text, err := command("sessions", "list", "--sub", sub)
	if err == nil || !strings.Contains(text, "quash: --as-client: may not do this: the scope quash.admin is needed") {
		t.Errorf("sessions list: got %v\n%s", err, text)
	}
	if len(w.statements()) != n {
		t.Error("what was refused left a statement")
	}
	text, err = command("sessions", "end", "--sub", sub, "--reason", "card fraud", "--txn", "case-9", "--json")
	if err != nil {
		t.Fatalf("sessions end: %v\n%s", err, text)
	}
	var out endedJSON
	if err := json.Unmarshal([]byte(text), &out); err != nil || out.Preview.Sessions != 1 || !out.Preview.Exact || out.Txn != "case-9" || out.Sequence == 0 {
		t.Errorf("sessions end --json: got %v\n%s", err, text)
	}
	w.audited("by a system", n, asked{events.Subject, sub, "admin", "client:fraud", "card fraud", "case-9"})
	w.wants(0, ann.Access, 401)
	if r := w.tryRefresh(ann.Refresh); r.status != 400 || r.code() != "invalid_grant" {
		t.Errorf("refresh: got %s, want 400 invalid_grant", r)
	}
	if r := w.call(0, bob.Access); r.status != 200 {
		t.Errorf("bob: got %s, want 200", r)
	}
}
