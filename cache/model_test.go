package cache_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/quash-auth/quash/cache"
)

// model is the verdict rule, word for word and without any cleverness: a token is revoked
// if some statement covers it.
type model []cache.Statement

// covering returns the narrowest scope that covers a token and the sequences of the
// statements of that scope which do.
func (m model) covering(c cache.Claims) (scope cache.Scope, sequences []uint64) {
	for _, s := range m {
		if !covers(s, c) || scope != 0 && s.Scope > scope {
			continue
		}
		if s.Scope != scope {
			scope, sequences = s.Scope, nil
		}
		sequences = append(sequences, s.Sequence)
	}
	return scope, sequences
}

func covers(s cache.Statement, c cache.Claims) bool {
	if s.Issuer != c.Issuer {
		return false
	}
	key := [...]string{"", c.ID, c.Session, c.Subject, c.Client, c.KeyID, ""}[s.Scope]
	switch {
	case key != s.Key || key == "" && s.Scope != cache.Issuer:
		return false
	case s.Scope == cache.Token || s.Scope == cache.Session:
		return true
	case s.Gen > 0 && c.HasGen:
		return c.Gen < s.Gen
	}
	return !c.HasIssuedAt || c.IssuedAt <= s.Before
}

// entry is the join of all statements about one key.
func (m model) entry(scope cache.Scope, issuer, key string) (e cache.Entry, ok bool) {
	for _, s := range m {
		if s.Scope != scope || s.Issuer != issuer || s.Key != key {
			continue
		}
		ok = true
		e.Until = max(e.Until, s.Until)
		switch {
		case s.Gen > 0:
			e.Gen, e.GenBefore = max(e.Gen, s.Gen), max(e.GenBefore, s.Before)
		default:
			e.Before = max(e.Before, s.Before)
		}
	}
	return e, ok
}

// compare asks the denylist about every token and key there can be.
func (m model) compare(d *cache.Denylist, names []string, times []int64) error {
	for _, issuer := range []string{"i1", "i2"} {
		for scope := cache.Token; scope <= cache.Issuer; scope++ {
			for _, key := range names {
				if scope == cache.Issuer {
					key = ""
				}
				want, wantOK := m.entry(scope, issuer, key)
				got, ok := d.Lookup(scope, issuer, key)
				got.Sequence = 0
				if ok != wantOK || got != want {
					return fmt.Errorf("lookup %s %s %q: got %#v %v, want %#v %v", scope, issuer, key, got, ok, want, wantOK)
				}
			}
		}
		for _, c := range tokens(issuer, names, times) {
			r := d.Ref(c)
			v := d.Check(&r)
			scope, sequences := m.covering(c)
			if v.Revoked != (scope != 0) || v.Scope != scope {
				return fmt.Errorf("token %#v: got %+v, want scope %s", c, v, scope)
			}
			if v.Revoked && !slices.Contains(sequences, v.Sequence) {
				return fmt.Errorf("token %#v: got %+v, want one of %v", c, v, sequences)
			}
		}
	}
	return nil
}

func tokens(issuer string, names []string, times []int64) []cache.Claims {
	var all []cache.Claims
	for i, n := range names {
		for _, iat := range times {
			for gen := range uint64(4) {
				c := cache.Claims{Issuer: issuer, Subject: n, IssuedAt: iat, HasIssuedAt: iat != 0, Gen: gen, HasGen: gen != 0}
				all = append(all, c)
				c.Client = names[(i+1)%len(names)]
				c.KeyID = names[(i+2)%len(names)]
				all = append(all, c)
			}
		}
		all = append(all, cache.Claims{Issuer: issuer, ID: n, IssuedAt: 1 << 40, HasIssuedAt: true},
			cache.Claims{Issuer: issuer, Session: n, Subject: names[0], IssuedAt: 1 << 40, HasIssuedAt: true})
	}
	return all
}

var (
	modelNames = []string{"a", "bc", "ab", "c", "é", "a\x00b"}
	modelTimes = []int64{0, 1, 9, 10, 11, 19, 20, 21, 1 << 33}
)

func randomStatement(r *rand.Rand, sequence uint64) cache.Statement {
	s := cache.Statement{
		Scope: cache.Scope(1 + r.IntN(6)), Issuer: []string{"i1", "i2"}[r.IntN(2)],
		Key: modelNames[r.IntN(len(modelNames))], Until: 2_000_000_000 + r.Int64N(3), Sequence: sequence,
	}
	if s.Scope == cache.Issuer {
		if s.Key = ""; r.IntN(4) != 0 {
			s.Scope, s.Key = cache.Subject, modelNames[0]
		}
	}
	if s.Scope > cache.Session {
		s.Before = modelTimes[1+r.IntN(len(modelTimes)-1)]
	}
	if s.Scope == cache.Subject {
		s.Gen = uint64(r.IntN(4))
	}
	return s
}

