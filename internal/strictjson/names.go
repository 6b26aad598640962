package strictjson

import (
	"bytes"
	"hash/maphash"
)

// nameSet notices the second occurrence of a name in an object. Most names are
// told apart by one bit; objects with many members get a hash table of places in
// the list, so that a hostile document costs no more than its length.
//
// The list of names stays with the caller, where it can live on the stack.
type nameSet struct {
	seen  uint64
	table []int32 // a power of two long, at most half full; place in the list plus one, 0 is free
}

const manyNames = 32

var nameSeed = maphash.MakeSeed() // not for a sender of documents to know

// add reports whether name is new. list has all names added before.
func (n *nameSet) add(list [][]byte, name []byte) bool {
	if len(list) >= manyNames {
		return n.addLarge(list, name)
	}
	h := uint(len(name))
	if len(name) > 0 {
		h += uint(name[0])*7 + uint(name[len(name)-1])*31
	}
	bit := uint64(1) << (h & 63)
	if n.seen&bit != 0 {
		for _, other := range list {
			if bytes.Equal(other, name) {
				return false
			}
		}
	}
	n.seen |= bit
	return true
}

func (n *nameSet) addLarge(list [][]byte, name []byte) bool {
	if 2*(len(list)+1) > len(n.table) {
		n.table = make([]int32, max(4*manyNames, 2*len(n.table)))
		for i, other := range list {
			*n.slot(list, other) = int32(i + 1)
		}
	}
	slot := n.slot(list, name)
	if *slot != 0 {
		return false
	}
	*slot = int32(len(list) + 1)
	return true
}

// slot returns the place of name in the table, or the free one where it belongs.
func (n *nameSet) slot(list [][]byte, name []byte) *int32 {
	mask := uint64(len(n.table) - 1)
	for h := maphash.Bytes(nameSeed, name); ; h++ {
		slot := &n.table[h&mask]
		if *slot == 0 || bytes.Equal(list[*slot-1], name) {
			return slot
		}
	}
}
