package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/quash-auth/quash/cache"
)

// holdConfig is one denylist, alone in a process.
type holdConfig struct {
	Statements int
	Budget     int64         // bytes for details; 0: all are kept
	Lead       time.Duration // from the beginning until the first statement ends; 0: none does
}

// holdResult is what it costs.
type holdResult struct {
	holdConfig
	Fill            time.Duration
	RSS, Heap       int64 // of the denylist
	Index           int64
	Lookup, Lookup2 time.Duration // per check of all scopes of a token, hashing included: on one goroutine, on two
	Seen            time.Duration // with the hashes kept
	Before, During  window
	Gone            time.Duration // after the last statement's end and the grace, until all but one in a thousand had left
	Rest            int           // of these half a minute after that instant
	Wrong           int           // checks with the wrong verdict
}

// window is what happened to the others over a while.
type window struct {
	Took      time.Duration
	CPU       float64 // cores
	Apply     quantiles
	Check     quantiles
	Collector time.Duration // longest pause of the garbage collector
}

// holder is the child that holds a denylist.
type holder struct{}

func (holder) handlers() handlers { return handlers{"hold": handle(hold)} }

const holdGrace = time.Second

func hold(c holdConfig) (r holdResult, err error) {
	r.holdConfig = c
	empty, err := readVitals(vitalsOf{Collect: true})
	if err != nil {
		return r, err
	}
	d, err := cache.New(cache.Config{DetailBytes: c.Budget, MaxEntries: c.Statements + 1_000_000, Grace: holdGrace})
	if err != nil {
		return r, err
	}
	defer func() { _ = d.Close() }() // it returns nil
	began := time.Now()
	end := began.Add(c.Lead)
	if c.Lead == 0 {
		end = began.Add(time.Hour)
	}
	batch := make([]cache.Statement, 0, 1024)
	for k := range c.Statements {
		if batch = append(batch, livingStatement(k, end)); len(batch) == cap(batch) || k == c.Statements-1 {
			if err := d.Apply(batch); err != nil {
				return r, err
			}
			batch = batch[:0]
		}
	}
	r.Fill = time.Since(began)
	full, err := readVitals(vitalsOf{Collect: true})
	if err != nil {
		return r, err
	}
	r.RSS, r.Heap, r.Index = full.RSS-empty.RSS, full.Heap-empty.Heap, d.Stats().IndexBytes
	const checks = 2_000_000
	r.Lookup = lookup(d, checks, false)
	r.Seen = lookup(d, checks, true)
	var wg sync.WaitGroup
	took := make([]time.Duration, 2)
	for i := range took {
		wg.Go(func() { took[i] = lookup(d, checks, false) })
	}
	wg.Wait()
	r.Lookup2 = (took[0] + took[1]) / 2
	if c.Lead > 0 && time.Now().After(end) {
		return r, fmt.Errorf("the statements began to end before all were measured, which took %v: use a longer -lead", time.Since(began))
	}
	if c.Lead > 0 {
		err = r.expire(d, end)
	}
	return r, err
}

// lookup times the check of tokens that nothing covers.
func lookup(d *cache.Denylist, n int, seen bool) time.Duration {
	w := walker{x: uint64(time.Now().UnixNano()) | 1}
	refs := make([]cache.Ref, 1<<10)
	for i := range refs {
		refs[i] = d.Ref(w.claims())
	}
	began := time.Now()
	if seen {
		for i := range n {
			d.Check(&refs[i%len(refs)])
		}
	} else {
		for range n {
			ref := d.Ref(w.claims())
			d.Check(&ref)
		}
	}
	return time.Since(began) / time.Duration(n)
}

// walker makes claims nobody has seen, in place: hot in the processor's cache, while
// their places in the index are not.
type walker struct {
	x     uint64
	texts [3][36]byte
}

func (w *walker) claims() cache.Claims {
	for i := range w.texts {
		w.x ^= w.x << 13
		w.x ^= w.x >> 7
		w.x ^= w.x << 17
		binary.LittleEndian.PutUint64(w.texts[i][:], w.x)
	}
	text := func(i int) string { return unsafe.String(&w.texts[i][0], len(w.texts[i])) }
	return cache.Claims{Issuer: issuerURL, ID: text(0), Session: text(1), Subject: text(2), Client: "web", KeyID: keyID,
		IssuedAt: 2_000, HasIssuedAt: true, Gen: 3, HasGen: true}
}

// expire watches how all statements leave.
func (r *holdResult) expire(d *cache.Denylist, begin time.Time) error {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { _ = d.Run(ctx) }) // it returns nil
	t := &toucher{d: d}
	last := begin.Add(59*time.Second + holdGrace)
	var err error
	if r.Before, err = t.touch(min(10*time.Second, time.Until(begin)), nil); err != nil {
		return err
	}
	time.Sleep(time.Until(begin))
	r.During, err = t.touch(90*time.Second, func() bool {
		if now := time.Now(); now.After(last) {
			r.Rest = d.Stats().Entries - int(t.applied.Load())
			if r.Gone == 0 && r.Rest <= r.Statements/1000 {
				r.Gone = now.Sub(last)
			}
		}
		return false
	})
	r.Wrong = int(t.wrong.Load())
	return err
}

// toucher applies new statements and checks tokens all the time.
type toucher struct {
	d              *cache.Denylist
	applied, wrong atomic.Int64
}

// touch goes on for a while, or until over says so.
func (t *toucher) touch(long time.Duration, over func() bool) (w window, err error) {
	ctx, stop := context.WithTimeout(context.Background(), long)
	defer stop()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, began := ownCPU(), time.Now()
	var wg sync.WaitGroup
	var applies, checks []time.Duration
	wg.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			n := t.applied.Add(1)
			s := cache.Statement{Scope: cache.Session, Issuer: issuerURL, Key: statementKey("touch", int(n)), Until: time.Now().Add(time.Hour).Unix(), Sequence: uint64(n)}
			at := time.Now()
			if e := t.d.Apply([]cache.Statement{s}); e != nil {
				err = e
				return
			}
			applies = append(applies, time.Since(at))
			ref := t.d.Ref(cache.Claims{Issuer: issuerURL, Session: s.Key})
			at = time.Now()
			verdict := t.d.Check(&ref)
			checks = append(checks, time.Since(at))
			if !verdict.Revoked {
				t.wrong.Add(1)
			}
		}
	})
	if over == nil {
		<-ctx.Done()
	}
	for over != nil && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
		if over() {
			stop()
		}
	}
	wg.Wait()
	runtime.ReadMemStats(&after)
	w.Took = time.Since(began)
	w.CPU = (ownCPU() - cpu).Seconds() / w.Took.Seconds()
	w.Apply, w.Check = quantilesOf(applies), quantilesOf(checks)
	for n := before.NumGC; n < after.NumGC; n++ {
		w.Collector = max(w.Collector, time.Duration(after.PauseNs[n%uint32(len(after.PauseNs))]))
	}
	return w, err
}
