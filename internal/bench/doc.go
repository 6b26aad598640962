// Package bench holds the benchmarks that need more than one package of quash:
// propagation through a real server, and replay of a full stream. See
// docs/benchmarks.md for what they measured.
package bench
