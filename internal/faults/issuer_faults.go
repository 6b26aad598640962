package main

import (
	"context"
	"errors"
	"time"
)

// onIssuers does something to the first n replicas, and undoes it at the end.
func onIssuers(n int, do, undo func(*replica) error) func(context.Context, *world) (end, error) {
	return func(_ context.Context, w *world) (end, error) {
		var errs []error
		for _, r := range w.issuers[:n] {
			errs = append(errs, do(r))
		}
		return func(context.Context) error {
			var errs []error
			for _, r := range w.issuers[:n] {
				errs = append(errs, undo(r))
			}
			return errors.Join(errs...)
		}, errors.Join(errs...)
	}
}

func killIssuer(r *replica) error   { r.kill(); return nil }
func startIssuer(r *replica) error  { return r.start() }
func freezeIssuer(r *replica) error { return r.freeze() }
func thawIssuer(r *replica) error   { return r.thaw() }

// issuersInTurn kills one replica after another, at moments that fall anywhere in a
// logout.
func issuersInTurn(ctx context.Context, w *world) (end, error) {
	for i := range 8 {
		r := w.issuers[i%len(w.issuers)]
		r.kill()
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
		if err := r.start(); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(700+70*i) * time.Millisecond):
		}
	}
	return none, nil
}

var issuerFaults = []fault{
	{name: "issuers killed in turn during revocations", begin: issuersInTurn},
	{name: "both issuers killed", hold: 4 * time.Second, begin: onIssuers(2, killIssuer, startIssuer)},
	{name: "an issuer frozen", hold: 8 * time.Second, begin: onIssuers(1, freezeIssuer, thawIssuer)},
}
