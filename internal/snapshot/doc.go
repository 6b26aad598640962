// Package snapshot is the file in which a node keeps what its denylist holds, so that it can start while the broker is away. It
// is appended to: frames of statements, and marks that say up to when everything before them is complete. It holds no
// policy: whether a mark is young enough is for the reader to decide.
//
// A frame's checksum goes on from that of the frame before, so that frames cannot be changed, left out or put in another order
// unnoticed. A file that ends within a frame was cut off by a crash: what is before it counts. Everything else that is not as
// written makes the whole file unusable: a denylist of which a part is missing is worse than none.
//
// The checksum finds accidents, not forgers: whoever may write to the file can let revoked tokens in. It must belong to the node
// alone, as its configuration does; one that others may have written is refused.
//
// One process at a time owns a file, from before it reads it: see Own.
package snapshot
