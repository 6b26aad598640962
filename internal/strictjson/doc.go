// Package strictjson reads JSON that somebody else wrote and that decides who
// gets in.
//
// It is deliberately narrower than encoding/json: member names are matched
// exactly (no case folding), a name that occurs twice in one object is an error
// at every depth, text must be valid UTF-8 with paired surrogates, nothing may
// follow the document, and nesting ends at MaxDepth. A document is checked as a
// whole before its first member is handed out, so a caller never acts on the
// good half of a bad one.
package strictjson
