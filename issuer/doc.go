// Package issuer is the side of quash that hands out tokens and ends them: login, refresh, revocation, key set and
// metadata, for any number of replicas on one NATS system. NATS is its only stateful dependency: users and sessions
// live in JetStream key-value buckets, statements go to the stream of package events.
//
// # Two halves
//
// Ending a session has two halves and their order matters (RFC 9700 §4.14, RFC 7009 §2.1): the refresh side dies
// first, durably and under compare-and-set, together with the intent to publish; then the statement is published; only
// then does anybody hear "done". The other way round a client could refresh in the gap and hold a token newer than
// the statement. A crash between the halves leaves an intent behind, which Run publishes at start and every
// RepairInterval. Every path that ends a session goes through [Issuer.Revoke].
//
// # Generations
//
// Each subject has a generation, an integer in every access token (gen) and every session. Revoking a subject raises
// it: one write, whatever the number of sessions, exact without any clock, so that a login right after "revoke all", in
// the same second, gives a living token and no older one lives. It is raised to the seconds since 2025 at least, so that
// records which were put back from a backup do not repeat one.
//
// # Refresh tokens
//
// A refresh token is <sid>.<secret>; only a hash of the secret is stored. Each use rotates it under compare-and-set,
// so that of two uses at once one wins. Any later use of a token that was already used means that two parties hold it
// (RFC 9700 §2.2.2, §4.14.2), and which of them is the thief cannot be known: the session ends, at the issuer and on
// every node, and the answer is invalid_grant. That includes the loser of a race: its token is the used one by the time the
// race is decided, and sparing a tight race would let a thief who is quick enough stay unnoticed. Clients that cannot
// keep to one refresh at a time, or that lose answers, set Config.ReuseGrace: within it, counted from the
// rotation and never extended, the previous token gives the same successor again.
//
// # Codes
//
// Applications that must not see passwords use the authorization-code flow with PKCE (RFC 6749 §4.1, RFC 7636, RFC 9700). The
// issuer's page asks for the password at every authorization: there is no browser session beside the sessions, so nothing
// makes new tokens after a revocation. The login form is stateless: the request travels in it, sealed and bound to a cookie. A
// session begins when its code is exchanged, in one atomic write with "the code is used", and is as old as the password; a
// second use of the code ends it.
package issuer
