package events_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
)

// FuzzDecode checks that what Decode accepts survives a round trip, and that
// encoding/json reads the same out of it.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/v1/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"v":1,"id":"1","iss":"i","ISS":"j","scope":"token","key":"k","until":1800000000}`))
	f.Add([]byte(`{"v":1,"id":"1","iss":"\u0069","scope":"token","key":"\ud83d\udc0e","until":1800000000,"x":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := events.Decode(data)
		if err != nil {
			return
		}
		var loose map[string]any
		if err := json.Unmarshal(data, &loose); err != nil {
			t.Fatalf("accepted what encoding/json refuses: %v", err)
		}
		if loose["id"] != r.ID || loose["iss"] != r.Issuer || loose["scope"] != r.Scope.String() {
			t.Fatalf("encoding/json reads %v, Decode %+v", loose, r)
		}
		if key, _ := loose["key"].(string); key != r.Key {
			t.Fatalf("encoding/json reads key %q, Decode %q", key, r.Key)
		}
		switch r.By {
		case "admin", "user", "policy", "system":
		default:
			return // readers tolerate it, writers do not
		}
		if len(r.Actor) > events.MaxText || len(r.Reason) > events.MaxText || len(r.Txn) > events.MaxText {
			return
		}
		again, err := events.Encode(r)
		if err != nil {
			t.Fatalf("encode what was decoded: %v", err)
		}
		back, err := events.Decode(again)
		if err != nil || back != r {
			t.Fatalf("round trip: got %+v, %v, want %+v", back, err, r)
		}
	})
}

func FuzzFromSET(f *testing.F) {
	for _, r := range statements() {
		claims, err := r.SET("https://tx.example", "https://rx.example")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(claims)
	}
	f.Add([]byte(foreignSET(`{"format":"complex","session":{"format":"opaque","id":"s1"}}`, caep, `{"event_timestamp":1.5e9}`)))
	f.Fuzz(func(t *testing.T, claims []byte) {
		r, err := events.FromSET(claims)
		if err != nil {
			return
		}
		if r.ID == "" || r.Issuer == "" || !r.Scope.Valid() || (r.Key == "") != (r.Scope == events.Issuer) {
			t.Fatalf("accepted an incomplete statement: %+v", r)
		}
		if r.By == "" || r.Until.IsZero() {
			return // foreign: Complete fills them
		}
		if r.Validate(time.Unix(0, 0)) != nil {
			return // ours, but no longer publishable
		}
		again, err := r.SET("https://tx.example", "")
		if err != nil {
			t.Fatalf("SET of what was read: %v", err)
		}
		if back, err := events.FromSET(again); err != nil || back != r {
			t.Fatalf("round trip: got %+v, %v, want %+v", back, err, r)
		}
	})
}

// FuzzSubject checks that no input reaches a NATS subject: keys and issuers
// travel in the payload only.
func FuzzSubject(f *testing.F) {
	f.Add(uint8(1))
	f.Add(uint8(200))
	f.Fuzz(func(t *testing.T, n uint8) {
		s := events.Scope(n)
		subject := events.SubjectFor(s)
		if !s.Valid() {
			return
		}
		rest, ok := strings.CutPrefix(subject, events.SubjectRevoked+".")
		if !ok || strings.ContainsAny(rest, " .*>\r\n\t") {
			t.Fatalf("subject %q", subject)
		}
		if back, err := events.ParseScope(rest); err != nil || back != s {
			t.Fatalf("scope of %q: got %v, %v", subject, back, err)
		}
	})
}

func FuzzScope(f *testing.F) {
	for _, s := range events.Scopes() {
		f.Add(s.String())
	}
	f.Add("TOKEN")
	f.Fuzz(func(t *testing.T, name string) {
		s, err := events.ParseScope(name)
		if err == nil && (s.String() != name || !s.Valid()) {
			t.Fatalf("%q was read as %v", name, s)
		}
	})
}
