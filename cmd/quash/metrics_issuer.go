package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/quash-auth/quash/issuer"
)

// issuerCollector is the metrics of an issuer, once it is open.
type issuerCollector struct {
	issuer func() *issuer.Issuer
	report reportMetrics

	open, file, ledger, clients *prometheus.Desc

	passwords, hasty, throttled, minted, returned, renewed, invalid *prometheus.Desc
}

func newIssuerCollector(get func() *issuer.Issuer) *issuerCollector {
	return &issuerCollector{
		issuer:    get,
		report:    newReportMetrics(),
		open:      desc("quash_issuer_open", "1 once the issuer has reached NATS and opened its stores."),
		file:      desc("quash_issuer_clients_file_ok", "0 while the clients file cannot be used and the clients stay as they were."),
		clients:   desc("quash_issuer_clients", "Clients known, disabled ones included."),
		ledger:    desc("quash_issuer_ledger_ok", "0 once the ledger cannot be written: a stream that is lost then stays incomplete."),
		passwords: desc("quash_issuer_passwords_total", "Passwords shown, by result: right, wrong, throttled (not looked at).", "result"),
		hasty:     desc("quash_issuer_own_throttled_total", "Refused because one user was too fast with what is her own: login; token (renewals by cookie, revocations of access tokens); list (of her sessions).", "what"),
		throttled: desc("quash_issuer_revocations_throttled_total", "Revocations over HTTP refused because one operator or system was too fast."),
		minted:    desc("quash_issuer_one_time_minted_total", "One-time tokens given out."),
		returned:  desc("quash_issuer_statements_returned_total", "Statements that the stream had lost and was given back."),
		renewed:   desc("quash_issuer_statements_renewed_total", "Statements about revoked keys that were published again, so that nodes never forget them."),
		invalid:   desc("quash_issuer_statements_invalid_total", "Statements of the stream that make no sense and have no effect."),
	}
}

func (c *issuerCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.open, c.file, c.clients, c.ledger, c.passwords, c.hasty, c.throttled, c.minted, c.returned, c.renewed, c.invalid} {
		ch <- d
	}
	c.report.describe(ch)
}

func (c *issuerCollector) Collect(ch chan<- prometheus.Metric) {
	i := c.issuer()
	gauge(ch, c.open, truth(i != nil))
	if i == nil {
		return
	}
	s := i.Stats()
	gauge(ch, c.file, truth(s.ClientsFileProblem == ""))
	gauge(ch, c.clients, float64(s.Clients))
	gauge(ch, c.ledger, truth(s.LedgerProblem == ""))
	counter(ch, c.passwords, s.PasswordsRight, "right")
	counter(ch, c.passwords, s.PasswordsWrong, "wrong")
	counter(ch, c.passwords, s.PasswordsThrottled, "throttled")
	counter(ch, c.hasty, s.LoginsHasty, "login")
	counter(ch, c.hasty, s.TokensHasty, "token")
	counter(ch, c.hasty, s.ListsHasty, "list")
	counter(ch, c.throttled, s.RevocationsThrottled)
	counter(ch, c.minted, s.OnceMinted)
	counter(ch, c.returned, s.Returned)
	counter(ch, c.renewed, s.Renewed)
	counter(ch, c.invalid, s.InvalidStatements)
	c.report.collect(ch, i.Report())
}
