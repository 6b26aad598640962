package cache

import (
	"fmt"
	"math"
)

// Always, as Before, covers every token, whenever it says it was issued.
const Always int64 = math.MaxInt64

// Statement says that tokens of one issuer are not to be accepted. It is what a
// revocation event means to the denylist, without transport and audit trail.
type Statement struct {
	Scope  Scope
	Issuer string // iss of the tokens concerned; required, part of every key
	Key    string // jti, sid, sub, client_id or kid; required, but empty for Issuer

	// Before covers tokens issued at or before this second (Unix); Always covers all. Required for every
	// scope but Token and Session, which are covered whole and must leave it 0.
	Before int64

	// Gen covers tokens of the subject with a smaller generation; Before then decides
	// only about tokens that carry no generation. Subject only; 0 means none.
	Gen uint64

	// Until is the second (Unix) after which no covered token can be alive. Required.
	Until int64

	// Sequence names the statement in verdicts and answers; it never changes a
	// verdict. Values of 2^48 and above are kept as 0 (unknown).
	Sequence uint64
}

// Entry is what the denylist holds about one key: the join of all statements about it.
type Entry struct {
	Before    int64  // largest Before of statements without a generation; 0 if none
	Gen       uint64 // largest generation; 0 if none
	GenBefore int64  // largest Before of statements with a generation; 0 if none
	Until     int64  // largest Until (Unix seconds, capped at 2^32-1)
	Sequence  uint64 // newest of the statements that make up the entry; 0 if forgotten
}

// Verdict is the answer of Check.
type Verdict struct {
	Revoked  bool
	Scope    Scope  // of the statement that covers; 0 if the denylist is closed, nil or not the Ref's own
	Sequence uint64 // of a statement that covers; 0 if forgotten
}

func (s *Statement) validate() error {
	switch {
	case !s.Scope.known():
		return fmt.Errorf("%w: Scope %d is unknown", ErrInvalid, s.Scope)
	case s.Issuer == "":
		return fmt.Errorf("%w: Issuer is empty", ErrInvalid)
	case s.Scope == Issuer && s.Key != "":
		return fmt.Errorf("%w: Key must be empty for scope issuer", ErrInvalid)
	case s.Scope != Issuer && s.Key == "":
		return fmt.Errorf("%w: Key is empty for scope %s", ErrInvalid, s.Scope)
	case s.Scope.whole() && s.Before != 0:
		return fmt.Errorf("%w: Before must be 0 for scope %s", ErrInvalid, s.Scope)
	case !s.Scope.whole() && s.Before <= 0:
		return fmt.Errorf("%w: Before is required for scope %s", ErrInvalid, s.Scope)
	case s.Scope != Subject && s.Gen != 0:
		return fmt.Errorf("%w: Gen must be 0 for scope %s", ErrInvalid, s.Scope)
	case s.Until <= 0:
		return fmt.Errorf("%w: Until is required", ErrInvalid)
	}
	return nil
}
