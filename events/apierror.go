package events

import "github.com/nats-io/nats.go/jetstream"

// Error codes of the JetStream API, as nats-server 2.15 sends them.
const (
	codeNotAvailable      = 10008 // cluster without a leader
	codeNoResources       = 10023
	codeNotEnabledAccount = 10039
	codeStorageExceeded   = 10047
	codeCreateFailed      = 10049
	codeTooLarge          = 10054
	codeNotEnabled        = 10076
	codeStoreFailed       = 10077 // "maximum bytes exceeded", "maximum messages exceeded", disk errors
	codeIncompleteBatch   = 10176
	codeDuplicateInBatch  = 10201
	codeTooManyInFlight   = 10210
)

// fullCode reports whether the server refused for want of room.
func fullCode(e *jetstream.APIError) bool {
	switch e.ErrorCode {
	case codeNoResources, codeStorageExceeded, codeStoreFailed:
		return true
	}
	return false
}
