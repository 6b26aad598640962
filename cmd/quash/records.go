package main

import (
	"cmp"
	"log/slog"

	"github.com/nats-io/nats.go"
)

// recordsFlags are a second way into NATS, for the issuer's users and sessions:
// who follows the stream must not be able to touch them, and NATS lets the users
// of one account reach each other's subjects through reply subjects.
type recordsFlags struct {
	RecordsNATS  string `name:"records-nats" placeholder:"URL" help:"NATS server for users and sessions, in an account of their own (default: --nats)."`
	RecordsUser  string `name:"records-nats-user" placeholder:"NAME" help:"NATS user for it. Without any --records-nats flag users and sessions share the stream's account."`
	RecordsPass  string `name:"records-nats-password" placeholder:"PASSWORD" help:"Password of that user; better given as $$QUASH_RECORDS_NATS_PASSWORD."`
	RecordsCreds string `name:"records-nats-creds" placeholder:"FILE" help:"NATS credentials file for it."`
	RecordsNKey  string `name:"records-nats-nkey" placeholder:"FILE" help:"File with a NATS nkey seed for it."`
	RecordsCA    string `name:"records-nats-ca" placeholder:"FILE" help:"Certificate authority of its NATS server, PEM (default: --nats-ca)."`
	RecordsCert  string `name:"records-nats-cert" placeholder:"FILE" help:"Client certificate for it, PEM (default: --nats-cert)."`
	RecordsKey   string `name:"records-nats-key" placeholder:"FILE" help:"Key of that certificate, PEM."`
	RecordsInbox string `name:"records-nats-inbox" placeholder:"PREFIX" help:"Prefix of reply subjects for it."`
}

// connect opens the second connection, or none if no flag asks for one. What the
// two have in common, server and certificates, is taken from stream unless given.
func (f *recordsFlags) connect(stream *natsFlags, log *slog.Logger) (*nats.Conn, error) {
	if *f == (recordsFlags{}) {
		return nil, nil
	}
	own := natsFlags{
		NATS: cmp.Or(f.RecordsNATS, stream.NATS), NATSUser: f.RecordsUser, NATSPass: f.RecordsPass,
		NATSCreds: f.RecordsCreds, NATSNKey: f.RecordsNKey, NATSInbox: f.RecordsInbox,
		NATSCA: cmp.Or(f.RecordsCA, stream.NATSCA), NATSCert: f.RecordsCert, NATSKey: f.RecordsKey, prefix: "records-",
	}
	if f.RecordsCert == "" && f.RecordsKey == "" {
		own.NATSCert, own.NATSKey = stream.NATSCert, stream.NATSKey
	}
	return own.connect("quash-issuer-records", log)
}
