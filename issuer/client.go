package issuer

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Client is an application that may use the issuer (RFC 6749 §2).
type Client struct {
	// ID is the client_id: 1 to 128 printable ASCII characters, no space. Best are letters, digits and -._~, which no client has to encode.
	ID string
	// Name is what people are shown: up to 128 bytes of UTF-8 without control characters; empty: ID.
	Name string
	// Disabled clients may neither get tokens nor use those they have. Disabling one in Config.ClientsFile revokes its tokens
	// everywhere; one in Config.Clients is refused by this issuer only, so Revoke it as well.
	Disabled bool
	// Public clients cannot keep a secret and have none.
	Public bool
	// SecretHash of a confidential client, from HashSecret.
	SecretHash string
	// Audience of its access tokens; empty: Config.Audience.
	Audience []string
	// Scopes it may get, of those that the user has; empty: all that the user has, but those that begin with "quash.", which give
	// power over the issuer, only with GrantLogin. For itself (GrantClientCredentials) it gets no others, so with none listed none.
	Scopes []string
	// Grants it may use, each one of the Grant constants; empty: GrantLogin and GrantRefresh.
	Grants []string
	// RedirectURIs of GrantAuthorizationCode, compared exactly (RFC 9700 §2.1), but for the port of a loopback address (RFC 8252 §7.3).
	RedirectURIs []string
	// Introspects are the audiences whose tokens it may ask about (RFC 7662 §2.1) and exchange; of its own tokens it always may.
	Introspects []string
}

// What a client may be allowed to do, in Client.Grants: the grant types, and POST /login.
const (
	GrantLogin             = "password_login"
	GrantRefresh           = "refresh_token"
	GrantAuthorizationCode = "authorization_code"
	GrantClientCredentials = "client_credentials"
	GrantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange"
)

var grants = []string{GrantLogin, GrantRefresh, GrantAuthorizationCode, GrantClientCredentials, GrantTokenExchange}

// may reports whether the client may use a grant.
func (c Client) may(grant string) bool {
	if len(c.Grants) == 0 {
		return grant == GrantLogin || grant == GrantRefresh
	}
	return slices.Contains(c.Grants, grant)
}

func (c Client) problem() string {
	if !printable(c.ID, 128) {
		return "ID must be 1 to 128 printable ASCII characters without spaces"
	}
	if c.Public && c.SecretHash != "" {
		return "is public and has a SecretHash"
	}
	if !c.Public {
		if _, _, ok := splitSecretHash(c.SecretHash); !ok {
			return "SecretHash is not the result of HashSecret"
		}
	}
	if slices.Contains(c.Audience, "") {
		return "Audience has an empty member"
	}
	for _, s := range c.Scopes {
		if !scopeToken(s) {
			return "Scopes has a member that is not a scope token (RFC 6749 §3.3)"
		}
	}
	if len(c.Name) > 128 || !utf8.ValidString(c.Name) || strings.ContainsFunc(c.Name, unicode.IsControl) {
		return "Name must be up to 128 bytes of UTF-8 without control characters"
	}
	return c.grantsProblem()
}

func (c Client) grantsProblem() string {
	for n, g := range c.Grants {
		if !slices.Contains(grants, g) {
			return fmt.Sprintf("Grants has an unknown member %.64q, there are %s", g, strings.Join(grants, ", "))
		}
		if slices.Contains(c.Grants[:n], g) {
			return "Grants repeats " + g
		}
		if c.Public && (g == GrantClientCredentials || g == GrantTokenExchange) {
			return "is public and Grants has " + g + ", which is for clients with a secret (RFC 6749 §4.4)"
		}
	}
	switch {
	case c.Public && len(c.Introspects) > 0:
		return "is public and has Introspects, which is for clients with a secret (RFC 7662 §2.1)"
	case slices.Contains(c.Introspects, ""):
		return "Introspects has an empty member"
	case c.may(GrantAuthorizationCode) && len(c.RedirectURIs) == 0:
		return "Grants has " + GrantAuthorizationCode + " and RedirectURIs is empty"
	}
	for _, u := range c.RedirectURIs {
		if problem := redirectProblem(u); problem != "" {
			return fmt.Sprintf("RedirectURIs: %.128q %s", u, problem)
		}
	}
	return ""
}

// redirectProblem admits https, http on a loopback host, and private-use schemes, which have a dot (RFC 8252 §7.1).
func redirectProblem(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || !u.IsAbs() || len(text) > 2048 || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }):
		return "is not an absolute URI"
	case strings.Contains(text, "#"):
		return "has a fragment (RFC 6749 §3.1.2)"
	case strings.Contains(text, "*"):
		return "has a wildcard: it is compared exactly (RFC 9700 §2.1)"
	case u.User != nil:
		return "has user information"
	case u.Scheme == "https" && u.Hostname() != "", u.Scheme == "http" && loopback(u.Hostname()):
		return ""
	case u.Scheme == "http":
		return "is http on a host that is not loopback"
	case u.Scheme != "https" && strings.Contains(u.Scheme, "."):
		return ""
	}
	return "is neither https nor a private-use scheme with a dot, such as com.example.app:/callback"
}

// NewSecret returns a random client secret of 256 bits.
func NewSecret() string { return base64.RawURLEncoding.EncodeToString(random(32)) }

// HashSecret returns what Client.SecretHash stores for a secret. The secret must be random (NewSecret): the hash is a fast one, on
// purpose, because clients show their secrets with every request.
func HashSecret(secret string) string {
	salt := random(16)
	sum := sha256.Sum256(append(slices.Clone(salt), secret...))
	return "sha256$" + base64.RawStdEncoding.EncodeToString(salt) + "$" + base64.RawStdEncoding.EncodeToString(sum[:])
}

func splitSecretHash(h string) (salt, sum []byte, ok bool) {
	parts := strings.Split(h, "$")
	if len(parts) != 3 || parts[0] != "sha256" {
		return nil, nil, false
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[1])
	sum, err2 := base64.RawStdEncoding.DecodeString(parts[2])
	return salt, sum, err1 == nil && err2 == nil && len(salt) >= 16 && len(sum) == sha256.Size
}

// secretMatches compares in constant time.
func (c Client) secretMatches(secret string) bool {
	salt, want, ok := splitSecretHash(c.SecretHash)
	if !ok {
		return false
	}
	got := sha256.Sum256(append(slices.Clone(salt), secret...))
	return subtle.ConstantTimeCompare(got[:], want) == 1
}

// grant returns the scopes of the user that the client may have, in the user's order.
func (c Client) grant(user []string) []string {
	return slices.DeleteFunc(slices.Clone(user), func(s string) bool {
		if len(c.Scopes) == 0 { // an application of somebody else is no operator because one logged in to it
			return strings.HasPrefix(s, ownScopes) && !c.may(GrantLogin)
		}
		return !slices.Contains(c.Scopes, s)
	})
}

func (i *Issuer) audience(c Client) []string {
	if len(c.Audience) > 0 {
		return c.Audience
	}
	return i.cfg.Audience
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) //nolint:errcheck // never fails since Go 1.24: it ends the process instead
	return b
}

func printable(s string, most int) bool {
	if s == "" || len(s) > most {
		return false
	}
	for n := range len(s) {
		if s[n] < 0x21 || s[n] > 0x7e {
			return false
		}
	}
	return true
}

// scopeToken is RFC 6749 §3.3: %x21 / %x23-5B / %x5D-7E.
func scopeToken(s string) bool {
	return printable(s, 128) && !strings.ContainsAny(s, `"\`)
}
