package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// demoReport is the JSON of quash demo.
type demoReport struct {
	Nodes          int          `json:"nodes"`
	MaxStalenessMS float64      `json:"max_staleness_ms"`
	OK             bool         `json:"ok"`
	Steps          []stepReport `json:"steps"`
	Propagation    *propagation `json:"propagation,omitempty"`
}

type stepReport struct {
	Name  string   `json:"name"`
	Claim string   `json:"claim"`
	OK    bool     `json:"ok"`
	Found string   `json:"found"`
	MS    *float64 `json:"ms,omitempty"`

	Waited []string `json:"waited,omitempty"` // which answers "not now" were waited out
}

// demoTable prints the steps as they happen; quiet, only the JSON at the end.
type demoTable struct {
	out   io.Writer
	quiet bool
	err   error // the first failed write; reported by end
}

func (t *demoTable) printf(format string, a ...any) {
	if t.quiet || t.err != nil {
		return
	}
	_, t.err = fmt.Fprintf(t.out, format, a...)
}

func (t *demoTable) begin(nodes int) {
	t.printf("%d API nodes, one issuer, NATS with sync always, all in this process, talking over 127.0.0.1\n\n", nodes)
	t.printf("      %-25s %-48s %10s  %s\n", "step", "claimed", "ms", "found")
}

func (t *demoTable) step(s stepReport) {
	verdict, took := "ok", ""
	if !s.OK {
		verdict = "FAIL"
	}
	if s.MS != nil {
		took = fmt.Sprintf("%.1f", *s.MS)
	}
	t.printf("%-4s  %-25s %-48s %10s  %s\n", verdict, s.Name, s.Claim, took, oneLine(s.Found))
	for _, w := range s.Waited {
		t.printf("      waited: %s\n", oneLine(w))
	}
}

func (t *demoTable) end(r *demoReport) error {
	if t.quiet {
		enc := json.NewEncoder(t.out)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	if p := r.Propagation; p != nil && r.Nodes <= 20 {
		t.printf("\nrevocation acknowledged after %.2f ms; first 401 seen by a client polling every %.1f ms, after the ack:\n", p.AckMS, p.PollMS)
		for i, took := range p.NodesMS {
			t.printf("  api-%-3d %8.2f ms\n", i+1, took)
		}
	}
	if r.OK {
		t.printf("\nall %d steps as claimed\n", len(r.Steps))
	}
	return t.err
}
