package verifiertest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/quash-auth/quash/verifier"
	"github.com/quash-auth/quash/verifier/verifiertest"
)

func TestOnce(t *testing.T) {
	i := verifiertest.New(t)
	ctx := context.Background()
	token, other := i.Mint(verifiertest.Once()), i.Mint(verifiertest.Once())
	if _, err := i.Verifier().Verify(ctx, token); !errors.Is(err, verifier.ErrOnce) {
		t.Errorf("Verify: got %v, want ErrOnce", err)
	}
	for _, want := range []error{nil, verifier.ErrUsed, verifier.ErrUsed} {
		if _, err := i.Verifier().Redeem(ctx, token); !errors.Is(err, want) {
			t.Errorf("Redeem: got %v, want %v", err, want)
		}
	}
	if got, err := i.Verifier().Redeem(ctx, other); err != nil || !got.Once {
		t.Errorf("another token: got %v, %v, want a one-time token", got, err)
	}
}
