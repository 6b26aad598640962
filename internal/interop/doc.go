// Package interop proves quash against software that other people wrote: JOSE
// libraries, OAuth clients and servers in Go, C, Python and JavaScript. It is a
// module of its own, so that none of them reaches a build of quash.
//
// It has tests only. They need what docs/interop.md lists: go, node with npm, and
// five Debian packages; what is missing fails, nothing is skipped.
package interop
