// Package verifier checks access tokens (JWT) and enforces revocations from memory.
//
// A Verifier follows the stream of revocations and keeps every living one in this process. So a request costs no look-up
// anywhere, a revoked token is refused milliseconds after it was revoked, and the node can always say how old its view is.
//
//	nc, err := events.Connect(events.ConnectConfig{URL: "nats://127.0.0.1:4222"})
//	...
//	v, err := verifier.New(verifier.Config{
//		NATS: nc,
//		Issuers: []verifier.Issuer{{
//			Issuer:   "https://id.example.com",
//			Audience: []string{"https://api.example.com"},
//			JWKSURL:  "https://id.example.com/.well-known/jwks.json",
//		}},
//	})
//	...
//	go v.Run(ctx) // or an actor of oklog/run: it ends when ctx does
//	http.Handle("/", v.Middleware(verifier.HTTPConfig{})(api))
//	http.Handle("/readyz", v.ReadyHandler())
//
// # What is guaranteed
//
//   - A token that a statement covers is refused from the moment this node applied the statement, whatever else fails.
//   - Before the node has applied everything that was in the stream when it started, no token is accepted.
//   - With OnStale Deny (the zero value) no token is accepted while the view is older than MaxStaleness.
//   - A token is identified by its signed claims, never by its text: another spelling of a revoked token is revoked.
//   - Nothing in a token chooses how it is checked: algorithms, keys and issuers come from the Config.
//
// # What happens in trouble
//
// The broker is away: decisions go on from memory until the view is too old; then ErrStale (503), and Ready says so. The
// broker was away at the start: ErrStale until it comes. An issuer's key set cannot be fetched: the old keys stay in use;
// without any, its tokens are ErrStale. The denylist is full, or a statement cannot be read: not ready, nothing living is
// dropped. None of these is a 401: our trouble must not log people out.
//
// The errors of Verify say which of these it was (errors.Is); WriteError turns each into the right answer.
package verifier
