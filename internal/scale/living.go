package main

import (
	"fmt"
	"time"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
)

// livingKey looks like a UUID: 36 bytes.
func livingKey(k int) string {
	x := uint64(k)*0x9e3779b97f4a7c15 + 1
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", uint32(x), uint16(x>>32), uint16(x>>48), uint16(k), k)
}

// livingScope: half sessions, nearly half tokens, 3 % subjects.
func livingScope(k int) events.Scope {
	switch {
	case k%30 == 9:
		return events.Subject
	case k%2 == 0:
		return events.Session
	default:
		return events.Token
	}
}

// livingUntil spreads the ends of all statements over the minute from begin.
func livingUntil(k int, begin time.Time) time.Time {
	return begin.Truncate(time.Second).Add(time.Duration(k%60) * time.Second)
}

func livingEvent(k int, begin time.Time) events.Revocation {
	return events.Revocation{Issuer: issuerURL, Scope: livingScope(k), Key: livingKey(k), Until: livingUntil(k, begin), By: "policy"}
}

func livingStatement(k int, begin time.Time) cache.Statement {
	s := cache.Statement{Scope: cache.Scope(livingScope(k)), Issuer: issuerURL, Key: livingKey(k), Until: livingUntil(k, begin).Unix(), Sequence: uint64(k + 1)}
	if s.Scope == cache.Subject {
		s.Before, s.Gen = 1_000, uint64(k/30%2)
	}
	return s
}
