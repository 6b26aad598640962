// Package buskeys makes what proves identity on a bus: a certificate authority, the
// certificates of servers and clients, and nkey users. It holds no secrets in files of
// its own; WriteSecret does so for who asks.
package buskeys
