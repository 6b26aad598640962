package cache_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/quash-auth/quash/cache"
)

func newMemo[V any](tb testing.TB, cfg cache.MemoConfig) *cache.Memo[V] {
	tb.Helper()
	m, err := cache.NewMemo[V](cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(m.Close)
	return m
}

// eventually puts until the memo has taken it: ristretto may be busy.
func eventually(tb testing.TB, m *cache.Memo[int], raw string, v int) {
	tb.Helper()
	for stop := time.Now().Add(patience); ; m.Put(raw, v, 8) {
		if got, ok := m.Get(raw); ok && got == v {
			return
		}
		if time.Now().After(stop) {
			tb.Fatalf("%q is not remembered", raw)
		}
	}
}

func TestMemo(t *testing.T) {
	m := newMemo[int](t, cache.MemoConfig{})
	header := "Bearer " + strings.Repeat("x", 600)
	raw := header[7:]
	if _, ok := m.Get(raw); ok {
		t.Error("an empty memo knows a token")
	}
	eventually(t, m, raw, 1)
	for _, other := range []string{"", raw[1:], raw + "=", "y" + raw[1:]} {
		if _, ok := m.Get(other); ok {
			t.Errorf("%d bytes of something else were taken for the token", len(other))
		}
	}
	if v, ok := m.Get(strings.Clone(raw)); !ok || v != 1 {
		t.Errorf("equal text elsewhere: %d %v", v, ok)
	}
	st := m.Stats()
	if st.Hits < 2 || st.Misses < 5 || st.Puts == 0 || st.Bytes < 600 {
		t.Errorf("stats %+v", st)
	}
}

// TestMemoComparesWholeText: with every hash equal, still no token is another.
func TestMemoComparesWholeText(t *testing.T) {
	m := newMemo[int](t, cache.MemoConfig{})
	m.ForgeHash(func(string) uint64 { return 42 })
	for i := range 100 {
		raw := fmt.Sprintf("token-%d", i)
		eventually(t, m, raw, i)
		for j := range 100 {
			if v, ok := m.Get(fmt.Sprintf("token-%d", j)); ok && v != j {
				t.Fatalf("token %d was taken for %d", j, v)
			}
		}
	}
}

func TestMemoKeepsItsOwnCopy(t *testing.T) {
	m := newMemo[int](t, cache.MemoConfig{})
	buffer := []byte("token-in-a-buffer-that-is-used-again")
	eventually(t, m, unsafe.String(&buffer[0], len(buffer)), 1)
	text := string(buffer)
	copy(buffer, "TOKEN")
	if _, ok := m.Get(text); !ok {
		t.Error("the memo kept a reference to the caller's text")
	}
	if _, ok := m.Get(string(buffer)); ok {
		t.Error("what the buffer became is taken for the token")
	}
}

func TestMemoStaysInItsBudget(t *testing.T) {
	m := newMemo[int](t, cache.MemoConfig{MaxBytes: 1 << 16})
	for i := range 10_000 {
		m.Put(fmt.Sprintf("token-%d", i), i, 100)
	}
	if st := m.Stats(); st.Bytes > 1<<16 {
		t.Errorf("%d bytes held of 65,536", st.Bytes)
	}
}

func TestMemoNilAndClosed(t *testing.T) {
	var none *cache.Memo[int]
	none.Put("x", 1, 1)
	if _, ok := none.Get("x"); ok || none.Stats() != (cache.MemoStats{}) {
		t.Error("a nil memo remembers")
	}
	none.Close()
	for range 100 {
		m, err := cache.NewMemo[int](cache.MemoConfig{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for w := range 3 {
			wg.Go(func() {
				for i := range 300 {
					raw := fmt.Sprint(w, i%7)
					m.Put(raw, i, 1)
					m.Get(raw)
				}
			})
		}
		wg.Go(m.Close)
		wg.Go(m.Close)
		wg.Wait()
		m.Close()
		m.Put("x", 1, 1)
		if _, ok := m.Get("x"); ok {
			t.Fatal("a closed memo remembers")
		}
	}
}

func TestMemoHitAllocatesNothing(t *testing.T) {
	m := newMemo[int](t, cache.MemoConfig{})
	eventually(t, m, "token", 1)
	if n := testing.AllocsPerRun(1000, func() { m.Get("token") }); n != 0 {
		t.Errorf("a hit allocates %v times", n)
	}
}
