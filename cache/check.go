package cache

// Check says whether a living statement covers the token. It takes no lock, allocates
// nothing and never looks at a clock; any number of goroutines may call it beside Apply,
// Run and Close. What Apply has acknowledged, every later Check sees. A nil or closed
// denylist, a nil Ref and a Ref of another denylist are denied.
//
// Only to name the statement of a token it has already found revoked does it ask
// ristretto, which holds a lock of its own for the time of a map access.
func (d *Denylist) Check(r *Ref) Verdict {
	if d == nil || r == nil || d.closed.Load() || r.list != d.id {
		return Verdict{Revoked: true}
	}
	// First touch all places, then look: the processor waits for memory once, not for
	// each scope in turn.
	var tables [scopes]*table
	var words [scopes]uint64
	for s := Token; s <= Issuer; s++ {
		ix := &d.index[s]
		if r.has>>s&1 == 0 || ix.count.Load() == 0 {
			continue
		}
		if t := ix.table(r.hash[s]); t != nil {
			tables[s], words[s] = t, t.word(r.hash[s])
		}
	}
	for s := Token; s <= Issuer; s++ {
		h := r.hash[s]
		if absent(words[s], h) || !tables[s].has(h) {
			continue
		}
		if v := d.hit(tables[s], s, h, r); v.Revoked {
			return v
		}
	}
	return Verdict{}
}

// hit decides about a token whose first hash is in the table.
func (d *Denylist) hit(t *table, s Scope, h uint64, r *Ref) Verdict {
	second := d.hash.second(s, r.issuer, r.keys[s])
	i := t.find(h, second)
	if i < 0 {
		return Verdict{} // two keys, one first hash
	}
	p := partWhole
	if t.pins != nil {
		var covered bool
		if p, covered = t.cutoff(i).covers(r); !covered {
			return Verdict{} // a newer login
		}
	}
	v := Verdict{Revoked: true, Scope: s}
	tk := ticket{hash: h, check: second, part: p, scope: s}
	var ok bool
	if v.Sequence, ok = d.details.get(tk); !ok {
		d.missing(uint32(t.slots[i].meta.Load()))
	}
	return v
}

// missing counts a detail that is not there: forgotten on purpose, or lost.
func (d *Denylist) missing(until uint32) {
	switch {
	case d.closed.Load():
	case d.details.forgets, int64(until)+d.grace < d.clock.now().Unix():
		d.counters.forgotten.Add(1)
	default:
		d.counters.lost.Add(1)
	}
}
