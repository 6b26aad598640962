package verifiertest

import "fmt"

// Script stands in for a testing.TB where there is no test: in examples and small programs. The zero value
// is ready. Fatalf panics.
type Script struct{ cleanups []func() }

// Helper does nothing.
func (*Script) Helper() {}

// Cleanup keeps f for Close.
func (s *Script) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

// Fatalf panics: a script has no other way to stop.
func (*Script) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// Close runs the cleanups, the last one first.
func (s *Script) Close() {
	for len(s.cleanups) > 0 {
		last := len(s.cleanups) - 1
		f := s.cleanups[last]
		s.cleanups = s.cleanups[:last]
		f()
	}
}
