package main

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var metricName = regexp.MustCompile(`quash_[a-z_]+`)

// TestMetrics_names: an issuer and an API node give every metric of theirs, and deploy/README.md tells operators of none that
// neither has.
func TestMetrics_names(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := map[string]bool{}
	for _, p := range []*part{w.issuers[0], w.nodes[0]} {
		a, err := newClient("", 1).get(t.Context(), "http://"+p.address+"/metrics", "")
		if err != nil || a.status != 200 {
			t.Fatalf("metrics: %d, %v", a.status, err)
		}
		for line := range strings.Lines(string(a.body)) {
			if strings.HasPrefix(line, "quash_") {
				got[metricName.FindString(line)] = true
			}
		}
	}
	want := []string{
		"quash_issuer_open", "quash_issuer_clients_file_ok", "quash_issuer_clients", "quash_issuer_ledger_ok", "quash_issuer_passwords_total",
		"quash_issuer_own_throttled_total",
		"quash_issuer_revocations_throttled_total", "quash_issuer_one_time_minted_total", "quash_issuer_statements_returned_total",
		"quash_issuer_statements_renewed_total",
		"quash_issuer_statements_invalid_total", "quash_snapshot_ok", "quash_one_time_redeemed_total", "quash_ready", "quash_unenforceable_issuers",
		"quash_tokens_refused_total", "quash_feed_total",
	}
	for _, name := range want {
		if !got[name] {
			t.Errorf("nobody gives %s", name)
		}
	}
	named := metricName.FindAllString(readText(t, filepath.Join(deployDir, "README.md")), -1)
	if len(named) < 20 {
		t.Errorf("deploy/README.md names only %d metrics", len(named))
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(named))) {
		if !got[name] {
			t.Errorf("deploy/README.md names %s, which nobody gives", name)
		}
	}
}
