package floors_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// accepted are the situations that the issuer must solve and the acceptance tests of the standards, by the id in the test's
// name, and where one of the tests must be: beside the binary, unless it needs what a binary does not offer.
var accepted = map[string]string{
	"M1": binary, "M2": binary, "M3": binary, "M4": binary, "M5": binary, "M6": binary, "M7": binary, "M8": binary,
	"M9":  "internal/vectors", // other people's vectors, too large for the module
	"M17": "internal/interop", // rotation under the eyes of other people's libraries
	"M18": binary,
	"M19": "issuer", // kills it between two messages
	"M20": binary,
	"S1":  binary, "S2": binary, "S8": binary,
	"S12":        "verifier", // moves its clock
	"Situation1": binary, "Situation2": binary, "Situation3": binary, "Situation4": binary,
	"Situation5": binary, "Situation6": binary, "Situation7": binary, "Situation8": binary,
}

const binary = "cmd/quash"

var testID = regexp.MustCompile(`^Test((?:M|S|Situation)[0-9]+)_`)

// TestAcceptance: every id has its test, and no test is skipped.
func TestAcceptance(t *testing.T) {
	t.Parallel()
	found := map[string][]string{} // directories by id
	top := root(t)
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		at, err := filepath.Rel(top, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || f.Body == nil || len(f.Body.List) == 0 {
				continue
			}
			if id := testID.FindStringSubmatch(f.Name.Name); id != nil {
				found[id[1]] = append(found[id[1]], filepath.ToSlash(at))
				if skips(f) {
					t.Errorf("%s: %s skips itself: what is not tested must be seen to be missing", at, f.Name.Name)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, where := range accepted {
		if !slices.Contains(found[id], where) {
			t.Errorf("no test function Test%s_… in %s; found in %q", id, where, found[id])
		}
	}
}

func skips(f *ast.FuncDecl) bool {
	skipped := false
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && strings.HasPrefix(s.Sel.Name, "Skip") {
			skipped = true
		}
		return true
	})
	return skipped
}
