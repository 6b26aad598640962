package events_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
)

func TestSETIsLossless(t *testing.T) {
	t.Parallel()
	for name, r := range statements() {
		t.Run(name, func(t *testing.T) {
			claims, err := r.SET("https://transmitter.example", "https://transmitter.example/revocations")
			if err != nil {
				t.Fatal(err)
			}
			got, err := events.FromSET(claims)
			if err != nil {
				t.Fatalf("%v: %s", err, claims)
			}
			if got != r {
				t.Errorf("back:\n got %+v\nwant %+v\nfrom %s", got, r, claims)
			}
		})
	}
}

// RFC 8417 §2.2 and OpenID SSF 1.0 §4.1.
func TestSETFollowsTheProfile(t *testing.T) {
	t.Parallel()
	for name, r := range statements() {
		claims, err := r.SET("https://transmitter.example", "https://rx.example/revocations")
		if err != nil {
			t.Fatal(err)
		}
		var set map[string]any
		if err := json.Unmarshal(claims, &set); err != nil {
			t.Fatal(err)
		}
		for _, must := range []string{"iss", "iat", "jti", "aud", "events", "sub_id"} {
			if set[must] == nil {
				t.Errorf("%s: member %s is missing", name, must)
			}
		}
		for _, never := range []string{"sub", "exp"} {
			if _, ok := set[never]; ok {
				t.Errorf("%s: member %s must not be there", name, never)
			}
		}
		evs, _ := set["events"].(map[string]any)
		if len(evs) != 1 || evs["https://schemas.openid.net/secevent/caep/event-type/session-revoked"] == nil {
			t.Errorf("%s: events: got %v, want one CAEP session-revoked", name, evs)
		}
		if set["iss"] != "https://transmitter.example" || set["jti"] != r.ID {
			t.Errorf("%s: got iss %v jti %v", name, set["iss"], set["jti"])
		}
	}
}

const caep = `"https://schemas.openid.net/secevent/caep/event-type/session-revoked"`
const risc = `"https://schemas.openid.net/secevent/risc/event-type/`

func foreignSET(subject, event, body string) string {
	return `{"iss":"https://idp.example","jti":"24c63fb56e5a2d77","iat":1700000000,"aud":"https://sp.example/caep","txn":"8675309",` +
		`"sub_id":` + subject + `,"events":{` + event + `:` + body + `}}`
}

func TestFromSETOfOthers(t *testing.T) {
	t.Parallel()
	const body = `{"event_timestamp":1699999990.7,"initiating_entity":"policy","reason_admin":{"de":"Landesrichtlinie","en":"Policy C076E82F"},"reason_user":{"en":"x"}}`
	at := time.Unix(1699999990, 0).UTC()
	for _, c := range []struct {
		name, subject, event string
		scope                events.Scope
		issuer, key          string
	}{
		{"jwt", `{"format":"jwt_id","iss":"https://as.example","jti":"t1"}`, caep, events.Token, "https://as.example", "t1"},
		{"session", `{"format":"complex","session":{"format":"opaque","id":"s1"}}`, caep, events.Session, "https://idp.example", "s1"},
		{"session of a user", `{"format":"complex","session":{"format":"opaque","id":"s1"},"user":{"format":"iss_sub","iss":"https://as.example","sub":"u"}}`, caep, events.Session, "https://as.example", "s1"},
		{"user", `{"format":"iss_sub","iss":"https://as.example","sub":"u1"}`, caep, events.Subject, "https://as.example", "u1"},
		{"user in a complex subject", `{"format":"complex","user":{"format":"iss_sub","iss":"https://as.example","sub":"u1"}}`, caep, events.Subject, "https://as.example", "u1"},
		{"application", `{"format":"complex","application":{"format":"opaque","id":"app"}}`, caep, events.Client, "https://idp.example", "app"},
		{"RISC disabled", `{"format":"iss_sub","iss":"https://as.example","sub":"u1"}`, risc + `account-disabled"`, events.Subject, "https://as.example", "u1"},
		{"RISC sessions", `{"format":"iss_sub","iss":"https://as.example","sub":"u1"}`, risc + `sessions-revoked"`, events.Subject, "https://as.example", "u1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := events.FromSET([]byte(foreignSET(c.subject, c.event, body)))
			if err != nil {
				t.Fatal(err)
			}
			want := events.Revocation{ID: r.ID, Issuer: c.issuer, Scope: c.scope, Key: c.key, At: at, By: "policy", Reason: "Policy C076E82F", Txn: "8675309"}
			if c.scope >= events.Subject {
				want.Before = at
			}
			if r != want {
				t.Errorf("\n got %+v\nwant %+v", r, want)
			}
			if !strings.HasPrefix(r.ID, "set-") || strings.Contains(r.ID, "24c63fb56e5a2d77") {
				t.Errorf("ID %q: want one that no other transmitter can occupy", r.ID)
			}
		})
	}
}

