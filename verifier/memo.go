package verifier

import (
	"context"
	"sync"
	"time"

	"github.com/quash-auth/quash/internal/jws"
)

const (
	// memoCost is what a token weighs in memory beside its text and its claims, which are held as a whole and taken apart.
	memoCost = 800

	intakePause = 2 * time.Millisecond
	intakeMax   = 4096 // tokens; beyond it they are forgotten
)

// verified is what the memo remembers of a token: everything but the verdict.
type verified struct {
	token  *Token
	issuer *issuer
	key    *jws.Key
	kid    string      // of the header: what the key was found by
	set    *jws.KeySet // in which it was found
	window window
}

// intake collects verified tokens for the memo. A Put wakes a goroutine of ristretto, which can cost the caller half as
// much as the signature did; so Verify only appends here, and one goroutine puts them in a few at a time.
type intake struct {
	wake chan struct{} // capacity 1

	mu     sync.Mutex // guards what follows
	list   []newcomer
	parked bool // run waits for wake
}

type newcomer struct {
	raw string
	e   *verified
}

func (in *intake) add(raw string, e *verified) {
	in.mu.Lock()
	if len(in.list) < intakeMax {
		in.list = append(in.list, newcomer{raw, e})
	}
	wake := in.parked
	in.parked = false
	in.mu.Unlock()
	if wake {
		in.wake <- struct{}{} // has room: run was parked
	}
}

// take returns what has come, into the room of old. It parks run if there is nothing.
func (in *intake) take(old []newcomer) []newcomer {
	in.mu.Lock()
	defer in.mu.Unlock()
	list := in.list
	in.list = old[:0]
	in.parked = len(list) == 0
	return list
}

// fillMemo puts newcomers into the memo until ctx ends.
func (v *Verifier) fillMemo(ctx context.Context) error {
	pause := time.NewTimer(intakePause)
	defer pause.Stop()
	var list []newcomer
	for {
		if list = v.intake.take(list); len(list) == 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-v.intake.wake:
			}
			continue
		}
		for i := range list {
			v.memo.Put(list[i].raw, list[i].e, memoCost+2*int64(len(list[i].e.token.payload)))
		}
		clear(list) // they must not be kept alive by the spare list
		pause.Reset(intakePause)
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
		}
	}
}

// remembered returns the memo's entry for exactly this text, if the key it was verified with is still in the key set.
func (v *Verifier) remembered(raw string) (*verified, bool) {
	if v.memo == nil {
		return nil, false
	}
	e, ok := v.memo.Get(raw)
	if !ok {
		v.counters.misses.Add(1)
		return nil, false
	}
	if set := e.issuer.keys.set.Load(); set != e.set && set.Find(e.kid) != e.key {
		v.counters.misses.Add(1)
		return nil, false
	}
	v.counters.hits.Add(1)
	return e, true
}

func (v *Verifier) remember(raw string, e *verified) {
	if v.memo != nil {
		v.intake.add(raw, e)
	}
}
