package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
)

// The collectors read the plain Stats and Report structs of the libraries when
// Prometheus asks. Labels have a fixed set of values: never a token, a subject or
// an address.

// reportMetrics are what every node of the fleet has.
type reportMetrics struct {
	ready, synced, staleness, bound, sequence, entries *prometheus.Desc
}

func newReportMetrics() reportMetrics {
	return reportMetrics{
		ready:     desc("quash_ready", "1 if the node answers requests, 0 if it answers 503."),
		synced:    desc("quash_synced", "1 once everything the stream held at the start was applied."),
		staleness: desc("quash_staleness_seconds", "How old the view of the revocations may be. Absent before the first sync."),
		bound:     desc("quash_max_staleness_seconds", "Bound on the staleness."),
		sequence:  desc("quash_applied_sequence", "Everything alive up to this stream sequence was applied."),
		entries:   desc("quash_denylist_entries", "Living revocations held."),
	}
}

func (m reportMetrics) describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.ready, m.synced, m.staleness, m.bound, m.sequence, m.entries} {
		ch <- d
	}
}

func (m reportMetrics) collect(ch chan<- prometheus.Metric, r events.Report) {
	gauge(ch, m.ready, truth(r.Ready))
	gauge(ch, m.synced, truth(r.Synced))
	if r.Synced {
		gauge(ch, m.staleness, r.Staleness.Seconds())
	}
	if r.MaxStaleness > 0 {
		gauge(ch, m.bound, r.MaxStaleness.Seconds())
	}
	gauge(ch, m.sequence, float64(r.Sequence))
	gauge(ch, m.entries, float64(r.Entries))
}

// verifierCollector is the metrics of an API node.
type verifierCollector struct {
	v      *verifier.Verifier
	report reportMetrics

	accepted, acceptedStale, refused, memo, keyReads, keyFailures, watches *prometheus.Desc

	feed, clockBehind, unenforceable, redeemed, snapshot *prometheus.Desc
}

func newVerifierCollector(v *verifier.Verifier) *verifierCollector {
	return &verifierCollector{
		v:             v,
		report:        newReportMetrics(),
		accepted:      desc("quash_tokens_accepted_total", "Tokens accepted."),
		acceptedStale: desc("quash_tokens_accepted_stale_total", "Of them, accepted although the view was too old (--on-stale allow)."),
		refused:       desc("quash_tokens_refused_total", "Tokens refused, by reason.", "reason"),
		memo:          desc("quash_memo_lookups_total", "Looks for a token verified before.", "result"),
		keyReads:      desc("quash_key_set_reads_total", "Readings of a key set."),
		keyFailures:   desc("quash_key_set_read_failures_total", "Of them, failed."),
		watches:       desc("quash_watches_ended_total", "Long-lived requests ended, by reason.", "reason"),
		feed:          desc("quash_feed_total", "What happened while following: event, beacon, gap, rewind (stream recreated or restored), catch_up, slot_wait (a long one that had to wait for its turn), reconnect, undecodable.", "what"),
		unenforceable: desc("quash_unenforceable_issuers", "Issuers of which tokens were accepted that a revocation of this scope can not reach, because they lack the claim.", "scope"),
		redeemed:      desc("quash_one_time_redeemed_total", "One-time tokens used up at this node."),
		snapshot:      desc("quash_snapshot_ok", "0 while the snapshot is not written: a restart then reads more of the stream, and waits for NATS."),
		clockBehind:   desc("quash_clock_behind_seconds", "By how much this node's clock is provably behind the server's."),
	}
}

func (c *verifierCollector) Describe(ch chan<- *prometheus.Desc) {
	c.report.describe(ch)
	for _, d := range []*prometheus.Desc{c.accepted, c.acceptedStale, c.refused, c.memo, c.keyReads, c.keyFailures, c.watches, c.feed, c.clockBehind, c.unenforceable, c.redeemed, c.snapshot} {
		ch <- d
	}
}

func (c *verifierCollector) Collect(ch chan<- prometheus.Metric) {
	c.report.collect(ch, c.v.Report())
	s := c.v.Stats()
	counter(ch, c.accepted, s.Accepted)
	counter(ch, c.acceptedStale, s.AcceptedStale)
	for _, r := range []struct {
		reason string
		n      uint64
	}{
		{"malformed", s.Malformed}, {"algorithm", s.Algorithm}, {"signature", s.Signature}, {"no_key", s.NoKey},
		{"type", s.Type}, {"issuer", s.Issuer}, {"audience", s.Audience}, {"expired", s.Expired}, {"not_yet", s.NotYet},
		{"lifetime", s.Lifetime}, {"claims", s.Claims}, {"revoked", s.Revoked}, {"stale", s.Stale}, {"once", s.Once}, {"used", s.Used},
	} {
		counter(ch, c.refused, r.n, r.reason)
	}
	counter(ch, c.memo, s.MemoHits, "hit")
	counter(ch, c.memo, s.MemoMisses, "miss")
	counter(ch, c.keyReads, s.KeyReads)
	counter(ch, c.keyFailures, s.KeyReadFailures)
	counter(ch, c.watches, s.WatchesRevoked, "revoked")
	counter(ch, c.watches, s.WatchesExpired, "expired")
	counter(ch, c.watches, s.WatchesStale, "stale")
	counter(ch, c.redeemed, s.Redeemed)

	status := c.v.Status()
	reach := map[events.Scope]int{}
	for _, i := range status.Issuers {
		for _, scope := range i.Unenforceable {
			reach[scope]++
		}
	}
	for _, scope := range events.Scopes() {
		ch <- prometheus.MustNewConstMetric(c.unenforceable, prometheus.GaugeValue, float64(reach[scope]), scope.String())
	}
	gauge(ch, c.snapshot, truth(status.SnapshotProblem == ""))
	f := status.Feed
	for _, h := range []struct {
		what string
		n    uint64
	}{
		{"event", f.Events}, {"beacon", f.Beacons}, {"gap", f.Gaps}, {"rewind", f.Rewinds}, {"catch_up", f.CatchUps}, {"slot_wait", f.SlotWaits},
		{"reconnect", f.Reconnects}, {"undecodable", f.Undecodable},
	} {
		counter(ch, c.feed, h.n, h.what)
	}
	gauge(ch, c.clockBehind, f.ClockBehind.Seconds())
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
}

func counter(ch chan<- prometheus.Metric, d *prometheus.Desc, v uint64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
