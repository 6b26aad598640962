package floors_test

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var (
	fence      = regexp.MustCompile("(?ms)^ {0,3}(```+|~~~+).*?^ {0,3}(```+|~~~+)[ \t]*$")
	codeSpan   = regexp.MustCompile("(?s)``.+?``|`[^`]+`")
	mdHeading  = regexp.MustCompile(`(?m)^ {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*$`)
	mdTarget   = regexp.MustCompile(`\]\(\s*<?([^()\s<>]*(?:\([^()\s]*\)[^()\s<>]*)*)>?(?:\s+"[^"]*")?\s*\)`)
	mdRef      = regexp.MustCompile(`(?m)^ {0,3}\[[^\]]+\]:\s*<?([^\s<>]+)`)
	htmlAnchor = regexp.MustCompile(`<a\s+(?:id|name)="([^"]+)"`)
	docsPath   = regexp.MustCompile(`\bdocs/[a-zA-Z0-9/_-]+\.md\b`)
	testFunc   = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w+)\(`)
	testNamed  = regexp.MustCompile("`((?:Test|Fuzz|Benchmark|Example)[A-Z]\\w+)(…?)")
)

// slug is the anchor that a heading gets on GitHub.
func slug(heading string) string {
	heading = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(heading, "$1")
	var b strings.Builder
	for _, r := range strings.ToLower(strings.TrimSpace(heading)) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			b.WriteRune(r)
		}
	}
	return b.String()
}

// anchors of a page; the second heading of a name has -1 behind it.
func anchors(page string) []string {
	page = fence.ReplaceAllString(page, "")
	var all []string
	seen := map[string]int{}
	for _, m := range mdHeading.FindAllStringSubmatch(page, -1) {
		name := slug(m[1])
		if n := seen[name]; n > 0 {
			all = append(all, fmt.Sprintf("%s-%d", name, n))
		} else {
			all = append(all, name)
		}
		seen[name]++
	}
	for _, m := range htmlAnchor.FindAllStringSubmatch(page, -1) {
		all = append(all, m[1])
	}
	return all
}

// brokenLinks are the links of a page, at path in the tree, that lead nowhere. Nobody on the network is asked.
func brokenLinks(tree fs.FS, path, page string) (broken []string) {
	prose := codeSpan.ReplaceAllString(fence.ReplaceAllString(page, ""), "``")
	targets := append(mdTarget.FindAllStringSubmatch(prose, -1), mdRef.FindAllStringSubmatch(prose, -1)...)
	for _, m := range targets {
		if problem := followLink(tree, path, page, m[1]); problem != "" {
			broken = append(broken, m[1]+" "+problem)
		}
	}
	return broken
}

func followLink(tree fs.FS, from, page, target string) (problem string) {
	u, err := url.Parse(target)
	switch {
	case err != nil || target == "":
		return "is not a link"
	case u.Scheme != "":
		return "" // somebody else's
	case strings.HasPrefix(u.Path, "/"):
		return "begins with a slash: only one host would find it"
	}
	to := from
	if u.Path != "" {
		to = filepath.ToSlash(filepath.Join(filepath.Dir(from), u.Path))
		if _, err := fs.Stat(tree, to); err != nil {
			return "does not exist"
		}
		if u.Fragment == "" || !strings.HasSuffix(to, ".md") {
			return ""
		}
		text, err := fs.ReadFile(tree, to)
		if err != nil {
			return err.Error()
		}
		page = string(text)
	}
	if u.Fragment != "" && !slices.Contains(anchors(page), u.Fragment) {
		return fmt.Sprintf("is no heading of %s, which has %s", to, strings.Join(anchors(page), ", "))
	}
	return ""
}

// TestLinks: every link in Markdown leads to a file and a heading that are there; so does every page that a program or a comment
// names, and every test that a page names as its proof.
func TestLinks(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	tree := os.DirFS(root)
	pages, tests, proofs := 0, "", map[string]string{}
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name != "." && strings.HasPrefix(name, ".") || name == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		ext := filepath.Ext(path)
		if !slices.Contains([]string{".md", ".go", ".conf", ".yml", ".env", ".txtar"}, ext) && d.Name() != "Makefile" && d.Name() != "Dockerfile" {
			return nil
		}
		text, err := fs.ReadFile(tree, path)
		if err != nil {
			return err
		}
		if ext == ".md" {
			pages++
			for _, b := range brokenLinks(tree, path, string(text)) {
				t.Errorf("%s: %s", path, b)
			}
			for _, m := range testNamed.FindAllStringSubmatch(string(text), -1) {
				proofs[m[1]+map[bool]string{true: "(", false: ""}[m[2] == ""]] = path
			}
		}
		if strings.HasSuffix(path, "_test.go") {
			for _, m := range testFunc.FindAllStringSubmatch(string(text), -1) {
				tests += "\n" + m[1] + "("
			}
		}
		if strings.HasPrefix(path, "internal/floors/") { // the mistakes of the test below
			return nil
		}
		for _, name := range docsPath.FindAllString(string(text), -1) {
			if _, err := fs.Stat(tree, name); err != nil {
				t.Errorf("%s names %s, which does not exist", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range proofs {
		if !strings.Contains(tests, "\n"+name) {
			t.Errorf("%s names the test %s, which does not exist", path, name)
		}
	}
	if len(proofs) < 50 {
		t.Errorf("the pages name %d tests only", len(proofs))
	}
	if pages < 30 {
		t.Errorf("looked at %d pages only", pages)
	}
}

// TestDecisions: each has a number of its own, the same in its name and in its title.
func TestDecisions(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("..", "..", "docs", "adr", "0*.md"))
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d decisions, %v", len(files), err)
	}
	taken := map[int]string{}
	for _, file := range files {
		var name, title int
		base := filepath.Base(file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscanf(base, "%04d-", &name); err != nil {
			t.Errorf("%s: %v", base, err)
		}
		if _, err := fmt.Sscanf(string(text), "# %d. ", &title); err != nil || title != name {
			t.Errorf("%s has the title number %d", base, title)
		}
		if taken[name] != "" {
			t.Errorf("%s and %s have the same number: the later one takes the next", taken[name], base)
		}
		taken[name] = base
	}
}
