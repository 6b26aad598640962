package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/quash-auth/quash/events"
)

// A phase is a number of statements that are published one after another or at
// once, and counted at every node. The ID of a statement says which phase it
// belongs to, its number, and when it was about to be published.

func statementID(phase string, n int, at time.Time) string {
	return phase + "." + strconv.Itoa(n) + "." + strconv.FormatInt(at.UnixNano(), 10)
}

func statementKey(phase string, n int) string { return phase + "-" + strconv.Itoa(n) }

func revocation(phase string, n int) events.Revocation {
	return events.Revocation{ID: statementID(phase, n, time.Now()), Issuer: issuerURL, Scope: events.Session, Key: statementKey(phase, n), By: "policy"}
}

// parseID undoes statementID; ok is false for statements of another phase.
func parseID(phase, id string) (n int, at int64, ok bool) {
	rest, ok := strings.CutPrefix(id, phase)
	if !ok || rest == "" || rest[0] != '.' {
		return 0, 0, false
	}
	number, stamp, _ := strings.Cut(rest[1:], ".")
	n, err := strconv.Atoi(number)
	at, bad := strconv.ParseInt(stamp, 10, 64)
	return n, at, err == nil && bad == nil && n >= 0
}

// numberOf is the number of a statement in whatever phase it is of. 0: it is of none.
func numberOf(id string) int {
	phase, _, _ := strings.Cut(id, ".")
	n, _, _ := parseID(phase, id)
	return n
}

const missing = -1

// recorder notes for every node of a child when it applied each statement of the
// phase.
type recorder struct {
	mu       sync.RWMutex // held for reading by nodes
	phase    string
	messages int
	took     [][]int32 // by node and number: microseconds, or missing
	again    int       // applied more than once; guarded by repeat
	repeat   sync.Mutex
}

// arm begins a phase for a number of nodes.
func (r *recorder) arm(phase string, messages, nodes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase, r.messages, r.again = phase, messages, 0
	r.took = make([][]int32, nodes)
	for i := range r.took {
		r.took[i] = slices.Repeat([]int32{missing}, messages)
	}
}

// note is called by one goroutine for each node.
func (r *recorder) note(node int, batch []events.Event) {
	now := time.Now().UnixNano()
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.phase == "" || node >= len(r.took) {
		return
	}
	for i := range batch {
		n, at, ok := parseID(r.phase, batch[i].Revocation.ID)
		if !ok || n >= r.messages {
			continue
		}
		if r.took[node][n] != missing {
			r.repeat.Lock()
			r.again++
			r.repeat.Unlock()
			continue
		}
		r.took[node][n] = int32(min((now-at)/1000, 1<<31-1))
	}
}

// record is what the nodes of one child, or of all, have noted.
type record struct {
	Nodes, Messages int
	Took            [][]int32
	Again           int
}

// full reports whether every node has everything.
func (r *recorder) full(messages int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.took {
		if slices.Contains(t[:messages], missing) {
			return false
		}
	}
	return true
}

// collect waits until every node has applied as many as were published, not for
// ever, and ends the phase.
func (r *recorder) collect(messages int, patience time.Duration) record {
	messages = min(messages, r.messages)
	for end := time.Now().Add(patience); !r.full(messages) && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond) // it is measured by the nodes themselves
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase = ""
	for i := range r.took {
		r.took[i] = r.took[i][:messages]
	}
	return record{Nodes: len(r.took), Messages: messages, Took: r.took, Again: r.again}
}

// merge joins the records of several children about the same phase.
func merge(rs []record) record {
	var all record
	for _, r := range rs {
		all.Nodes += r.Nodes
		all.Messages = r.Messages
		all.Took = append(all.Took, r.Took...)
		all.Again += r.Again
	}
	return all
}

// lost counts the deliveries that are missing.
func (r record) lost() int {
	n := 0
	for _, t := range r.Took {
		for _, d := range t {
			if d == missing {
				n++
			}
		}
	}
	return n
}

// each is the time of every delivery, last that of the last node for every statement
// that all nodes have.
func (r record) each() quantiles {
	var all []time.Duration
	for _, t := range r.Took {
		for _, d := range t {
			if d != missing {
				all = append(all, time.Duration(d)*time.Microsecond)
			}
		}
	}
	return quantilesOf(all)
}

func (r record) last() quantiles {
	var all []time.Duration
	for n := range r.Messages {
		slowest := int32(0)
		for _, t := range r.Took {
			if t[n] == missing {
				slowest = missing
				break
			}
			slowest = max(slowest, t[n])
		}
		if slowest != missing {
			all = append(all, time.Duration(slowest)*time.Microsecond)
		}
	}
	return quantilesOf(all)
}

// quantiles of a sample.
type quantiles struct {
	N             int
	P50, P99, Max time.Duration
}

func quantilesOf(d []time.Duration) quantiles {
	if len(d) == 0 {
		return quantiles{}
	}
	slices.Sort(d)
	return quantiles{N: len(d), P50: d[len(d)/2], P99: d[len(d)*99/100], Max: d[len(d)-1]}
}

func (q quantiles) String() string {
	return fmt.Sprintf("%s / %s / %s", ms(q.P50), ms(q.P99), ms(q.Max))
}

// micro is String in microseconds.
func (q quantiles) micro() string { return us(q.P50) + " / " + us(q.P99) + " / " + us(q.Max) }

// ms writes a duration in milliseconds with three digits or so.
func ms(d time.Duration) string {
	v := float64(d.Nanoseconds()) / 1e6
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}
