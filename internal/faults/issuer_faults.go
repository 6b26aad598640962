package main

import (
	"context"
	"time"
)

// onIssuers does something to the first n replicas.
func onIssuers(n int, d deed[*replica]) begin {
	return on(func(_ context.Context, w *world) ([]*replica, error) { return w.issuers[:n], nil }, d)
}

var (
	killIssuer = deed[*replica]{
		do:   func(_ context.Context, _ *world, r *replica) error { return r.shoot() },
		undo: func(_ context.Context, _ *world, r *replica) error { return r.start() },
		felt: func(_ context.Context, _ *world, r *replica) (string, error) { return gone(r.address) },
	}
	freezeIssuer = deed[*replica]{
		do:   func(_ context.Context, _ *world, r *replica) error { return r.freeze() },
		undo: func(_ context.Context, _ *world, r *replica) error { return r.thaw() },
		felt: func(ctx context.Context, _ *world, r *replica) (string, error) {
			return mute(ctx, r.address, plainRequest)
		},
	}
)

// issuersInTurn kills one replica after another, at moments that fall anywhere in a
// logout.
func issuersInTurn(ctx context.Context, w *world) (grip, error) {
	const times = 8
	for i := range times {
		r := w.issuers[i%len(w.issuers)]
		if err := r.shoot(); err != nil {
			return grip{}, err
		}
		pause(ctx, 300*time.Millisecond)
		if err := r.start(); err != nil {
			return grip{}, err
		}
		pause(ctx, time.Duration(700+70*i)*time.Millisecond)
	}
	return over("killed %d×", times), nil
}

var issuerFaults = []fault{
	{name: "issuers killed in turn during revocations", begin: issuersInTurn},
	{name: "an issuer killed at every step of a logout", begin: issuerAtEveryStep},
	{name: "both issuers killed", hold: 4 * time.Second, begin: onIssuers(2, killIssuer)},
	{name: "an issuer frozen", hold: 8 * time.Second, begin: onIssuers(1, freezeIssuer)},
}
