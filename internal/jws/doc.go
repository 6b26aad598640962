// Package jws reads compact JSON Web Signatures (RFC 7515) and JWK Sets (RFC 7517), and checks signatures. It knows neither
// claims nor issuers, so that it can be held against test vectors whose payloads are no tokens.
//
// What it takes is narrower than what the RFCs allow: no JSON serialization, no header member that must be understood, no
// weak key, one spelling of each text.
package jws
