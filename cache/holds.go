package cache

// Holds reports whether a statement would change nothing, neither a verdict nor the digest: what is held about its key says as much
// already, for as long. It is false for statements that Apply would refuse.
func (d *Denylist) Holds(s Statement) bool {
	if d == nil || d.closed.Load() || s.validate() != nil {
		return false
	}
	h, second, until := d.hash.first(s.Scope, d.hash.issuerHash(s.Issuer), s.Issuer, s.Key), d.hash.second(s.Scope, s.Issuer, s.Key), clampUntil(s.Until)
	t := d.index[s.Scope].table(h)
	if t == nil {
		return false
	}
	i := t.find(h, second)
	if i < 0 {
		return false
	}
	ends := uint32(t.slots[i].meta.Load())
	if ends < until || t.pins == nil {
		return ends >= until
	}
	held, c := t.cutoff(i), s.cutoff()
	if held.before < c.before || held.gen < c.gen || held.genBefore < c.genBefore {
		return false
	}
	return ends > until || d.index[s.Scope].contains(h, second, c)
}

// Lasts reports whether what Holds says stays so until the statement ends, whatever ends before it is forgotten: a file from which ended
// statements are removed may do without this one.
func (d *Denylist) Lasts(s Statement) bool {
	if holds := d.Holds(s); !holds || s.Scope.whole() {
		return holds
	}
	h, second := d.hash.first(s.Scope, d.hash.issuerHash(s.Issuer), s.Issuer, s.Key), d.hash.second(s.Scope, s.Issuer, s.Key)
	return d.index[s.Scope].contains(h, second, s.cutoff())
}

// contains reports whether the entry's ending stays what it is with one more statement that ends when the entry does: what has the
// longest of its lives says as much.
func (ix *index) contains(h uint64, second uint32, c cutoff) bool {
	sh := &ix.shards[h>>58]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t := ix.tables[h>>58].Load()
	if t == nil {
		return false
	}
	i := t.find(h, second)
	if i < 0 {
		return false
	}
	end := t.ending(i)
	return end.join(c) == end
}
