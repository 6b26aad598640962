package events

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Report is what a node says about itself when the fleet is asked.
type Report struct {
	Node         string        // unique name
	Role         string        // what kind of node: "api", "issuer", ...
	Version      string        // of the program
	Sequence     uint64        // everything alive up to this stream sequence is applied
	AsOf         time.Time     // the newest instant the node's view is known to be complete
	Staleness    time.Duration // now minus AsOf, as the node knows it
	MaxStaleness time.Duration // its bound
	OnStale      string        // what it does beyond the bound: "deny" or "allow"
	Entries      int           // living statements it holds
	Synced       bool          // it was complete at least once
	Ready        bool          // it accepts requests
	Uptime       time.Duration
	Issuers      []string // iss of the tokens it judges
	Error        string   // why it is not ready, for people
	// Unenforceable are the scopes by which some tokens that it accepted can not be revoked, because they lack the claim.
	Unenforceable []string
	// Digest names the set of statements it holds that live at DigestFrom or longer. Two nodes with the same Sequence and
	// DigestFrom have the same Digest, or one of them lost something. Zero DigestFrom: the node does not say, or its version
	// makes the digest of something else, so that it cannot be compared.
	Digest     uint64
	DigestFrom time.Time
}

// Disagree reports whether two nodes that have applied the same part of the stream hold different statements. A statement that is
// being applied may be in the digest and not yet in the sequence: ask again before you believe it.
func (r Report) Disagree(o Report) bool {
	return r.Synced && o.Synced && r.Sequence == o.Sequence && !r.DigestFrom.IsZero() && r.DigestFrom.Equal(o.DigestFrom) && r.Digest != o.Digest
}

// digestForm goes before the digits of a digest and changes with what it is made of. Neither side of a rolling upgrade
// reads the other's: until 2 the digits stood alone.
const digestForm = "2-"

// reportJSON is the wire form: durations in milliseconds.
type reportJSON struct {
	Node         string     `json:"node"`
	Role         string     `json:"role,omitempty"`
	Version      string     `json:"version,omitempty"`
	Sequence     uint64     `json:"sequence"`
	AsOf         *time.Time `json:"as_of,omitempty"`
	Staleness    float64    `json:"staleness_ms"`
	MaxStaleness float64    `json:"max_staleness_ms,omitempty"`
	OnStale      string     `json:"on_stale,omitempty"`
	Entries      int        `json:"entries"`
	Synced       bool       `json:"synced"`
	Ready        bool       `json:"ready"`
	Uptime       float64    `json:"uptime_ms"`
	Issuers      []string   `json:"issuers,omitempty"`
	Error        string     `json:"error,omitempty"`
	Lacking      []string   `json:"unenforceable,omitempty"`
	Digest       string     `json:"digest,omitempty"` // form and 16 hexadecimal digits: JSON numbers are too small
	DigestFrom   *time.Time `json:"digest_from,omitempty"`
}

func (r Report) wire() reportJSON {
	w := reportJSON{
		Node: r.Node, Role: r.Role, Version: r.Version, Sequence: r.Sequence,
		Staleness: toMillis(r.Staleness), MaxStaleness: toMillis(r.MaxStaleness), OnStale: r.OnStale,
		Entries: r.Entries, Synced: r.Synced, Ready: r.Ready, Uptime: toMillis(r.Uptime), Issuers: r.Issuers, Error: r.Error,
		Lacking: r.Unenforceable,
	}
	if !r.AsOf.IsZero() {
		asOf := r.AsOf.UTC()
		w.AsOf = &asOf
	}
	if !r.DigestFrom.IsZero() {
		from := r.DigestFrom.UTC()
		w.Digest, w.DigestFrom = fmt.Sprintf("%s%016x", digestForm, r.Digest), &from
	}
	return w
}

func (w reportJSON) report() Report {
	r := Report{
		Node: w.Node, Role: w.Role, Version: w.Version, Sequence: w.Sequence,
		Staleness: fromMillis(w.Staleness), MaxStaleness: fromMillis(w.MaxStaleness), OnStale: w.OnStale,
		Entries: w.Entries, Synced: w.Synced, Ready: w.Ready, Uptime: fromMillis(w.Uptime), Issuers: w.Issuers, Error: w.Error,
		Unenforceable: w.Lacking,
	}
	if w.AsOf != nil {
		r.AsOf = w.AsOf.UTC()
	}
	digits, ok := strings.CutPrefix(w.Digest, digestForm)
	if d, err := strconv.ParseUint(digits, 16, 64); ok && err == nil && w.DigestFrom != nil {
		r.Digest, r.DigestFrom = d, w.DigestFrom.UTC()
	}
	return r
}

// MarshalJSON writes the report as it travels, durations in milliseconds.
func (r Report) MarshalJSON() ([]byte, error) { return json.Marshal(r.wire()) }

// UnmarshalJSON reads what MarshalJSON writes.
func (r *Report) UnmarshalJSON(data []byte) error {
	var w reportJSON
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	*r = w.report()
	return nil
}

// Answer is a node's report, as an answer to a question.
type Answer struct {
	Report
	// Applied is true when the node confirms that it has applied the sequence
	// that was asked for. False when it was not asked for one, or could not
	// confirm in time.
	Applied bool
	// After is how long after the question the answer arrived.
	After time.Duration
}

type answerJSON struct {
	reportJSON
	Applied bool    `json:"applied"`
	After   float64 `json:"after_ms"`
}

// MarshalJSON writes the report's members, applied and after_ms.
func (a Answer) MarshalJSON() ([]byte, error) {
	return json.Marshal(answerJSON{reportJSON: a.wire(), Applied: a.Applied, After: toMillis(a.After)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (a *Answer) UnmarshalJSON(data []byte) error {
	var w answerJSON
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	*a = Answer{Report: w.report(), Applied: w.Applied, After: fromMillis(w.After)}
	return nil
}

func toMillis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// fromMillis clamps what a foreign node may claim.
func fromMillis(ms float64) time.Duration {
	const most = float64(100 * 365 * 24 * time.Hour / time.Millisecond)
	return time.Duration(max(-most, min(ms, most))*1000) * time.Microsecond
}
