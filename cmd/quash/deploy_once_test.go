package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/quash-auth/quash/internal/ports"
)

// TestDeploy_once: the shipped rights of an API node suffice to use a one-time
// token up and to find that another node has; the server refuses nothing.
func TestDeploy_once(t *testing.T) {
	url, log := shippedNATS(t)
	if out, err := quashCommand(append([]string{"stream", "ensure"}, as("operator", url)...)...).CombinedOutput(); err != nil {
		t.Fatalf("stream ensure: %v: %s", err, out)
	}
	var addresses []string
	for range 3 {
		a, err := ports.Address()
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, a)
	}
	issuerURL := "http://" + addresses[0]
	startQuash(t, append([]string{"issuer", "--listen", addresses[0], "--keys-dir", t.TempDir(), "--admin-user", "root:toor",
		"--records-nats-user", "records", "--records-nats-password", "p-records", "--records-nats-inbox", "_INBOX_records"}, as("issuer", url)...)...)
	for _, a := range addresses[1:] {
		startQuash(t, append([]string{"api", "--listen", a, "--issuer", issuerURL}, as("verifier", url)...)...)
	}
	for _, a := range addresses {
		if err := waitStatus("http://"+a+"/readyz", "", http.StatusOK); err != nil {
			t.Fatal(err)
		}
	}
	c := patientClient(issuerURL)
	defer c.close()
	root, err := c.login(t.Context(), "root", "toor")
	if err != nil {
		t.Fatal(err)
	}
	minted, err := c.post(t.Context(), "/admin/one-time", "application/json", []byte(`{"username":"root","scope":"password:reset"}`), root.Access)
	if err != nil || minted.status != http.StatusOK {
		t.Fatalf("mint a one-time token: %d %s, %v", minted.status, minted.text(), err)
	}
	_, rest, _ := strings.Cut(string(minted.body), `"access_token":"`)
	link, _, _ := strings.Cut(rest, `"`)
	for n, want := range []int{http.StatusOK, http.StatusUnauthorized, http.StatusUnauthorized} {
		node := patientClient("http://" + addresses[1+n%2])
		a, err := node.post(t.Context(), "/once", "application/json", nil, link)
		node.close()
		if err != nil || a.status != want {
			t.Errorf("use %d: %d %s, %v, want %d", n+1, a.status, a.text(), err, want)
		}
	}
	if v := log.violations(); len(v) > 0 {
		t.Errorf("the server refused what a role needs:\n%s", strings.Join(v, "\n"))
	}
}
