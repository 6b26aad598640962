package main

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// invariant is one of the seven promises.
type invariant int

const (
	i1        invariant = iota + 1 // no acknowledged revocation is lost
	i2                             // what is known to be revoked is not accepted
	i3                             // a view older than its bound is answered by the policy
	i4                             // nothing else is refused, and our outage is never a 401
	i5                             // everything heals by itself
	i6                             // all nodes hold the same
	i7                             // nothing leaks
	lastCheck = i7
)

func (i invariant) String() string { return fmt.Sprintf("I%d", int(i)) }

// slack is what the promises grant beyond a bound.
const slack = time.Second

// violation is a promise broken.
type violation struct {
	invariant
	node string
	what string
}

// judge checks every answer of every node as it comes in.
type judge struct {
	say func(string, ...any)

	mu    sync.Mutex // guards what follows
	found []violation
	tally tally
	worst time.Duration // the oldest view that a Deny node accepted a token with
}

// tally counts answers.
type tally struct{ accepted, refused, unjudged, none int }

func (j *judge) report(i invariant, node, format string, args ...any) {
	v := violation{i, node, fmt.Sprintf(format, args...)}
	j.mu.Lock()
	j.found = append(j.found, v)
	n := len(j.found)
	j.mu.Unlock()
	if n <= 20 {
		j.say("VIOLATED %v at %s: %s", i, node, v.what)
	}
}

func (j *judge) silence() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tally.none++
}

// take judges one answer by what the driver knows and by what the node itself said
// it knew just before and just after its verdict, which was found between the two: also
// of a node that was frozen between a request and its answer.
func (j *judge) take(a answer) {
	name, deny := a.node.Name, !a.node.Allow
	j.count(a, deny)
	switch a.status {
	case http.StatusOK:
		switch {
		case a.token.kind != living:
			j.report(i2, name, "accepts a token that is expired or forged")
		case !a.acked.IsZero() && !a.before.AsOf.Before(a.acked):
			j.report(i2, name, "accepts a token whose revocation (%v %s) was acknowledged at %s, with a view of %s", a.token.about.Scope, a.token.about.Key, stamp(a.acked), stamp(a.before.AsOf))
		case deny && !a.acked.IsZero() && a.before.Now.Sub(a.acked) > a.node.Bound+slack:
			j.report(i2, name, "accepts a token %v after the acknowledgement of its revocation; its bound is %v", a.before.Now.Sub(a.acked), a.node.Bound)
		}
		switch {
		case !a.before.Synced && !a.after.Synced:
			j.report(i3, name, "accepts a token before its first sync")
		case deny && a.age() > a.node.Bound+slack:
			j.report(i3, name, "accepts a token with a view %v old; its bound is %v", a.age(), a.node.Bound)
		}
	case http.StatusUnauthorized:
		if a.token.kind == living && a.asked.IsZero() && !(a.skewed && a.token.young) {
			j.report(i4, name, "refuses a token that nothing covers with 401; its view was of %s", stamp(a.before.AsOf))
		}
	case http.StatusServiceUnavailable:
		switch fresh := a.node.Bound - slack; {
		case a.skewed || !a.before.Synced:
		case !deny && a.node.Snapshot == "":
			j.report(i3, name, "a node that serves when stale answers 503, synced as of %s", stamp(a.before.AsOf))
		case a.after.Now.Sub(a.before.AsOf) < fresh:
			j.report(i4, name, "answers 503 with a view %v old", a.after.Now.Sub(a.before.AsOf))
		}
	default:
		j.report(i4, name, "answers %d", a.status)
	}
}

// age is how old the view was at the least. Between the two looks what a snapshot proves may have run out: then
// the second one knows less.
func (a answer) age() time.Duration {
	asOf := a.after.AsOf
	if a.before.AsOf.After(asOf) {
		asOf = a.before.AsOf
	}
	return a.before.Now.Sub(asOf)
}

func (j *judge) count(a answer, deny bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch a.status {
	case http.StatusOK:
		j.tally.accepted++
		if deny {
			j.worst = max(j.worst, a.age())
		}
	case http.StatusUnauthorized:
		j.tally.refused++
	case http.StatusServiceUnavailable:
		j.tally.unjudged++
	}
}

// verdicts is what was seen since the last call.
type verdicts struct {
	tally
	worst time.Duration
	found []violation
}

func (j *judge) harvest() verdicts {
	j.mu.Lock()
	defer j.mu.Unlock()
	v := verdicts{tally: j.tally, worst: j.worst, found: j.found}
	j.tally, j.worst, j.found = tally{}, 0, nil
	return v
}

// stamp is a time of day for people.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("15:04:05.000")
}
