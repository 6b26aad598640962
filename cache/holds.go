package cache

// Holds reports whether a statement would change nothing: what is held about its key says as much already, for as long. It is
// false for statements that Apply would refuse.
func (d *Denylist) Holds(s Statement) bool {
	if d == nil || d.closed.Load() || s.validate() != nil {
		return false
	}
	h := d.hash.first(s.Scope, d.hash.issuerHash(s.Issuer), s.Issuer, s.Key)
	t := d.index[s.Scope].table(h)
	if t == nil {
		return false
	}
	i := t.find(h, d.hash.second(s.Scope, s.Issuer, s.Key))
	if i < 0 || uint32(t.slots[i].meta.Load()) < clampUntil(s.Until) {
		return false
	}
	if t.pins == nil {
		return true
	}
	held, c := t.cutoff(i), s.cutoff()
	return held.before >= c.before && held.gen >= c.gen && held.genBefore >= c.genBefore
}
