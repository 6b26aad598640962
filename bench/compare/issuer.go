package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/quash-auth/quash/issuer"
)

const secret = "a secret of this run"

// startIssuer is quash's own issuer, from which all tokens come.
func (w *world) startIssuer(binary, natsURL string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	clients, err := json.Marshal(map[string]any{"clients": []map[string]any{
		{"client_id": "shop", "client_secret_hash": issuer.HashSecret(secret), "grant_types": []string{"client_credentials"}, "scope": "read"},
		{"client_id": "gateway", "client_secret_hash": issuer.HashSecret(secret), "introspects": []string{"api"}},
	}})
	if err != nil {
		return err
	}
	file := filepath.Join(w.dir, "clients.json")
	if err := os.WriteFile(file, clients, 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(w.dir, "issuer.log"))
	if err != nil {
		return err
	}
	w.issuerURL = "http://" + loopback(port)
	p := &process{name: "quash issuer", make: func() *exec.Cmd {
		cmd := exec.Command(binary, "issuer", "--listen", loopback(port), "--nats", natsURL, "--ensure-stream", "--audience", "api",
			"--clients", file, "--keys-dir", filepath.Join(w.dir, "keys"), "--access-life", "30m")
		cmd.Stdout, cmd.Stderr = log, log
		return cmd
	}, ready: func() error {
		res, err := http.Get(w.issuerURL + "/readyz")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("readyz: %s", res.Status)
		}
		return nil
	}}
	w.issuer = p
	w.all = append(w.all, p)
	return p.start()
}

// mint gets tokens by client credentials.
func (w *world) mint(n int) ([]string, error) {
	tokens := make([]string, n)
	for i := range tokens {
		var answer struct {
			Token string `json:"access_token"`
		}
		res, err := http.PostForm(w.issuerURL+"/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"shop"}, "client_secret": {secret}})
		if err != nil {
			return nil, err
		}
		err = json.NewDecoder(res.Body).Decode(&answer)
		_ = res.Body.Close()
		if err != nil || answer.Token == "" {
			return nil, fmt.Errorf("POST /token: %s %w", res.Status, err)
		}
		tokens[i] = answer.Token
	}
	return tokens, nil
}

// fetchKeys reads the P-256 keys of a JWK Set.
func fetchKeys(from string) (map[string]*ecdsa.PublicKey, error) {
	if from == "" {
		return nil, nil
	}
	res, err := http.Get(from)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var set struct {
		Keys []struct{ Kid, Crv, X, Y string }
	}
	if err := json.NewDecoder(res.Body).Decode(&set); err != nil {
		return nil, err
	}
	keys := map[string]*ecdsa.PublicKey{}
	for _, k := range set.Keys {
		if k.Crv != "P-256" {
			continue
		}
		x, err1 := base64.RawURLEncoding.DecodeString(k.X)
		y, err2 := base64.RawURLEncoding.DecodeString(k.Y)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("key %s cannot be read", k.Kid)
		}
		point := append(append([]byte{4}, x...), y...)
		if keys[k.Kid], err1 = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point); err1 != nil {
			return nil, err1
		}
	}
	return keys, nil
}
