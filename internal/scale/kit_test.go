package main

import "github.com/quash-auth/quash/events"

func eventsOf(ids ...string) (batch []events.Event) {
	for _, id := range ids {
		batch = append(batch, events.Event{Revocation: events.Revocation{ID: id}})
	}
	return batch
}
