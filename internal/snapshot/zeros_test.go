package snapshot_test

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/quash-auth/quash/internal/snapshot"
)

// TestZerosAtTheEnd: a power cut may leave a file that is longer than what was written of it. Zeros elsewhere are damage.
func TestZerosAtTheEnd(t *testing.T) {
	w, path := create(t)
	must(t, w.Add([]snapshot.Statement{statement(1)}))
	must(t, w.Mark(mark(1)))
	must(t, w.Close())
	whole, err := os.ReadFile(path)
	must(t, err)
	for _, n := range []int{1, 8, 9, 10, 5000, 2 << 20} {
		must(t, os.WriteFile(path, append(slices.Clone(whole), make([]byte, n)...), 0o600))
		if all, c, err := read(t, path); err != nil || len(all) != 1 || !c.Torn || c.Mark != mark(1) {
			t.Errorf("%d zeros: %d statements, %+v, %v", n, len(all), c, err)
		}
		w := goOn(t, path)
		must(t, w.Add([]snapshot.Statement{statement(2)}))
		must(t, w.Close())
		if all, c, err := read(t, path); err != nil || len(all) != 2 || c.Torn {
			t.Errorf("%d zeros, gone on with: %d statements, %+v, %v", n, len(all), c, err)
		}
		must(t, os.WriteFile(path, slices.Concat(whole, make([]byte, n), []byte{1}), 0o600))
		if all, _, err := read(t, path); n > 8 && (!errors.Is(err, snapshot.ErrDamaged) || len(all) > 0) {
			t.Errorf("%d zeros and more: %d statements, %v", n, len(all), err)
		}
	}
}
