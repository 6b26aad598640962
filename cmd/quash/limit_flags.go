package main

import (
	"cmp"
	"time"

	"github.com/quash-auth/quash/issuer"
)

// limitFlags say how fast one operator or system may end things at the issuer's endpoints.
type limitFlags struct {
	RevokeBurst int           `default:"100" placeholder:"N" help:"Tokens, sessions and users that one operator or system may revoke at once (${default})."`
	RevokeEvery time.Duration `default:"100ms" help:"How often one more is granted after that (${default})."`
	WideBurst   int           `name:"wide-revoke-burst" default:"5" placeholder:"N" help:"The same for clients, keys and the whole issuer (${default})."`
	WideEvery   time.Duration `name:"wide-revoke-every" default:"1m" help:"How often one more of those is granted after that (${default})."`
}

// check refuses what the issuer would take for "use the default".
func (f *limitFlags) check() error {
	return cmp.Or(
		least("--revoke-burst", f.RevokeBurst, 1, "nobody could revoke anything"),
		least("--revoke-every", f.RevokeEvery, time.Microsecond, "nothing would be limited"),
		least("--wide-revoke-burst", f.WideBurst, 1, "nobody could revoke a client or a key"),
		least("--wide-revoke-every", f.WideEvery, time.Microsecond, "nothing would be limited"))
}

func (f *limitFlags) apply(c *issuer.Config) {
	c.RevokeBurst, c.RevokeEvery, c.WideBurst, c.WideEvery = f.RevokeBurst, f.RevokeEvery, f.WideBurst, f.WideEvery
}
