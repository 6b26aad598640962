package vectors

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/quash-auth/quash/internal/jws"
	"github.com/quash-auth/quash/verifier/verifiertest"
)

// sow adds the seeds: for each key a token that we accept, what attackers make of it, and each way to spoil its text.
func sow(f *testing.F, list []pen, iss *verifiertest.Issuer) {
	f.Helper()
	p, err := jws.Split(iss.Mint())
	if err != nil {
		f.Fatal(err)
	}
	claims := string(p.Payload)
	header := func(p pen) string { return fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt"}`, p.method.Alg(), p.kid) }
	for n, p := range list {
		f.Add(header(p), claims, uint8(n), uint8(0), uint16(0), "")
		if _, err := iss.Verifier().Verify(context.Background(), p.sign(header(p), claims)); (err == nil) != (p.kid != "") {
			f.Fatalf("%s: %v", p.kid, err) // the seeds must begin on both sides of the border
		}
	}
	good := header(list[0])
	for how := range uint8(12) {
		for at := range uint16(3) {
			f.Add(good, claims, uint8(0), how, at*37, "A")
		}
	}
	for _, insert := range []string{"\n", "\r\n", " ", "=", ".", "\x00", "é", "e30"} {
		f.Add(good, claims, uint8(2), uint8(3), uint16(40), insert)
		f.Add(good, claims, uint8(2), uint8(11), uint16(0), insert)
	}
	f.Add(header(list[1]), claims, uint8(5), uint8(0), uint16(0), "")                                       // HS256 by the RSA key's text,
	f.Add(strings.Replace(header(list[1]), "RS256", "HS256", 1), claims, uint8(5), uint8(0), uint16(0), "") // and said so
	f.Add(strings.Replace(header(list[4]), `"ps"`, `"rs"`, 1), claims, uint8(4), uint8(0), uint16(0), "")   // PS256 with the key for RS256
	for _, h := range []string{
		`{"alg":"none","kid":"es","typ":"at+jwt"}`, `{"alg":"none"}`, `{"alg":"nOnE","kid":"es"}`, `{"alg":"es256","kid":"es","typ":"at+jwt"}`,
		`{"alg":"ES256","alg":"none","kid":"es","typ":"at+jwt"}`, `{"alg":"none","alg":"ES256","kid":"es","typ":"at+jwt"}`,
		`{"alg":"ES256","ALG":"none","kid":"es","typ":"at+jwt"}`, `{"alg":"ES256","kid":"es","kid":"rs","typ":"at+jwt"}`,
		`{"alg":"ES256","kid":"es","typ":"at+jwt","crit":["exp"],"exp":1}`, `{"alg":"ES256","kid":"es","typ":"at+jwt","crit":["b64"],"b64":false}`,
		`{"alg":"ES256","kid":"es","typ":"at+jwt","b64":false}`, `{"alg":"ES256","kid":"es","typ":"at+jwt","b64":true}`, `{"alg":"ES256","kid":"es","typ":"at+jwt","crit":[]}`,
		`{"alg":"ES256","kid":"es","typ":"at+jwt","zip":"DEF"}`, `{"alg":"ES256","kid":"es","typ":"at+jwt","jwk":` + keyA3 + `}`,
		`{"alg":"ES256","kid":"es","typ":"at+jwt","jku":"https://evil.test","x5u":"https://evil.test","x5c":["AAAA"]}`, `{"alg":"ES256","kid":"es","typ":"at+jwt","x5c":1}`,
		`{"alg":"ES256","kid":"es","typ":"at+jwt","x5t":"A"}`, `{"alg":"ES256","kid":"es","typ":"at+jwt","cty":1}`, `{"alg":"ES256","kid":"es","typ":"at+jwt","nonce":1}`,
		`{"\u0061lg":"ES256","kid":"\u0065s","typ":"at+jwt"}`, `{"alg":"ES256","kid":"es","typ":"application/AT+JWT"}`, `{"alg":"ES256","kid":null,"typ":"at+jwt"}`,
		"\ufeff" + good, good + good, good + " ", "[" + good + "]", "", "null",
	} {
		f.Add(h, claims, uint8(0), uint8(0), uint16(0), "")
	}
	for _, c := range []string{
		`{"jti":"other",` + claims[1:], strings.TrimSuffix(claims, "}") + `,"sub":"other"}`, strings.TrimSuffix(claims, "}") + `,"SUB":"other"}`,
		strings.Replace(claims, `"sub"`, `"\u0073ub"`, 1), strings.Replace(claims, `"exp":`, `"exp":1.9000003e9,"x":`, 1), strings.Replace(claims, `"iat":`, `"iat":"1900000000","x":`, 1),
		strings.Replace(claims, `"aud":`, `"aud":"https://api.test","x":`, 1), strings.Replace(claims, `"aud":`, `"aud":["https://api.test",1],"x":`, 1),
		strings.TrimSuffix(claims, "}") + `,"nbf":1900000010}`, strings.TrimSuffix(claims, "}") + `,"deep":` + strings.Repeat("[", 900) + strings.Repeat("]", 900) + `}`,
		strings.TrimSuffix(claims, "}") + `,"x":"\ud800"}`, strings.TrimSuffix(claims, "}") + ",\"x\":\"\xff\"}", claims + " ", claims + "{}", "{}", "", "null",
	} {
		f.Add(good, c, uint8(0), uint8(0), uint16(0), "")
	}
}
