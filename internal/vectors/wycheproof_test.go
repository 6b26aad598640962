package vectors

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"

	"github.com/quash-auth/quash/internal/jws"
)

// vector is one case of any of the files. What it has not is empty.
type vector struct {
	ID              int `json:"tcId"`
	Comment, Result string
	Flags           []string
	JWS, JWE        text
	Msg, Sig        string
}

// text is a token: a string, or the JSON that stands in its place.
type text string

func (x *text) UnmarshalJSON(doc []byte) error {
	if json.Unmarshal(doc, (*string)(x)) != nil {
		*x = text(doc)
	}
	return nil
}

// group is some cases with one key.
type group struct {
	Comment         string
	Private, Public json.RawMessage
	PublicKeyDER    string
	Tests           []vector
}

func load(t *testing.T, file string) []group {
	t.Helper()
	doc, err := fs.ReadFile(wycheproof.TestVectors, file)
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		NumberOfTests int
		TestGroups    []group
	}
	if err := json.Unmarshal(doc, &all); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range all.TestGroups {
		n += len(g.Tests)
	}
	if n == 0 || n != all.NumberOfTests {
		t.Fatalf("%s has %d cases and says %d", file, n, all.NumberOfTests)
	}
	return all.TestGroups
}

// count is the score of a file.
type count struct{ accepted, refused, acceptable, stricter, skipped int }

func (c count) String() string {
	return fmt.Sprintf("valid accepted %d, invalid refused %d, acceptable refused %d, valid refused on purpose %d, skipped %d",
		c.accepted, c.refused, c.acceptable, c.stricter, c.skipped)
}

// mark holds one verdict against the vector's. why is the reason for which a valid one is refused on purpose, or "".
func (c *count) mark(t *testing.T, v vector, err error, why string) {
	t.Helper()
	switch {
	case why != "" && v.Result != "valid":
		t.Errorf("case %d (%s) is %s: it needs no reason to be refused", v.ID, v.Comment, v.Result)
	case why != "" && err == nil:
		t.Errorf("case %d (%s) was accepted, but is said to be refused: %s", v.ID, v.Comment, why)
	case why != "":
		c.stricter++
	case v.Result == "valid" && err != nil:
		t.Errorf("case %d (%s) is valid and was refused: %v", v.ID, v.Comment, err)
	case v.Result == "valid":
		c.accepted++
	case err == nil:
		t.Errorf("case %d (%s, %v) is %s and was accepted", v.ID, v.Comment, v.Flags, v.Result)
	case v.Result == "acceptable":
		c.acceptable++
	default:
		c.refused++
	}
}

// TestM9_Wycheproof: every case about our algorithms has the verdict of its author, or a reason here.
func TestM9_Wycheproof(t *testing.T) {
	t.Parallel()
	var total count
	file := func(name string, f func(t *testing.T, groups []group, c *count)) {
		t.Run(name, func(t *testing.T) {
			var c count
			f(t, load(t, name+"_test.json"), &c)
			t.Logf("%s: %v", name, c)
			total.accepted += c.accepted
			total.refused += c.refused
			total.acceptable += c.acceptable
			total.stricter += c.stricter
			total.skipped += c.skipped
		})
	}
	for _, name := range []string{"json_web_signature", "json_web_key", "json_web_crypto", "json_web_encryption"} {
		file(name, func(t *testing.T, groups []group, c *count) { compact(t, name, groups, c) })
	}
	for _, f := range primitives {
		file(f.name, func(t *testing.T, groups []group, c *count) { primitive(t, f.name, f.alg, f.refuse, groups, c) })
	}
	t.Logf("all files: %v", total)
	if total.accepted == 0 || total.refused == 0 {
		t.Error("nothing was held against anything")
	}
}

// compact runs the files whose cases are whole tokens.
func compact(t *testing.T, file string, groups []group, c *count) {
	for _, g := range groups {
		doc := g.Private
		if g.Public != nil {
			doc = g.Public
		}
		keys, keysErr := keysOf(doc)
		byID := map[int]text{}
		for _, v := range g.Tests {
			byID[v.ID] = v.JWS
			if twin, ok := skipped[at{file, v.ID}]; ok {
				if byID[twin] != v.JWS {
					t.Errorf("case %d differs from case %d: it needs no skip", v.ID, twin)
				}
				c.skipped++
				continue
			}
			err, why := keysErr, stricter[at{file, v.ID}]
			switch {
			case v.JWE != "": // we decrypt nothing: each is refused, even one that its author calls valid
				_, err = judge(jws.NewKeySet(), string(v.JWE))
				if v.Result == "valid" {
					why = "encrypted tokens are not read"
				}
			case err == nil:
				_, err = judge(keys, string(v.JWS))
			}
			c.mark(t, v, err, why)
		}
	}
}

// primitives are files of bare signatures: the message stands where the text before a token's last dot does.
var primitives = []struct {
	name, alg string
	refuse    string // why even what is valid there must be refused here
}{
	{name: "ecdsa_secp256r1_sha256_p1363", alg: "ES256"},
	{name: "ecdsa_secp384r1_sha384_p1363", alg: "ES384"},
	{name: "ecdsa_secp521r1_sha512_p1363", alg: "ES512"},
	{name: "ed25519", alg: "EdDSA"},
	{name: "rsa_signature_2048_sha256", alg: "RS256"},
	{name: "rsa_signature_2048_sha384", alg: "RS384"},
	{name: "rsa_signature_2048_sha512", alg: "RS512"},
	{name: "rsa_signature_3072_sha256", alg: "RS256"},
	{name: "rsa_signature_4096_sha384", alg: "RS384"},
	{name: "rsa_signature_8192_sha512", alg: "RS512"},
	{name: "rsa_pss_2048_sha256_mgf1_32", alg: "PS256"},
	{name: "rsa_pss_3072_sha256_mgf1_32", alg: "PS256"},
	{name: "rsa_pss_4096_sha384_mgf1_48", alg: "PS384"},
	{name: "rsa_pss_4096_sha512_mgf1_64", alg: "PS512"},
	{name: "rsa_pss_2048_sha256_mgf1_0", alg: "PS256", refuse: "RFC 7518 section 3.5: the salt is as long as the hash"},
	{name: "rsa_pss_4096_sha512_mgf1_32", alg: "PS512", refuse: "RFC 7518 section 3.5: the salt is as long as the hash"},
	{name: "rsa_pss_2048_sha256_mgf1sha1_20", alg: "PS256", refuse: "RFC 7518 section 3.5: the mask's hash is the signature's"},
}

func primitive(t *testing.T, file, name, refuse string, groups []group, c *count) {
	alg, ok := jws.AlgByName(name)
	if !ok {
		t.Fatal(name)
	}
	for _, g := range groups {
		public, err := x509.ParsePKIXPublicKey(unhex(t, g.PublicKeyDER))
		if err != nil {
			t.Fatal(err)
		}
		key, err := jws.NewKey("", name, public, all)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range g.Tests {
			if (at{file, v.ID}) == goodSalt {
				c.skipped++
				continue
			}
			why := ""
			if v.Result == "valid" {
				why = refuse
			}
			c.mark(t, v, key.Verify(alg, string(unhex(t, v.Msg)), unhex(t, v.Sig)), why)
		}
	}
}

func unhex(t *testing.T, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
