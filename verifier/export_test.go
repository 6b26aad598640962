package verifier

// IndexedWatches returns how many places the index of watches has.
func IndexedWatches(v *Verifier) int {
	v.watchers.mu.Lock()
	defer v.watchers.mu.Unlock()
	return len(v.watchers.by)
}

// ParseHeader and ParseKeySet are what the fuzz targets feed.
func ParseHeader(doc []byte) (alg, kid, typ string, err error) {
	h, err := parseHeader(doc)
	return h.alg, h.kid, h.typ, err
}

// ParseKeySet returns the kids and keys of a JWK Set for the default algorithms.
func ParseKeySet(doc []byte) (map[string]any, error) {
	var allowed algSet
	for _, name := range defaultAlgorithms {
		i, _ := algByName(name)
		allowed |= 1 << i
	}
	set, err := parseKeySet(doc, allowed)
	if err != nil {
		return nil, err
	}
	keys := make(map[string]any)
	for id, k := range set.byID {
		keys[id] = k.public
	}
	return keys, nil
}
