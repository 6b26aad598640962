package sim

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// engine runs events in the order of virtual time; those of one instant in the order
// in which they were planned.
type engine struct {
	now    time.Duration
	queue  eventQueue
	serial uint64
	rng    *rand.Rand
}

type event struct {
	at     time.Duration
	serial uint64
	do     func()
}

func newEngine(seed uint64) *engine {
	return &engine{rng: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))}
}

// at plans something; never before now.
func (e *engine) at(t time.Duration, do func()) {
	e.serial++
	heap.Push(&e.queue, event{at: max(t, e.now), serial: e.serial, do: do})
}

func (e *engine) after(d time.Duration, do func()) { e.at(e.now+d, do) }

// run goes on until nothing is planned.
func (e *engine) run() {
	for len(e.queue) > 0 {
		next := heap.Pop(&e.queue).(event)
		e.now = next.at
		next.do()
	}
}

// jitter is a random part of d.
func (e *engine) jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(e.rng.Int64N(int64(d)))
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	if q[i].at != q[j].at {
		return q[i].at < q[j].at
	}
	return q[i].serial < q[j].serial
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return last
}
