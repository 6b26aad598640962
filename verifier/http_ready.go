package verifier

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// readiness is the body of a readiness probe.
type readiness struct {
	Ready          bool      `json:"ready"`
	Reason         string    `json:"reason,omitempty"` // why not, and what to do
	Sequence       uint64    `json:"sequence"`         // the newest statement in force
	AsOf           time.Time `json:"as_of,omitzero"`
	StalenessMS    int64     `json:"staleness_ms"` // meaningless before the first sync
	MaxStalenessMS int64     `json:"max_staleness_ms"`
	AcceptsIfStale bool      `json:"accepts_if_stale,omitempty"` // the policy is Allow
}

// ReadyHandler answers readiness probes: 200 if Ready returns nil, else 503 with a JSON body that says why. Do not
// use it as a liveness probe: a node that has lost the broker heals by itself, and a restart only costs it its view.
// The body names the issuers and addresses of the configuration; do not show it to the world.
func (v *Verifier) ReadyHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		report := v.Report()
		body := readiness{
			Ready: true, Sequence: report.Sequence, AsOf: report.AsOf, StalenessMS: report.Staleness.Milliseconds(),
			MaxStalenessMS: report.MaxStaleness.Milliseconds(), AcceptsIfStale: report.OnStale == Allow.String(),
		}
		status := http.StatusOK
		if err := v.Ready(); err != nil {
			body.Ready, body.Reason, status = false, err.Error(), http.StatusServiceUnavailable
		}
		text, err := json.Marshal(body)
		if err != nil { // a time outside years 0 to 9999
			status, text = http.StatusServiceUnavailable, []byte(`{"ready":false,"reason":"the state cannot be written as JSON"}`)
		}
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", strconv.Itoa(len(text)+1))
		w.WriteHeader(status)
		_, _ = w.Write(append(text, '\n')) // the prober has gone: nobody is left to tell
	})
}
