package strictjson

import "bytes"

// nameSet notices the second occurrence of a name in an object. Most names are
// told apart by one bit; objects with many members get a map, so that a hostile
// document costs no more than its length.
//
// The list of names stays with the caller, where it can live on the stack.
type nameSet struct {
	seen  uint64
	large map[string]struct{}
}

const manyNames = 32

// add reports whether name is new. list has all names added before.
func (n *nameSet) add(list [][]byte, name []byte) bool {
	if n.large != nil || len(list) >= manyNames {
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
	if n.large == nil {
		n.large = make(map[string]struct{}, 2*manyNames)
		for _, other := range list {
			n.large[string(other)] = struct{}{}
		}
	}
	if _, dup := n.large[string(name)]; dup {
		return false
	}
	n.large[string(name)] = struct{}{}
	return true
}
