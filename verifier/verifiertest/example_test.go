package verifiertest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
	"github.com/quash-auth/quash/verifier/verifiertest"
)

// In a test, New takes the *testing.T itself, and there is nothing to close.
func ExampleNew() {
	script := new(verifiertest.Script)
	defer script.Close()
	issuer := verifiertest.New(script)

	token := issuer.Mint(verifiertest.Subject("alice"), verifiertest.Scope("orders:read"))
	got, err := issuer.Verifier().Verify(context.Background(), token)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(got.Subject, got.HasScope("orders:read"))

	issuer.Revoke(events.Revocation{Scope: events.Subject, Key: "alice"})
	_, err = issuer.Verifier().Verify(context.Background(), token)
	fmt.Println("revoked:", errors.Is(err, verifier.ErrRevoked))

	issuer.SetStale(true)
	_, err = issuer.Verifier().Verify(context.Background(), issuer.Mint(verifiertest.Subject("bob")))
	fmt.Println("cannot judge:", errors.Is(err, verifier.ErrStale))
	// Output:
	// alice true
	// revoked: true
	// cannot judge: true
}
