package verifier

// IndexedWatches returns how many places the index of watches has.
func IndexedWatches(v *Verifier) int {
	v.watchers.mu.Lock()
	defer v.watchers.mu.Unlock()
	return len(v.watchers.by)
}

// MemoBytes returns what the memo weighs.
func MemoBytes(v *Verifier) int64 { return v.memo.Stats().Bytes }

// Compact compacts the snapshot, which must be open.
func Compact(v *Verifier) error { return v.keeper.file.Compact(v.alive) }
