package cache_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/quash-auth/quash/cache"
)

// TestG5_NothingBeforeItsTimeNothingForEver moves both clocks around expiry.
func TestG5_NothingBeforeItsTimeNothingForEver(t *testing.T) {
	now, server := newFakeClock(), newFakeClock()
	known := true
	d := newDenylist(t, cache.Config{Now: now.Now, Grace: time.Second, AsOf: func() time.Time {
		if !known {
			return time.Time{}
		}
		return server.Now()
	}})
	start := now.unix.Load()
	revoke := func(key string, until int64) {
		t.Helper()
		if err := d.Apply([]cache.Statement{{Scope: cache.Session, Issuer: "i", Key: key, Until: until, Sequence: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 30 {
		revoke(fmt.Sprint(i), start+1+int64(i%3))
	}
	held := func(why string, want int) {
		t.Helper()
		d.Sweep()
		if st := d.Stats(); st.Entries != want {
			t.Fatalf("%s: %d entries, want %d", why, st.Entries, want)
		}
	}
	at := func(mine, servers int64) {
		now.unix.Store(start + mine)
		server.unix.Store(start + servers)
	}
	held("at once", 30)
	at(3600, 0)
	held("own clock an hour ahead", 30)
	at(0, 3600)
	held("server an hour ahead", 30)
	at(-3600, 2)
	held("own clock an hour behind", 30)
	at(3600, 3600)
	known = false
	held("server time unknown", 30)
	known = true
	at(2, 2)
	held("in the last second of the grace", 30)
	at(3, 3)
	held("first ten past it", 20)
	revoke("1", start+4) // again, just before it leaves
	at(4, 9)
	held("one of the second ten extended", 11)
	r := d.Ref(cache.Claims{Issuer: "i", Session: "1"})
	if v := d.Check(&r); !v.Revoked || v.Sequence != 1 {
		t.Errorf("extended session: %+v", v)
	}
	at(6, 6)
	held("the end", 0)
	if st := d.Stats(); st.IndexBytes != 0 || st.Expired != 30 {
		t.Errorf("index %d bytes, %d expired, want 0 and 30", st.IndexBytes, st.Expired)
	}
	if d.Check(&r).Revoked {
		t.Error("denied after it left")
	}
	revoke("late", start-1000)
	if st := d.Stats(); st.Entries != 0 || st.Late != 1 {
		t.Errorf("a statement from the past: %d entries, %d late", st.Entries, st.Late)
	}
}

// stepped is what time.Now returns after the wall clock was set forward by s seconds: the
// monotonic reading stays what it was. The bits are those documented in package time.
func stepped(tm time.Time, s int64) time.Time {
	words := (*[2]uint64)(unsafe.Pointer(&tm))
	words[0] += uint64(s) << 30
	return tm
}

// TestG5_WallClockStep: an entry does not leave because somebody set the clock.
func TestG5_WallClockStep(t *testing.T) {
	var step int64
	d := newDenylist(t, cache.Config{Now: func() time.Time { return stepped(time.Now(), step) }})
	before := time.Now()
	if got := stepped(before, 3600); got.Sub(before) != 0 || got.Unix() != before.Unix()+3600 {
		t.Fatalf("a stepped clock reads %v, from %v", got, before)
	}
	if err := d.Apply(statements(0, 100, before.Unix()+60)); err != nil {
		t.Fatal(err)
	}
	step = 86_400
	if n := d.Sweep(); n != 0 {
		t.Errorf("%d entries left when the wall clock was set forward", n)
	}
	if drift := d.ClockUnix() - before.Unix(); drift < 0 || drift > 3600 {
		t.Errorf("the denylist's clock moved by %d s", drift)
	}
}

// TestRunSweeps: Run lets everything leave by itself, soon after its time, and
// ristretto's own expiry never comes first.
func TestRunSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := cache.New(cache.Config{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
			d.Close()
		}()
		const n = 3000
		until := time.Now().Add(10 * time.Minute)
		if err := d.Apply(statements(0, n, until.Unix())); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Until(until.Add(119 * time.Second)))
		if got := d.Stats().Entries; got != n {
			t.Errorf("%d entries before their time, want %d", got, n)
		}
		for i := range n {
			if i%2 == 0 && i%10_000 != 9_999 {
				r := d.Ref(cache.Claims{Issuer: iss, Session: benchKey(i)})
				if v := d.Check(&r); v.Sequence != uint64(i+1) {
					t.Fatalf("session %d: %+v", i, v)
				}
			}
		}
		<-time.After(2 * time.Minute)
		if got := d.Stats(); got.Entries != 0 || got.IndexBytes != 0 || got.RecordMissing.Lost != 0 {
			t.Errorf("two minutes after: %+v", got)
		}
	})
}

// TestSweepLeavesFewForLater: a single expired entry among many is not worth a rebuild at
// once, but does not stay for ever either.
func TestSweepLeavesFewForLater(t *testing.T) {
	clock := newFakeClock()
	d := newDenylist(t, cache.Config{Now: clock.Now, Grace: time.Second})
	start := clock.unix.Load()
	fill(t, d, 20_000, start+100_000)
	if err := d.Apply([]cache.Statement{{Scope: cache.Session, Issuer: "i", Key: "short", Until: start + 1}}); err != nil {
		t.Fatal(err)
	}
	pass := func() (n int) {
		for i := range cache.Steps {
			n += d.SweepStep(i)
		}
		return n
	}
	clock.unix.Store(start + 10)
	if n := pass(); n != 0 {
		t.Errorf("swept %d at once, want 0", n)
	}
	clock.unix.Store(start + 120)
	if n := pass(); n != 1 {
		t.Errorf("swept %d after two minutes, want 1", n)
	}
}
