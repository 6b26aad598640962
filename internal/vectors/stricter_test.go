package vectors

// at is a case of a file of Wycheproof.
type at struct {
	file string
	id   int
}

const (
	noClaims  = "the payload is empty: a token has claims"
	lax       = "RFC 7515 section 2 and RFC 4648 section 3.3: no character outside the alphabet, even if the MAC was made without it"
	otherAlg  = "RFC 8725 section 3.1: the key says PS256, the token PS384"
	noSuchAlg = "the key's alg is ES521, which does not exist: the file's authors mean ES512"
)

// stricter is what its author calls valid and we refuse on purpose.
var stricter = map[at]string{
	{"json_web_signature", 259}: noClaims,
	{"json_web_signature", 264}: noClaims,
	{"json_web_signature", 268}: noClaims,
	{"json_web_signature", 272}: noClaims,
	{"json_web_signature", 320}: noClaims,
	{"json_web_signature", 325}: noClaims,
	{"json_web_signature", 346}: otherAlg,
	{"json_web_signature", 347}: noSuchAlg,
	{"json_web_signature", 350}: otherAlg,
	{"json_web_signature", 351}: noSuchAlg,
	{"json_web_signature", 372}: lax,
	{"json_web_signature", 373}: lax,
}

// skipped are cases that say "invalid" of the very text of a valid one, by its number: what they are about, padding, was lost
// when the file was made. That padding is refused is in verifier's own tests.
var skipped = map[at]int{
	{"json_web_signature", 367}: 357,
	{"json_web_signature", 370}: 357,
}

// goodSalt has the salt that PS256 wants, in a file about another length.
var goodSalt = at{"rsa_pss_2048_sha256_mgf1_0", 69}
