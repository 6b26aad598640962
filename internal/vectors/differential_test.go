package vectors

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwa"
	jwxs "github.com/lestrrat-go/jwx/v3/jws"
	jwxt "github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/quash-auth/quash/internal/jws"
	"github.com/quash-auth/quash/verifier"
	"github.com/quash-auth/quash/verifier/verifiertest"
)

// pen is one way to sign. The keys are constant, so that an input means the same tomorrow.
type pen struct {
	kid     string
	method  jwt.SigningMethod
	private any // what golang-jwt signs with
	public  any // what it verifies with
}

func (p pen) sign(header, payload string) string {
	text := b64([]byte(header)) + "." + b64([]byte(payload))
	signature, err := p.method.Sign(text, p.private)
	if err != nil {
		panic(err)
	}
	return text + "." + b64(signature)
}

// pens are the keys of the issuer, and last the attack of RFC 8725 section 2.1: a MAC with the text of a public key.
func pens(t testing.TB) (list []pen) {
	t.Helper()
	add := func(kid string, method jwt.SigningMethod, doc []byte) {
		var k jose.JSONWebKey
		if err := k.UnmarshalJSON(doc); err != nil {
			t.Fatal(err)
		}
		public := k.Key
		if s, ok := k.Key.(crypto.Signer); ok {
			public = s.Public()
		}
		list = append(list, pen{kid, method, k.Key, public})
	}
	cookbook := func(file string) []byte {
		doc, err := os.ReadFile("testdata/cookbook/" + file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var c struct{ Input struct{ Key json.RawMessage } }
		if err := json.Unmarshal(doc, &c); err != nil {
			t.Fatal(err)
		}
		return c.Input.Key
	}
	add("es", jwt.SigningMethodES256, []byte(keyA3))
	add("rs", jwt.SigningMethodRS256, cookbook("jws-4_1.rsa_v15_signature"))
	add("ed", jwt.SigningMethodEdDSA, cookbook("curve25519-jws"))
	add("hs", jwt.SigningMethodHS256, cookbook("jws-4_4.hmac-sha2_integrity_protection"))
	ps := list[1]
	ps.kid, ps.method = "ps", jwt.SigningMethodPS256
	list = append(list, ps)
	der, err := x509.MarshalPKIXPublicKey(list[1].public)
	if err != nil {
		t.Fatal(err)
	}
	secret := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return append(list, pen{"", jwt.SigningMethodHS256, secret, nil})
}

// spoil changes a token's text in one place: bits, base64 tricks, segments.
func spoil(raw string, how uint8, at uint16, insert string) string {
	if raw == "" {
		return raw
	}
	n := int(at) % len(raw)
	seg := strings.Split(raw, ".")
	switch how % 12 {
	case 1: // a bit of the text
		b := []byte(raw)
		b[n] ^= 1 << (at % 7)
		return string(b)
	case 2: // a bit of a segment's bytes
		s := &seg[int(at)%len(seg)]
		if b, err := base64.RawURLEncoding.DecodeString(*s); err == nil && len(b) > 0 {
			b[int(at/4)%len(b)] ^= 1 << (at % 8)
			*s = b64(b)
		}
	case 3:
		return raw[:n] + insert + raw[n:]
	case 4:
		return raw[:n] + raw[min(n+1+len(insert), len(raw)):]
	case 5: // bits that belong to no byte
		s := &seg[int(at)%len(seg)]
		if *s != "" {
			const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			last := strings.IndexByte(alphabet, (*s)[len(*s)-1])
			*s = (*s)[:len(*s)-1] + alphabet[(last+1+int(at%3))&63:][:1]
		}
	case 6:
		seg[int(at)%len(seg)] += strings.Repeat("=", 1+int(at)%3)
	case 7: // the other alphabet
		return strings.NewReplacer("-", "+", "_", "/").Replace(raw)
	case 8:
		seg[int(at)%len(seg)] = insert
	case 9:
		seg = append(seg, insert)
	case 10: // the JSON serialization, RFC 7515 section 7.2.2
		return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, seg[0], seg[len(seg)/2], seg[len(seg)-1])
	case 11:
		return insert + raw + insert
	}
	return strings.Join(seg, ".")
}

// FuzzDifferential: what jwx, go-jose or golang-jwt calls invalid, a signature or a token, we do not accept, and what we read of
// an accepted token is what they read.
func FuzzDifferential(f *testing.F) {
	list := pens(f)
	iss := verifiertest.New(f, verifiertest.WithStart(time.Unix(1_900_000_000, 0)), verifiertest.WithConfig(func(c *verifier.Config) {
		c.Issuers[0].Algorithms = []string{"ES256", "RS256", "PS256", "EdDSA", "HS256"}
		c.Issuers[0].Keys = nil
		for _, p := range list[:len(list)-1] {
			c.Issuers[0].Keys = append(c.Issuers[0].Keys, verifier.PublicKey{ID: p.kid, Algorithm: p.method.Alg(), Key: p.public})
		}
		c.MemoBytes = -1
	}))
	keys := jws.NewKeySet()
	for _, p := range list[:len(list)-1] {
		k, err := jws.NewKey(p.kid, p.method.Alg(), p.public, all)
		if err != nil {
			f.Fatal(err)
		}
		if err := keys.Add(k); err != nil {
			f.Fatal(err)
		}
	}
	sow(f, list, iss)
	o := others{list: list, now: iss.Now}
	f.Fuzz(func(t *testing.T, header, payload string, which, how uint8, at uint16, insert string) {
		if len(header)+len(payload)+len(insert) > 8<<10 {
			return
		}
		raw := spoil(list[int(which)%len(list)].sign(header, payload), how, at, insert)
		mine, err := judge(keys, raw)
		if err == nil {
			o.signature(t, raw, mine)
		}
		token, refused := iss.Verifier().Verify(context.Background(), raw)
		if refused != nil {
			return
		}
		if err != nil {
			t.Fatalf("%q: the verifier accepts what is not signed: %v", raw, err)
		}
		o.token(t, raw, token)
	})
}

