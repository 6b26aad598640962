package issuer_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/quash-auth/quash/issuer"
)

func FuzzLogin(f *testing.F) {
	for _, s := range []string{`{"username":"ann","password":"x"}`, `{"username":"ann","username":"bob","password":"x"}`,
		`{"username":"\ud800","password":"x"}`, `{"username":"a","password":"b","client_id":"c"} `, `[]`, ``, "{\"username\":\"\xff\"}", `{"Username":"a","password":"b"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		name, pass, client, err := issuer.ParseLogin(body)
		if err != nil {
			return
		}
		if name == "" || pass == "" || len(name) > 256 || len(pass) > 1024 || !utf8.ValidString(name+pass+client) {
			t.Errorf("%q: accepted name %q, password %q", body, name, pass)
		}
		var std map[string]any // the stock decoder agrees on everything that is accepted
		if err := json.Unmarshal(body, &std); err != nil || std["username"] != name || std["password"] != pass {
			t.Errorf("%q: got %q and %q, encoding/json says %v %v", body, name, pass, std, err)
		}
	})
}

func FuzzTokenForm(f *testing.F) {
	for _, s := range []string{"grant_type=refresh_token&refresh_token=x", "a=1&a=2", "a=1;b=2", "%", "a=%00", "=", "&&", "grant_type", "scope=a+b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		form, err := issuer.ParseForm(body)
		if err != nil {
			return
		}
		std, err := url.ParseQuery(body)
		if err != nil {
			t.Fatalf("%q: accepted, and net/url says %v", body, err)
		}
		for name, vs := range std {
			if len(vs) != 1 || form[name] != vs[0] {
				t.Errorf("%q: %q is %q, net/url says %q", body, name, form[name], vs)
			}
		}
	})
}

func FuzzRefreshToken(f *testing.F) {
	good := issuer.NewRefreshToken()
	for _, s := range []string{good, good + "=", good[:len(good)-1], "." + good, strings.Replace(good, ".", "..", 1), "", ".", good + "\n", strings.ToUpper(good)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		sid, secret, ok := issuer.ParseRefreshToken(raw)
		if !ok {
			return
		}
		// One spelling for each secret: no other text of the same token.
		if again := sid + "." + encode64(secret); again != raw || len(secret) != 48 || len(sid) != 22 {
			t.Errorf("%q: accepted as %q", raw, again)
		}
	})
}

func FuzzAdmin(f *testing.F) {
	for _, s := range []string{`{"scope":"session","key":"x"}`, `{"scope":"subject","key":"x","gen":3,"until":1e9}`, `{"scope":"issuer"}`,
		`{"scope":"x"}`, `{"scope":"key","key":"\u0000","reason":"r","txn":"t"}`, `{"until":99999999999999999999}`,
		`{"scope":"client","key":"x","dry_run":true,"confirm":"x"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := issuer.ParseAdmin(body)
		if err == nil && !r.Scope.Valid() {
			t.Errorf("%q: accepted without a scope", body)
		}
	})
}

func FuzzPHC(f *testing.F) {
	for _, s := range []string{"$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "$$$$$", "$argon2id$v=19$m=+64,t=1,p=1$AAAA$AAAA"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if again, err := issuer.ParsePHC(s); err == nil && again != s {
			t.Errorf("%q: read as %q", s, again)
		}
	})
}

func FuzzOnce(f *testing.F) {
	for _, s := range []string{`{"sub":"x","scope":"a b","audience":["x"],"expires_in":60,"reason":"r","txn":"t"}`, `{"username":"\u0000","audience":"x"}`,
		`{"expires_in":1e3}`, `{"expires_in":-1}`, `{"sub":"x","username":"x"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if o, err := issuer.ParseOnce(body); err == nil && (o.Life < 0 || o.Life > time.Hour) {
			t.Errorf("%q: accepted a life of %v", body, o.Life)
		}
	})
}

func FuzzClients(f *testing.F) {
	for _, s := range []string{`{"clients":[{"client_id":"a","public":true,"scope":"x y","audience":["b"],"redirect_uris":["https://x.example/cb"]}]}`,
		`{"clients":[{"client_id":"a","client_secret_hash":"sha256$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","grant_types":["client_credentials"]}]}`,
		`{"clients":[]}`, `{"clients":null}`, `[]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		clients, err := issuer.ParseClients(text)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, c := range clients {
			if issuer.ClientProblem(c) != "" || seen[c.ID] || c.Public == (c.SecretHash != "") {
				t.Errorf("%q: accepted %+v", text, c)
			}
			seen[c.ID] = true
		}
	})
}
