package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quash-auth/quash/events"
)

// TestSituation2_TwoApplicationsOneAuthServer: two applications with an audience and an API node each share the issuer. One user is
// barred for fraud: both turn her away at her next request, and nobody else notices.
func TestSituation2_TwoApplicationsOneAuthServer(t *testing.T) {
	t.Parallel()
	shop, bank := newWebapp(t, "shop"), newWebapp(t, "bank")
	bank.node = 1
	registry := filepath.Join(t.TempDir(), "clients.json")
	text := fmt.Sprintf(`{"clients": [{"client_id": "quash", "public": true}, %s, %s]}`, shop.entry(), bank.entry())
	if err := os.WriteFile(registry, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, withReplicas(2), withIssuer("--clients", registry), withNode("--audience", "shop-api"), withNode("--audience", "bank-api"))
	shop.w, bank.w = w, w
	apps := []*webapp{shop, bank}

	in := func(s *surfer, name string) {
		t.Helper()
		for _, a := range apps {
			page := s.visit(a.url)
			if !page.asked() || !strings.Contains(page.text, "The "+a.client) {
				t.Fatalf("%s: got %d at %s, want to be asked for a password, every time", a.client, page.status, page.url)
			}
			if g := s.fill(page, name, w.password(name)); g.status != 200 || !strings.HasPrefix(g.text, a.client+" knows ") {
				t.Fatalf("%s after the login of %s: got %d %s", a.client, name, g.status, g.text)
			}
		}
	}
	works := func(what string, s *surfer) {
		t.Helper()
		for _, a := range apps {
			if g := s.visit(a.url); g.status != 200 || !strings.HasPrefix(g.text, a.client+" knows ") {
				t.Errorf("%s, %s: got %d at %s, want to be in", what, a.client, g.status, g.url)
			}
		}
	}
	ann, phone, bob := w.surfer(), w.surfer(), w.surfer()
	in(ann, "ann")
	in(phone, "ann")
	in(bob, "bob")
	works("ann", ann)
	old := append(shop.sessions(), bank.sessions()...)
	for _, s := range old { // an application's token is for its own API
		if claim(s.Access, "aud") == "shop-api" {
			w.wants(1, s.Access, 401)
		} else {
			w.wants(0, s.Access, 401)
		}
		for node := range 2 {
			w.wants(node, s.text("id_token"), 401)
		}
	}
	keys := w.json("GET", "/.well-known/jwks.json", "", "").raw

	sub := claim(w.login("ann").Access, "sub")
	hers := 0
	for _, s := range old {
		if claim(s.Access, "sub") == sub {
			hers++
		}
	}
	if hers != 4 || len(old) != 6 {
		t.Fatalf("got %d sessions, %d of them hers, want 6 and 4", len(old), hers)
	}
	barred := w.json("POST", "/admin/users/"+sub+"/disable", w.admin(), `{"reason":"fraud","txn":"case-7"}`)
	if barred.status != http.StatusOK {
		t.Fatalf("disable: %s", barred)
	}
	for _, s := range old {
		if claim(s.Access, "sub") == sub {
			for node := range 2 {
				w.wants(node, s.Access, 401)
			}
			w.out("refresh", w.on(1).form("/token", "grant_type", "refresh_token", "refresh_token", s.Refresh, "client_id", claim(s.Access, "client_id")))
		}
	}
	for _, s := range []*surfer{ann, phone} {
		for _, a := range apps {
			page := s.visit(a.url)
			if !page.asked() {
				t.Fatalf("%s: got %d at %s, want the login page", a.client, page.status, page.url)
			}
			if g := s.fill(page, "ann", "a wrong password"); g.status != 400 || strings.Contains(g.text, "disabled") {
				t.Errorf("wrong password: got %d %s, want nothing about the account", g.status, g.text)
			}
			if g := s.fill(page, "ann", w.password("ann")); g.status != 403 || !strings.Contains(g.text, "This account is disabled") {
				t.Errorf("%s: got %d %s, want 403 on the page", a.client, g.status, g.text)
			}
		}
	}
	if r := w.tryLogin("ann", w.password("ann")); r.status != 403 || r.code() != "access_denied" {
		t.Errorf("POST /login: got %s, want 403 access_denied", r)
	}
	works("bob, while ann is out", bob)
	if now := w.json("GET", "/.well-known/jwks.json", "", "").raw; now != keys {
		t.Error("the keys changed")
	}
	about := 0
	for _, s := range w.statements() {
		if s.Scope != events.Subject || s.Key != sub || s.Reason != "fraud" || s.Txn != "case-7" || s.By != "admin" {
			t.Errorf("got the statement %+v, want only the one about her", s)
		}
		about++
	}
	if about != 1 {
		t.Errorf("got %d statements, want 1", about)
	}

	if r := w.json("POST", "/admin/users/"+sub+"/enable", w.admin(), `{"reason":"cleared"}`); r.status != http.StatusOK {
		t.Fatalf("enable: %s", r)
	}
	in(ann, "ann")
	works("ann, enabled again", ann)
	for _, s := range old {
		if claim(s.Access, "sub") == sub {
			for node := range 2 {
				w.wants(node, s.Access, 401)
			}
			w.out("an old refresh token", w.form("/token", "grant_type", "refresh_token", "refresh_token", s.Refresh, "client_id", claim(s.Access, "client_id")))
		}
	}
	if page := phone.visit(shop.url); !page.asked() {
		t.Errorf("her other browser: got %d at %s, want the login page", page.status, page.url)
	}
	works("bob", bob)
}
