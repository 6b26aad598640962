package issuer

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"slices"
	"strings"
)

// Client is an application that may use the issuer (RFC 6749 §2).
type Client struct {
	// ID is the client_id: 1 to 128 printable ASCII characters.
	ID string
	// Public clients cannot keep a secret and have none.
	Public bool
	// SecretHash of a confidential client, from HashSecret.
	SecretHash string
	// Audience of its access tokens; empty: Config.Audience.
	Audience []string
	// Scopes it may get, of those that the user has; empty: all that the user has.
	Scopes []string
}

func (c Client) problem() string {
	if !printable(c.ID, 128) {
		return "ID must be 1 to 128 printable ASCII characters"
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
	return ""
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
	if len(c.Scopes) == 0 {
		return slices.Clone(user)
	}
	return slices.DeleteFunc(slices.Clone(user), func(s string) bool { return !slices.Contains(c.Scopes, s) })
}

func (i *Issuer) client(id string) (Client, bool) {
	for _, c := range i.cfg.Clients {
		if c.ID == id {
			return c, true
		}
	}
	return Client{}, false
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
