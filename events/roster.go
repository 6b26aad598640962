package events

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

const (
	// rosterKeeps is how long a node that has fallen silent is expected to confirm. One that was shut down is named that long too.
	rosterKeeps = time.Minute
	rosterMost  = 16 << 10 // nodes
)

// roster is who answered lately. The zero value knows nobody.
type roster struct {
	mu    sync.Mutex
	nodes map[string]sighting
}

type sighting struct {
	report Report
	at     time.Time
}

func (r *roster) hear(answers []Answer, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nodes == nil {
		r.nodes = make(map[string]sighting)
	}
	for _, a := range answers {
		if _, ok := r.nodes[a.Node]; ok || len(r.nodes) < rosterMost {
			r.nodes[a.Node] = sighting{a.Report, now}
		}
	}
}

// known gives what they said last, by name, and forgets who was not heard of for too long.
func (r *roster) known(now time.Time) []Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Report
	for name, s := range r.nodes {
		if age := now.Sub(s.at); age > rosterKeeps || age < -rosterKeeps {
			delete(r.nodes, name)
			continue
		}
		all = append(all, s.report)
	}
	slices.SortFunc(all, func(a, b Report) int { return cmp.Compare(a.Node, b.Node) })
	return all
}
