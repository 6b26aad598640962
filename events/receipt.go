package events

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Receipt says which nodes enforce a revocation.
type Receipt struct {
	ID        string
	Sequence  uint64
	Duplicate bool      // it had been stored before under this ID
	Stored    time.Time // when the confirmation of the stream had arrived
	Answered  []Answer  // nodes that have applied it, the fastest first; After counts from the question, right after Stored
	Silent    []Silent  // nodes that were counted, heard of or expected and did not confirm, by name
}

// Silent is a node that did not confirm, with the last it said about itself.
type Silent struct {
	Report
	// DeniesBy is when the node stops accepting tokens at the latest, whatever
	// happened to it: without the statement its view cannot get younger. Zero:
	// its policy is to go on, or it never said one and OnStale is empty.
	DeniesBy time.Time
}

// silent judges a node that did not confirm. A node proves completeness only by
// contiguous messages, so one that lacks the statement has an as-of before
// stored, and denies MaxStaleness after that. Whether it was synced when it last
// spoke does not matter: it may have become so since, without the statement.
func silent(r Report, stored time.Time) Silent {
	s := Silent{Report: r}
	if r.OnStale == "deny" && r.MaxStaleness > 0 {
		s.DeniesBy = stored.Add(r.MaxStaleness)
	}
	return s
}

// Complete reports whether every node confirmed.
func (r Receipt) Complete() bool { return len(r.Silent) == 0 }

// EnforcedBy returns when no node accepts the tokens any longer, at the latest.
// False: a silent node goes on accepting when it is stale or may do so, so there is no bound.
func (r Receipt) EnforcedBy() (time.Time, bool) {
	at := r.Stored
	if n := len(r.Answered); n > 0 {
		at = r.Stored.Add(r.Answered[n-1].After)
	}
	for _, s := range r.Silent {
		if s.DeniesBy.IsZero() {
			return time.Time{}, false
		}
		if s.DeniesBy.After(at) {
			at = s.DeniesBy
		}
	}
	return at, true
}

// String says it in a sentence: "enforced on 14 of 14 nodes, slowest 3.1 ms".
func (r Receipt) String() string {
	total := len(r.Answered) + len(r.Silent)
	if total == 0 {
		return fmt.Sprintf("stored as %d, no node listens", r.Sequence)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "enforced on %d of %d nodes", len(r.Answered), total)
	if n := len(r.Answered); n > 0 {
		fmt.Fprintf(&b, ", slowest %.1f ms", toMillis(r.Answered[n-1].After))
	}
	for _, s := range r.Silent {
		fmt.Fprintf(&b, "; no confirmation from %s", shown(s.Node))
		switch {
		case s.OnStale == "":
			b.WriteString(", which was not heard of")
		case s.DeniesBy.IsZero():
			b.WriteString(", which goes on accepting when stale")
		default:
			fmt.Fprintf(&b, ", which denies by %s", stamp(ceil(s.DeniesBy)))
		}
	}
	return b.String()
}

// shown makes a name that somebody else chose safe for a terminal.
func shown(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}

type silentJSON struct {
	reportJSON
	DeniesBy *time.Time `json:"denies_by,omitempty"`
}

// MarshalJSON writes the report's members and denies_by.
func (s Silent) MarshalJSON() ([]byte, error) {
	w := silentJSON{reportJSON: s.wire()}
	if !s.DeniesBy.IsZero() {
		at := s.DeniesBy.UTC()
		w.DeniesBy = &at
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Silent) UnmarshalJSON(data []byte) error {
	var w silentJSON
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	*s = Silent{Report: w.report()}
	if w.DeniesBy != nil {
		s.DeniesBy = w.DeniesBy.UTC()
	}
	return nil
}

// receiptJSON is what people's scripts read.
type receiptJSON struct {
	ID         string     `json:"id"`
	Sequence   uint64     `json:"sequence"`
	Duplicate  bool       `json:"duplicate,omitempty"`
	Stored     time.Time  `json:"stored"`
	Nodes      int        `json:"nodes"`
	Enforced   int        `json:"enforced"`
	Slowest    float64    `json:"slowest_ms"`
	EnforcedBy *time.Time `json:"enforced_by,omitempty"`
	Answered   []Answer   `json:"answered"`
	Silent     []Silent   `json:"silent"`
}

// MarshalJSON writes the receipt with its sums: nodes, enforced, slowest_ms, and
// enforced_by if there is a bound.
func (r Receipt) MarshalJSON() ([]byte, error) {
	w := receiptJSON{
		ID: r.ID, Sequence: r.Sequence, Duplicate: r.Duplicate, Stored: r.Stored.UTC(),
		Nodes: len(r.Answered) + len(r.Silent), Enforced: len(r.Answered),
		Answered: append([]Answer{}, r.Answered...), Silent: append([]Silent{}, r.Silent...),
	}
	if n := len(r.Answered); n > 0 {
		w.Slowest = toMillis(r.Answered[n-1].After)
	}
	if at, ok := r.EnforcedBy(); ok {
		at = at.UTC()
		w.EnforcedBy = &at
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *Receipt) UnmarshalJSON(data []byte) error {
	var w receiptJSON
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	*r = Receipt{ID: w.ID, Sequence: w.Sequence, Duplicate: w.Duplicate, Stored: w.Stored, Answered: w.Answered, Silent: w.Silent}
	return nil
}
