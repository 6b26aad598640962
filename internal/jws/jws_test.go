package jws_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/quash-auth/quash/internal/jws"
)

// all is every algorithm there is.
var all = func() (set jws.AlgSet) {
	for _, name := range strings.Split(jws.AlgNames(), ", ") {
		alg, ok := jws.AlgByName(name)
		if !ok {
			panic(name)
		}
		set = set.With(alg)
	}
	return set
}()

func TestSplitVerify(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	token := jwt.New(jwt.SigningMethodES256)
	token.Header["kid"] = "a"
	raw, err := token.SignedString(private)
	if err != nil {
		t.Fatal(err)
	}
	p, err := jws.Split(raw)
	if err != nil {
		t.Fatal(err)
	}
	if want := (jws.Header{Alg: "ES256", KeyID: "a", Typ: "JWT", HasTyp: true}); p.Header != want {
		t.Errorf("got the header %+v, want %+v", p.Header, want)
	}
	key, err := jws.NewKey("", "", &private.PublicKey, all)
	if err != nil {
		t.Fatal(err)
	}
	es256, _ := jws.AlgByName("ES256")
	es384, _ := jws.AlgByName("ES384")
	if err := key.Verify(es256, p.Signed, p.Signature); err != nil {
		t.Errorf("got %v for what the key signed", err)
	}
	if err := key.Verify(es256, p.Signed+"A", p.Signature); err == nil {
		t.Error("a signature held for another text")
	}
	if err := key.Verify(es384, p.Signed, p.Signature); !errors.Is(err, jws.ErrAlgorithm) {
		t.Errorf("another algorithm than the key's: got %v", err)
	}
}

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"none", "None", "es256", "ES521", "HS1", ""} {
		if _, ok := jws.AlgByName(name); ok {
			t.Errorf("%q passed for an algorithm", name)
		}
	}
	var none jws.AlgSet
	es256, _ := jws.AlgByName("ES256")
	hs256, _ := jws.AlgByName("HS256")
	if none.Has(es256) || none.HasHMAC() || none.With(es256).Has(hs256) || none.With(es256).HasHMAC() || !none.With(hs256).HasHMAC() {
		t.Error("a set is not what was put into it")
	}
}
