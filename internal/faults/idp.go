package main

import (
	"crypto/ed25519"
	"fmt"

	"github.com/quash-auth/quash/verifier"
)

// The identity providers beside quash that nodes trust, all played by the driver.
const (
	foreignIssuer = "https://idp.test"
	agingIssuer   = "https://aging.test" // statements about all of it have one cutoff after another
	keyID         = "k1"
	manyKeys      = 600 // of the first: each may be revoked once
)

// keyName is the kid of one of them.
func keyName(n int64) string { return fmt.Sprintf("spare-%d", n) }

// trust adds what the driver signs with to a node's issuers. One key pair has all the names.
func trust(cfg *verifier.Config, public []byte) {
	first := []verifier.PublicKey{{ID: keyID, Key: ed25519.PublicKey(public)}}
	for n := range int64(manyKeys) {
		first = append(first, verifier.PublicKey{ID: keyName(n), Key: ed25519.PublicKey(public)})
	}
	cfg.Issuers = append([]verifier.Issuer{
		{Issuer: foreignIssuer, Audience: []string{audience}, Keys: first},
		{Issuer: agingIssuer, Audience: []string{audience}, Keys: first[:1]},
	}, cfg.Issuers...)
}
