package vectors

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

const (
	joe   = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	keyA1 = `{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}`
	keyA2 = `{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}`
	keyA3 = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}`
	keyA4 = `{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}`

	sigA1 = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	sigA2 = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
	sigA3 = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
	sigA4 = "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
)

// TestM9_RFC7515 is appendix A. Sections 5 to 7, which need no signature or are no compact tokens, must be refused.
func TestM9_RFC7515(t *testing.T) {
	t.Parallel()
	const claims = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"
	for _, test := range []struct{ section, key, raw, want string }{
		{"A.1", keyA1, "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + joe + "." + sigA1, claims},
		{"A.2", keyA2, "eyJhbGciOiJSUzI1NiJ9." + joe + "." + sigA2, claims},
		{"A.3", keyA3, "eyJhbGciOiJFUzI1NiJ9." + joe + "." + sigA3, claims},
		{"A.4", keyA4, "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA." + sigA4, "Payload"},
		{"A.5", keyA3, "eyJhbGciOiJub25lIn0." + joe + ".", ""},
		{"A.6", keyA3, `{"payload":"` + joe + `","signatures":[{"protected":"eyJhbGciOiJFUzI1NiJ9","header":{"kid":"e9bc097a-ce51-4036-9562-d2ade882db0d"},"signature":"` + sigA3 + `"}]}`, ""},
		{"A.7", keyA3, `{"payload":"` + joe + `","protected":"eyJhbGciOiJFUzI1NiJ9","header":{"kid":"e9bc097a-ce51-4036-9562-d2ade882db0d"},"signature":"` + sigA3 + `"}`, ""},
	} {
		keys, err := keysOf(json.RawMessage(test.key))
		if err != nil {
			t.Fatalf("%s: %v", test.section, err)
		}
		payload, err := judge(keys, test.raw)
		if string(payload) != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: got %q, %v, want %q", test.section, payload, err, test.want)
		}
	}
}

// TestM9_Cookbook is RFC 7520 section 4 and RFC 8037 appendix A.4: compact tokens are taken, whatever else they are written as
// is not, nor is a token without its payload.
func TestM9_Cookbook(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/cookbook/*.json")
	if err != nil || len(files) != 9 {
		t.Fatalf("got %q, %v", files, err)
	}
	compact, other := 0, 0
	for _, file := range files {
		doc, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c struct {
			Input struct {
				Payload string
				Key     json.RawMessage
			}
			Output map[string]json.RawMessage
		}
		if err := json.Unmarshal(doc, &c); err != nil {
			t.Fatal(err)
		}
		if several := []json.RawMessage(nil); json.Unmarshal(c.Input.Key, &several) == nil {
			c.Input.Key = several[0]
		}
		keys, err := keysOf(c.Input.Key)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for form, output := range c.Output {
			var raw string
			if form != "compact" {
				raw = string(output)
			} else if err := json.Unmarshal(output, &raw); err != nil {
				t.Fatal(err)
			}
			payload, err := judge(keys, raw)
			if form == "compact" && filepath.Base(file) != "jws-4_5.signature_with_detached_content.json" {
				compact++
				if err != nil || string(payload) != c.Input.Payload {
					t.Errorf("%s: got %q, %v, want %q", file, payload, err, c.Input.Payload)
				}
				continue
			}
			other++
			if err == nil {
				t.Errorf("%s: %s was accepted", file, form)
			}
		}
	}
	t.Logf("compact tokens accepted %d, other forms refused %d", compact, other)
	if compact != 5 || other == 0 {
		t.Errorf("%d compact tokens and %d others were tried", compact, other)
	}
}

// TestM9_Thumbprints: a key without kid is known by its thumbprint.
func TestM9_Thumbprints(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ where, key, want string }{
		{"RFC 7638 section 3.1", `{"kty":"RSA","e":"AQAB","alg":"RS256","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}`, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		{"RFC 8037 appendix A.3", `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
	} {
		keys, err := keysOf(json.RawMessage(test.key))
		if err != nil || len(keys.IDs()) != 1 || keys.IDs()[0] != test.want {
			t.Errorf("%s: got %q, %v, want %q", test.where, keys.IDs(), err, test.want)
		}
	}
}
