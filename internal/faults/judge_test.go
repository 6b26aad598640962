package main

import (
	"net/http"
	"testing"
	"time"
)

// TestJudgeKnowsWhatASnapshotProves: it may run out between a verdict and the look after it, and is no first sync.
func TestJudgeKnowsWhatASnapshotProves(t *testing.T) {
	t.Parallel()
	now := time.Now()
	proven := view{Synced: true, AsOf: now.Add(-bound), Now: now}
	old := view{Synced: true, AsOf: now.Add(-bound - slack - time.Millisecond), Now: now}
	for name, c := range map[string]struct {
		before, after view
		found         bool
	}{
		"proven":                       {proven, proven, false},
		"it has run out":               {proven, view{Now: now}, false},
		"it was loaded":                {view{Now: now}, proven, false},
		"never anything":               {view{Now: now}, view{Now: now}, true},
		"too old":                      {old, old, true},
		"too old, and it has run out":  {old, view{Now: now}, true},
		"too old, and newer meanwhile": {old, proven, false},
	} {
		for _, allow := range []bool{false, true} {
			j := &judge{say: t.Logf}
			j.take(answer{node: &node{nodeConfig: nodeConfig{Name: "n", Bound: bound, Allow: allow, Snapshot: "s"}}, token: &token{}, status: http.StatusOK, before: c.before, after: c.after})
			want := c.found && (!allow || !c.before.Synced)
			got := j.harvest()
			if (len(got.found) > 0) != want || len(got.found) > 0 && got.found[0].invariant != i3 {
				t.Errorf("%s, allow %v: %v", name, allow, got.found)
			}
			if !allow && c.before.Synced && got.worst > bound+slack+time.Second {
				t.Errorf("%s: the oldest view that something was accepted with is %v old", name, got.worst)
			}
		}
	}
}