func TestFromSETRefuses(t *testing.T) {
	t.Parallel()
	user := `{"format":"iss_sub","iss":"https://as.example","sub":"u1"}`
	good := foreignSET(user, caep, `{}`)
	if _, err := events.FromSET([]byte(good)); err != nil {
		t.Fatalf("the base of this test: %v", err)
	}
	for name, claims := range map[string]string{
		"exp":                 strings.Replace(good, `"iat"`, `"exp":1800000000,"iat"`, 1),
		"sub":                 strings.Replace(good, `"iat"`, `"sub":"u1","iat"`, 1),
		"no iat":              strings.Replace(good, `"iat":1700000000,`, ``, 1),
		"no jti":              strings.Replace(good, `"jti":"24c63fb56e5a2d77",`, ``, 1),
		"no subject":          strings.Replace(good, `"sub_id":`+user+`,`, ``, 1),
		"duplicate":           strings.Replace(good, `"iat"`, `"sub_id":{"format":"iss_sub","iss":"i","sub":"other"},"iat"`, 1),
		"two events":          strings.Replace(good, caep+`:{}`, caep+`:{},"https://x.example/y":{}`, 1),
		"other event":         foreignSET(user, `"https://schemas.openid.net/secevent/caep/event-type/session-established"`, `{}`),
		"account enabled":     foreignSET(user, risc+`account-enabled"`, `{}`),
		"e-mail":              foreignSET(`{"format":"email","email":"a@b.example"}`, caep, `{}`),
		"opaque":              foreignSET(`{"format":"opaque","id":"x"}`, caep, `{}`),
		"aliases":             foreignSET(`{"format":"aliases","identifiers":[]}`, caep, `{}`),
		"user on one device":  foreignSET(`{"format":"complex","user":`+user+`,"device":{"format":"opaque","id":"d"}}`, caep, `{}`),
		"user of a tenant":    foreignSET(`{"format":"complex","user":`+user+`,"tenant":{"format":"opaque","id":"d"}}`, caep, `{}`),
		"user in application": foreignSET(`{"format":"complex","user":`+user+`,"application":{"format":"opaque","id":"d"}}`, caep, `{}`),
		"empty complex":       foreignSET(`{"format":"complex"}`, caep, `{}`),
		"nested complex":      foreignSET(`{"format":"complex","user":{"format":"complex","user":`+user+`}}`, caep, `{}`),
		"empty sub":           foreignSET(`{"format":"iss_sub","iss":"i","sub":""}`, caep, `{}`),
		"extra member":        foreignSET(`{"format":"iss_sub","iss":"i","sub":"s","email":"e"}`, caep, `{}`),
		"not an object":       foreignSET(`"u1"`, caep, `{}`),
		"session for RISC":    foreignSET(`{"format":"complex","session":{"format":"opaque","id":"s"}}`, risc+`account-disabled"`, `{}`),
		"quash disagrees":     foreignSET(user, caep, `{"initiating_entity":"user","quash":{"scope":"subject","iss":"https://as.example","key":"u2","before":1,"retain_until":1800000000}}`),
		"quash incomplete":    foreignSET(user, caep, `{"initiating_entity":"user","quash":{"scope":"subject"}}`),
		"long key":            foreignSET(`{"format":"iss_sub","iss":"i","sub":"`+strings.Repeat("s", 600)+`"}`, caep, `{}`),
	} {
		if r, err := events.FromSET([]byte(claims)); !errors.Is(err, events.ErrUndecodable) {
			t.Errorf("%s: got %+v, %v, want ErrUndecodable", name, r, err)
		}
	}
}