// others are the libraries of other people.
type others struct {
	list []pen
	now  func() time.Time
}

// pen is the key that a header which we accepted names.
func (o *others) pen(t *testing.T, raw string) pen {
	p, err := jws.Split(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range o.list {
		if q.kid == p.Header.KeyID && q.kid != "" && q.method.Alg() == p.Header.Alg {
			return q
		}
	}
	t.Fatalf("%q: accepted with kid %q and alg %q", raw, p.Header.KeyID, p.Header.Alg)
	return pen{}
}

// hints are header members that we do not read, for they tell where to find a key. Others read them and are right to refuse
// what cannot be read; golang-jwt does not.
var hints = []string{"jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "cty", "nonce"}

// plain reports whether jwx and go-jose can be asked: no hints, and no blanks around the header, with which jwx computes another
// signature.
func plain(t *testing.T, raw string) bool {
	head, err := base64.RawURLEncoding.DecodeString(raw[:strings.IndexByte(raw, '.')])
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(head, &members); err != nil {
		t.Fatalf("%q: encoding/json: %v", head, err)
	}
	for _, h := range hints {
		if members[h] != nil {
			return false
		}
	}
	return head[0] == '{' && head[len(head)-1] == '}'
}

func (o *others) signature(t *testing.T, raw string, mine []byte) {
	p := o.pen(t, raw)
	cut := strings.LastIndexByte(raw, '.')
	signature, err := base64.RawURLEncoding.DecodeString(raw[cut+1:])
	if err == nil {
		err = p.method.Verify(raw[:cut], signature, p.public)
	}
	if err != nil {
		t.Fatalf("%q: golang-jwt: %v", raw, err)
	}
	if !plain(t, raw) {
		return
	}
	alg, ok := jwa.LookupSignatureAlgorithm(p.method.Alg())
	if !ok {
		t.Fatal(p.method.Alg())
	}
	if theirs, err := jwxs.Verify([]byte(raw), jwxs.WithKey(alg, p.public), jwxs.WithCompact()); err != nil || string(theirs) != string(mine) {
		t.Fatalf("%q: we read %q, jwx %q, %v", raw, mine, theirs, err)
	}
	object, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(p.method.Alg())})
	if err != nil {
		t.Fatalf("%q: go-jose: %v", raw, err)
	}
	if theirs, err := object.Verify(p.public); err != nil || string(theirs) != string(mine) {
		t.Fatalf("%q: we read %q, go-jose %q, %v", raw, mine, theirs, err)
	}
}

func (o *others) token(t *testing.T, raw string, mine *verifier.Token) {
	p := o.pen(t, raw)
	if plain(t, raw) {
		o.jwx(t, raw, p, mine)
	}
	claims := jwt.MapClaims{}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{p.method.Alg()}), jwt.WithIssuer(verifiertest.IssuerURL), jwt.WithAudience(verifiertest.APIAudience),
		jwt.WithStrictDecoding(), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(30*time.Second), jwt.WithTimeFunc(o.now), jwt.WithJSONNumber())
	if _, err := parser.ParseWithClaims(raw, claims, func(*jwt.Token) (any, error) { return p.public, nil }); err != nil {
		t.Fatalf("%q: golang-jwt: %v", raw, err)
	}
	for name, mine := range map[string]string{"iss": mine.Issuer, "sub": mine.Subject, "jti": mine.ID, "sid": mine.Session, "client_id": mine.Client} {
		if their, _ := claims[name].(string); their != mine {
			t.Fatalf("%q: we read %s %q, golang-jwt %q", raw, name, mine, their)
		}
	}
}

func (o *others) jwx(t *testing.T, raw string, p pen, mine *verifier.Token) {
	alg, _ := jwa.LookupSignatureAlgorithm(p.method.Alg())
	theirs, err := jwxt.Parse([]byte(raw), jwxt.WithKey(alg, p.public), jwxt.WithClock(jwxt.ClockFunc(o.now)), jwxt.WithAcceptableSkew(30*time.Second),
		jwxt.WithIssuer(verifiertest.IssuerURL), jwxt.WithAudience(verifiertest.APIAudience))
	if err != nil {
		t.Fatalf("%q: jwx: %v", raw, err)
	}
	sub, _ := theirs.Subject()
	jti, _ := theirs.JwtID()
	if sub != mine.Subject || jti != mine.ID {
		t.Fatalf("%q: we read sub %q and jti %q, jwx %q and %q", raw, mine.Subject, mine.ID, sub, jti)
	}
}
