package verifiertest

import (
	"maps"
	"strings"
	"time"
)

// draft is a token before it is signed.
type draft struct {
	now    time.Time
	header map[string]any
	claims map[string]any
}

// Claim changes one thing of a token that Mint makes.
type Claim func(*draft)

// With sets any claim, replacing the default.
func With(name string, value any) Claim { return func(d *draft) { d.claims[name] = value } }

// Without leaves claims out.
func Without(names ...string) Claim {
	return func(d *draft) {
		maps.DeleteFunc(d.claims, func(name string, _ any) bool {
			for _, n := range names {
				if n == name {
					return true
				}
			}
			return false
		})
	}
}

// Subject sets sub. Default "user-1".
func Subject(sub string) Claim { return With("sub", sub) }

// Session sets sid. Default "session-1".
func Session(sid string) Claim { return With("sid", sid) }

// ID sets jti. Default: a new one for each token.
func ID(jti string) Claim { return With("jti", jti) }

// Client sets client_id. Default "client-1".
func Client(id string) Claim { return With("client_id", id) }

// Audience sets aud. Default: the audience of the verifier's configuration.
func Audience(aud ...string) Claim { return With("aud", aud) }

// Scope sets scope. Default: none.
func Scope(values ...string) Claim { return With("scope", strings.Join(values, " ")) }

// Gen sets the generation of the subject. Default: the token has none.
func Gen(gen uint64) Claim { return With("gen", gen) }

// Once makes it a one-time token (once): Verifier.Redeem and HTTPConfig.OneTime accept it once, nothing else does.
func Once() Claim {
	return func(d *draft) {
		d.header["typ"], d.claims["once"] = "once+jwt", true
	}
}

// Life sets exp to this long after now; negative for a token that has expired. Default 5 minutes.
func Life(d time.Duration) Claim {
	return func(d2 *draft) { d2.claims["exp"] = d2.now.Add(d).Unix() }
}

// Age sets iat to this long before now. Default 0.
func Age(d time.Duration) Claim {
	return func(d2 *draft) { d2.claims["iat"] = d2.now.Add(-d).Unix() }
}

// Header sets a member of the header, such as typ or kid; a nil value leaves it out.
func Header(name string, value any) Claim {
	return func(d *draft) {
		if value == nil {
			delete(d.header, name)
			return
		}
		d.header[name] = value
	}
}
