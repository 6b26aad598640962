package main

import (
	"cmp"
	"time"

	"github.com/quash-auth/quash/issuer"
)

// loginFlags say what a password costs, and how often one may be guessed.
type loginFlags struct {
	PasswordMemory  uint32        `default:"19456" placeholder:"KIB" help:"Memory of one password hash in KiB (${default})."`
	PasswordPasses  uint32        `default:"2" placeholder:"N" help:"Passes of a password hash over its memory (${default})."`
	PasswordWorkers int           `default:"0" placeholder:"N" help:"Password hashes computed at once; 0 is one for each CPU (${default})."`
	LoginBurst      int           `default:"10" placeholder:"N" help:"Wrong passwords in a row that an account takes before it has to wait (${default})."`
	LoginEvery      time.Duration `default:"5s" help:"How often one more attempt is granted after that (${default})."`
	AddressBurst    int           `default:"50" placeholder:"N" help:"Wrong passwords in a row, for any accounts, from one address before it has to wait (${default})."`
	AddressEvery    time.Duration `default:"10s" help:"How often one more attempt is granted to an address after that; more than --login-every, or one address can take all attempts of an account (${default})."`
	OwnBurst        int           `default:"100" placeholder:"N" help:"How often at once one user may log in, and renew by cookie or revoke an access token, at each replica (${default})."`
	OwnEvery        time.Duration `default:"1s" help:"How often one more of those is granted after that (${default})."`
}

// check refuses what the issuer would take for "use the default".
func (f *loginFlags) check() error {
	switch {
	case f.PasswordMemory < 8 || f.PasswordMemory > 4<<20:
		return usagef("--password-memory", "%d is not between 8 and 4194304 KiB", f.PasswordMemory)
	case f.PasswordPasses < 1 || f.PasswordPasses > 64:
		return usagef("--password-passes", "%d is not between 1 and 64", f.PasswordPasses)
	case f.PasswordWorkers < 0:
		return usagef("--password-workers", "%d is negative", f.PasswordWorkers)
	}
	return cmp.Or(
		least("--login-burst", f.LoginBurst, 1, "nobody could log in"),
		least("--login-every", f.LoginEvery, time.Millisecond, "guessing would not be slowed down"),
		least("--address-burst", f.AddressBurst, 1, "nobody could log in"),
		least("--address-every", f.AddressEvery, time.Millisecond, "guessing would not be slowed down"),
		least("--own-burst", f.OwnBurst, 1, "nobody could log in"),
		least("--own-every", f.OwnEvery, time.Millisecond, "nobody would be slowed down"))
}

func (f *loginFlags) apply(c *issuer.Config) {
	c.Argon2 = issuer.Argon2{Memory: f.PasswordMemory, Time: f.PasswordPasses}
	c.PasswordWorkers, c.LoginBurst, c.LoginEvery = f.PasswordWorkers, f.LoginBurst, f.LoginEvery
	c.AddressBurst, c.AddressEvery = f.AddressBurst, f.AddressEvery
	c.OwnBurst, c.OwnEvery = f.OwnBurst, f.OwnEvery
}
