package main

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

// TestM4_RevokeAllThenLoginInTheSameSecond: revoke-all and login, a thousand times, and on until 500 were within one second of the clock:
// at the API the old token is refused and the new one accepted, never the reverse.
func TestM4_RevokeAllThenLoginInTheSameSecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withIssuer("--password-memory", "64", "--password-passes", "1", "--revoke-burst", "100000"))
	const rounds, within = 1000, 500
	old := w.login("ann")
	body := `{"scope":"subject","key":"` + claimOf(t, old.Access, "sub") + `","reason":"test"}`
	n, sameSecond := 0, 0
	var admin string
	for ; n < rounds || sameSecond < within; n++ {
		if n%100 == 0 { // before it is over, on a slow machine
			admin = w.login(worldAdmin).Access
		}
		if r := w.json("POST", "/admin/revocations", admin, body); r.status != 200 {
			t.Fatalf("round %d: revoke-all: %s", n, r)
		}
		fresh := w.login("ann")
		if r := w.call(0, fresh.Access); r.status != 200 {
			t.Fatalf("round %d: the new token: %s, want 200", n, r)
		}
		w.wants(0, old.Access, 401)
		if r := w.call(0, fresh.Access); r.status != 200 {
			t.Fatalf("round %d: the new token once the old one is refused: %s, want 200", n, r)
		}
		if issuedAt(t, old.Access) == issuedAt(t, fresh.Access) {
			sameSecond++
		}
		if n%100 == 0 {
			w.out("the old refresh token", w.tryRefresh(old.Refresh))
			fresh = w.refresh(fresh)
		}
		old = fresh
	}
	t.Logf("%d of %d rounds had both logins in the same second", sameSecond, n)
}

// issuedAt of a token, which is not verified.
func issuedAt(t testing.TB, token string) int64 { return instantOf(t, token, "iat") }

// instantOf is a claim of a token, which is not verified, in Unix seconds.
func instantOf(t testing.TB, token, claim string) int64 {
	t.Helper()
	parts := strings.Split(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(parts[min(1, len(parts)-1)])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	at, _ := claims[claim].(float64)
	if at == 0 {
		t.Fatalf("no %s: %s", claim, text)
	}
	return int64(at)
}
