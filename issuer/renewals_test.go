package issuer

import (
	"fmt"
	"testing"
)

// TestManyChangedRecords: keys that a publisher invents take a bounded room, and none of the records that are known is missed.
func TestManyChangedRecords(t *testing.T) {
	r := &renewals{known: map[string]lasting{"e.key.known": {}}}
	r.again("e.key.known")
	if got := r.stale(); len(got) != 1 || got[0] != "e.key.known" || len(r.stale()) != 0 {
		t.Errorf("one: got %v", got)
	}
	for n := range 2 * changedMost {
		r.again(fmt.Sprint("e.key.", n))
	}
	r.again("e.key.known")
	if len(r.changed) > changedMost {
		t.Errorf("%d are kept", len(r.changed))
	}
	if got := r.stale(); len(got) != 1 || got[0] != "e.key.known" {
		t.Errorf("many: got %d, want all that are known", len(got))
	}
	if len(r.stale()) != 0 || r.many {
		t.Error("they are read again for ever")
	}
}
