// Package sim projects a fleet by simulation: discrete events in virtual time, no
// clock, no network, the same outcome for the same seed.
package sim
