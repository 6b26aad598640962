// Package floors holds a test and nothing else: the policy of which package may
// import what. See docs/adr for why the house has floors.
package floors
