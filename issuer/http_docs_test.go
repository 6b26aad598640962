package issuer_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// endpoint is a row of the table in docs/http.md.
type endpoint struct {
	path     string
	methods  []string
	statuses []int
}

var endpointRow = regexp.MustCompile("(?m)^\\| ([A-Z, ]+) \\| `(/[^`]*)` \\|.*\\|([0-9 ]*)\\|$")

// documented reads the table. A row without statuses answers 200 and nothing else of its own.
func documented(t *testing.T) map[string]endpoint {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "http.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]endpoint{}
	for _, row := range endpointRow.FindAllStringSubmatch(string(text), -1) {
		e := endpoint{path: row[2], methods: strings.Split(row[1], ", "), statuses: []int{http.StatusOK}}
		for _, s := range strings.Fields(row[3]) {
			n, err := strconv.Atoi(s)
			if err != nil {
				t.Fatalf("%s: %v", e.path, err)
			}
			e.statuses = append(e.statuses, n)
		}
		if _, twice := all[e.path]; twice {
			t.Errorf("%s has two rows", e.path)
		}
		all[e.path] = e
	}
	return all
}

// routed are the paths that Issuer.routes names, without the issuer's own.
func routed(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "http.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "routes" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if s, err := strconv.Unquote(l.Value); err == nil && strings.HasPrefix(s, "/") && s != "/" {
					paths = append(paths, s)
				}
			}
			return true
		})
	}
	return paths
}

// TestEveryEndpointIsDocumented: docs/http.md names every endpoint and no other, with its methods, and says which statuses it may
// answer to somebody who shows nothing.
func TestEveryEndpointIsDocumented(t *testing.T) {
	docs, code := documented(t), routed(t)
	if len(code) < 20 {
		t.Fatalf("only %d routes found in http.go: %q", len(code), code)
	}
	for _, path := range code {
		if _, ok := docs[path]; !ok {
			t.Errorf("%s is not in docs/http.md", path)
		}
	}
	for path := range docs {
		if !slices.Contains(code, path) {
			t.Errorf("docs/http.md names %s, which is no route", path)
		}
	}
	r := start(t, server(t).URL())
	root := strings.TrimSuffix(r.url, "/auth")
	for _, path := range slices.Sorted(maps.Keys(docs)) {
		e := docs[path]
		url := r.url + path
		switch path {
		case "/livez", "/readyz":
			url = root + path
		case "/.well-known/oauth-authorization-server":
			url = root + path + "/auth"
		}
		url = regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(url, "x")
		allowed := slices.Clone(e.methods)
		if slices.Contains(allowed, http.MethodGet) && path != "/userinfo" {
			allowed = append(allowed, http.MethodHead)
		}
		slices.Sort(allowed)
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
			q, err := http.NewRequestWithContext(t.Context(), method, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultTransport.RoundTrip(q)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			switch {
			case slices.Contains(allowed, method):
				if !slices.Contains(e.statuses, res.StatusCode) && res.StatusCode != http.StatusUnsupportedMediaType {
					t.Errorf("%s %s answers %d, which docs/http.md does not name: %v", method, path, res.StatusCode, e.statuses)
				}
			case res.StatusCode != http.StatusMethodNotAllowed:
				t.Errorf("%s %s answers %d, and docs/http.md does not name the method", method, path, res.StatusCode)
			default:
				allow := strings.Split(res.Header.Get("Allow"), ", ")
				slices.Sort(allow)
				if !slices.Equal(allow, allowed) {
					t.Errorf("%s answers Allow %v, and docs/http.md names %v", path, allow, allowed)
				}
			}
		}
	}
}