// TestG4_MergesAreJoins: any order, duplicates, several writers; after every step the
// whole state is what the model says.
func TestG4_MergesAreJoins(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 4))
		clock := newFakeClock()
		d := newDenylist(t, cache.Config{Now: clock.Now})
		var m model
		for step := range 12 {
			s := randomStatement(r, uint64(step+1))
			m = append(m, s)
			if err := d.Apply([]cache.Statement{s}); err != nil {
				t.Fatal(err)
			}
			if step%2 == 0 { // from ristretto; otherwise from what waits for it
				d.Settle()
			}
			if err := m.compare(d, modelNames, modelTimes); err != nil {
				t.Fatalf("seed %d, step %d: %v\nafter %#v", seed, step, err, m)
			}
		}
		// The same, shuffled, doubled, in batches, from four goroutines.
		again := newDenylist(t, cache.Config{Now: clock.Now})
		var wg sync.WaitGroup
		for range 4 {
			batch := slices.Concat(m, m)
			r.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
			wg.Go(func() {
				for part := range slices.Chunk(batch, 5) {
					if err := again.Apply(part); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if err := m.compare(again, modelNames, modelTimes); err != nil {
			t.Fatalf("seed %d, shuffled: %v\nof %#v", seed, err, m)
		}
		if st := again.Stats(); st.RecordMissing.Lost != 0 {
			t.Fatalf("seed %d: %d details lost", seed, st.RecordMissing.Lost)
		}
		d.Close()
		again.Close()
	}
}

// FuzzApply reads a script of statements, batch borders and passing time, and compares
// with the model of what is alive. Until both have passed nothing may be missing.
func FuzzApply(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11})
	f.Add([]byte("\x02\x00\x09\x01\x05\x02\x00\x0a\x00\x09\xff\x03\x02\x00\x01\x02\x03"))
	r := rand.New(rand.NewPCG(1, 1))
	for range 4 {
		script := make([]byte, 0, 200)
		for range 25 {
			script = binary.LittleEndian.AppendUint64(script, r.Uint64())
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		clock := newFakeClock()
		d, err := cache.New(cache.Config{Now: clock.Now, Grace: 1e9})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		var all, batch model
		script = script[:min(len(script), 300)]
		flush := func() {
			if err := d.Apply(batch); err != nil {
				t.Fatal(err)
			}
			all = append(all, batch...)
			batch = nil
		}
		for len(script) >= 5 {
			op := script[:5]
			script = script[5:]
			if op[0] >= 0xf0 {
				flush()
				clock.unix.Add(int64(op[1] % 4))
				d.Sweep()
				continue
			}
			seed := uint64(op[1])<<16 | uint64(op[2])<<8 | uint64(op[3])
			s := randomStatement(rand.New(rand.NewPCG(seed, 0)), uint64(len(all)+len(batch)+1))
			s.Until = clock.unix.Load() + int64(op[4]%8)
			batch = append(batch, s)
			if op[0]%4 == 0 {
				flush()
			}
		}
		flush()
		now := clock.unix.Load()
		for _, s := range all {
			if s.Until+1 < now {
				continue // forgotten, or kept by a longer one
			}
			if e, ok := d.Lookup(s.Scope, s.Issuer, s.Key); !ok || e.Until < s.Until || s.Gen > e.Gen ||
				s.Gen == 0 && s.Before > e.Before || s.Gen > 0 && s.Before > e.GenBefore {
				t.Fatalf("%#v: holds %+v %v", s, e, ok)
			}
		}
		for _, issuer := range []string{"i1", "i2"} {
			for _, c := range tokens(issuer, modelNames, modelTimes) {
				ref := d.Ref(c)
				v := d.Check(&ref)
				if scope, _ := all.covering(c); v.Revoked && scope == 0 {
					t.Fatalf("%#v denied (%+v), though no statement ever covered it", c, v)
				}
			}
		}
		clock.unix.Add(1000)
		d.Sweep()
		if st := d.Stats(); st.Entries != 0 || st.IndexBytes != 0 || st.RecordMissing.Lost != 0 {
			t.Fatalf("after the last expiry: %+v", st)
		}
	})
}
