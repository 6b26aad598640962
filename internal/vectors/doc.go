// Package vectors holds internal/jws and verifier against other people's test vectors and against other people's libraries.
// It is a module of its own because the vectors of Wycheproof are more than 100 MB.
package vectors
