package issuer_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/quash-auth/quash/issuer"
)

// FuzzClaims: what is signed says the same as encoding/json would, member for member.
func FuzzClaims(f *testing.F) {
	f.Add("https://issuer.example", "sub", "api", "", "sid", "read write", int64(1), uint64(1), int64(2))
	f.Add("<&>", "client:\"x\\", "a\u2028b", "two", "", "", int64(-1), uint64(0), int64(0))
	f.Add("é\x01\n", "x", "", "", "s", "\t", int64(1)<<53, uint64(1)<<53, int64(5))
	f.Fuzz(func(t *testing.T, iss, sub, aud, aud2, sid, scope string, at int64, gen uint64, auth int64) {
		c := issuer.AccessClaims{Issuer: iss, Subject: sub, Audience: []string{aud}, Client: "app", Expires: at, Issued: at, ID: "id",
			Session: sid, Gen: gen, Auth: auth, Scope: scope, Once: at%2 == 0}
		if aud2 != "" {
			c.Audience = append(c.Audience, aud2)
		}
		own, standard, err := issuer.EncodeClaims(c)
		if err != nil {
			t.Fatal(err)
		}
		var got, want any
		if err := json.Unmarshal(own, &got); err != nil {
			t.Fatalf("%s: %v", own, err)
		}
		if err := json.Unmarshal(standard, &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %s, want %s", own, standard)
		}
	})
}

// TestEveryClaimIsWritten: a claim that is added to the struct and forgotten by the writer would be missing in every token.
func TestEveryClaimIsWritten(t *testing.T) {
	var c issuer.AccessClaims
	v := reflect.ValueOf(&c).Elem()
	for n := range v.NumField() {
		switch f := v.Field(n); f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Int64:
			f.SetInt(7)
		case reflect.Uint64:
			f.SetUint(7)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		default:
			t.Fatalf("%s: fill it here", v.Type().Field(n).Name)
		}
	}
	own, standard, err := issuer.EncodeClaims(c)
	if err != nil {
		t.Fatal(err)
	}
	var got, want map[string]any
	if err := json.Unmarshal(own, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(standard, &want); err != nil {
		t.Fatal(err)
	}
	if len(want) != v.NumField() || !reflect.DeepEqual(got, want) {
		t.Errorf("got %s, want %s", own, standard)
	}
}
