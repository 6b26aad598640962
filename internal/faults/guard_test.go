package main

import "testing"

// TestGuarded is the short form of what happens to certificates and nkeys of a bus: every
// promise is kept.
func TestGuarded(t *testing.T) {
	t.Parallel()
	var short []fault
	for _, f := range guardFaults {
		if f.short {
			short = append(short, f)
		}
	}
	r, err := guarded(t.Context(), programs(t), short, false, said(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.err(); err != nil {
		t.Errorf("%v\n%s", err, r.table())
	}
	if r.rechecks == 0 {
		t.Error("nothing was revoked")
	}
}
