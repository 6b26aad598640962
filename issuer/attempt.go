package issuer

import (
	"context"
	"errors"
	"sync"
	"time"
)

// attempt is one to log in. Its token is taken while the password is hashed: what a login costs is the hash. Nobody is told what
// came of the hash before the token is taken, and nothing is hashed before there was a token to take: several replicas may
// hash one password each for the last token, but only one of them answers.
type attempt struct {
	t                *throttle
	account, address string
	looked           chan struct{} // closed when there is a token to take, or when the taking has ended
	lookOnce         sync.Once
	taken            chan struct{} // closed when the taking has ended; guards what follows
	err              error
	pair             bool // took a token of the pair, not of account and address
	peers, slot      *record
	wrong            bool       // so the password was judged, which is not given back
	given            chan error // nil: not begun
}

// begin takes a token of the pair or else of the account and the address. Known and unknown names cost the same. Whoever begins waits
// for granted.
func (t *throttle) begin(ctx context.Context, account, address string) *attempt {
	a := &attempt{t: t, account: account, address: address, looked: make(chan struct{}), taken: make(chan struct{})}
	go func() {
		a.err = a.take(ctx)
		close(a.taken)
		a.look()
	}()
	return a
}

func (a *attempt) look() { a.lookOnce.Do(func() { close(a.looked) }) }

func (a *attempt) take(ctx context.Context) (err error) {
	a.pair, a.peers, err = a.takePair(ctx, 1)
	if a.pair || err != nil {
		return err
	}
	if err := a.t.addresses.take(a.address, 1); err != nil {
		return err
	}
	a.slot, err = a.t.count(ctx, counter{key: slotKey(a.account), seen: a.look}, 1)
	if err != nil {
		_ = a.t.addresses.take(a.address, -1) // giving never fails
	}
	return err
}

// ready waits until there was a token to take. The error is a *ThrottledError or ErrUnavailable.
func (a *attempt) ready() error {
	<-a.looked
	select {
	case <-a.taken:
		return a.err
	default:
		return nil
	}
}

// granted waits until the token is taken. The error is a *ThrottledError or ErrUnavailable.
func (a *attempt) granted() error {
	<-a.taken
	return a.err
}

// spare gives everything back: no password was judged.
func (a *attempt) spare(ctx context.Context) error {
	if a.pair {
		_, _, err := a.takePair(ctx, -1)
		return err
	}
	_ = a.t.addresses.take(a.address, -1) // giving never fails
	_, err := a.t.count(ctx, counter{key: slotKey(a.account), last: a.slot}, -1)
	return err
}

const giveBackTimeout = time.Second

// right begins to give everything back, unless another password was wrong before, and to remember that the account's owner comes
// from this address. It does nothing the second time. The attempt must have been granted; settled waits for the end.
func (a *attempt) right(ctx context.Context) {
	if a.given != nil || a.wrong {
		return
	}
	a.given = make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTimeout) // the request's own time may be up
		defer cancel()
		var known error
		var both sync.WaitGroup
		if !a.pair {
			both.Go(func() { known = a.remember(ctx) })
		}
		err := a.spare(ctx)
		both.Wait()
		a.given <- errors.Join(err, known)
	}()
}

// settled waits for what right began; if no password was wrong, it gives everything back.
func (a *attempt) settled(ctx context.Context) error {
	if a.given != nil {
		return <-a.given
	}
	if a.wrong {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTimeout)
	defer cancel()
	return a.spare(ctx)
}
