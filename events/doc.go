// Package events is the wire contract of quash: what a revocation says, how it
// is encoded, the stream it is stored in, how it is published durably, how it
// is followed, and how the fleet is asked whether it enforces it.
//
// Publishers use [Connect], [NewPublisher] and [Publisher.Publish]; whoever
// enforces revocations runs a [Subscriber]. Both only need NATS.
package events
