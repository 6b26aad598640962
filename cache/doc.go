// Package cache is what a verifier keeps in memory: the Denylist of living statements
// and the Memo of tokens it has verified before. It knows neither NATS nor JWT.
//
// # The denylist
//
// A statement says that tokens of one issuer are not to be accepted: one token, one
// session, or the tokens of a subject, a client, a signing key or the whole issuer that
// were issued up to some second. Apply adds statements, Check answers whether one of
// them covers a token.
//
// ristretto holds what we know about a revocation; an exact index decides whether there
// is one. So nothing a cache forgets can let a token in:
//
//   - The index is a set of hash tables that readers use without a lock. It also holds
//     the cutoffs and generations, so a loss cannot deny a fresh login either.
//   - The details (which statement it was) are in ristretto, written under a discipline
//     that makes a lossy cache keep them: they wait in an exact map until one writer has
//     written a batch, waited and read it back; what will not stay in ristretto stays in
//     the map. Apply returns once the index and the map have them.
//   - A key with an entry and without a detail is denied and counted
//     (Stats.RecordMissing), never let in.
//   - A full denylist says ErrFull. It never drops what lives to make room.
//   - Statements about one key are joined by maximum, so their order does not matter.
//   - Check never looks at a clock. An entry is enforced until it is swept, which Run does
//     after Until+Grace by the node's clock and by the newest server time known.
//
// Keys are not kept, only 96 bits of seeded hashes of scope, issuer and key: that two
// keys share them has a chance of about 2^-96 a pair, and would deny, not admit.
//
// # The memo
//
// A Memo is a ristretto as it is meant to be used: it may lose anything, which costs one
// verification. It is keyed by a seeded hash of the token's text and compares the whole
// text, so no chosen token can be taken for another.
//
// # Concurrency
//
// All methods of both types may be called from any goroutine. New and NewMemo start the
// goroutines of the ristretto they hold; Close waits for running lookups and ends them.
package cache
