package renew

// Bounds for tests.
const MaxAsking = maxAsking

// Hold at most n renewals.
func (r *Renewer) Hold(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held.most = n
}

// Held is how many renewals are remembered, and of how many subjects.
func (r *Renewer) Held() (tokens, subjects int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.held.tokens), len(r.held.holders)
}

// Asking is how many renewals wait for the issuer.
func (r *Renewer) Asking() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.held.holders {
		n += h.asking
	}
	return n
}
