package floors_test

import (
	"strings"
	"testing"
	"testing/fstest"
)

// TestLinks_seesMistakes: each kind of broken link is found, and what only looks like one is not.
func TestLinks_seesMistakes(t *testing.T) {
	t.Parallel()
	tree := fstest.MapFS{
		"docs/other.md": {Data: []byte("# Other: `a` & [b](c)\n\n```sh\n# no heading\n```\n## Twice\n## Twice\n<a id=\"old-name\"></a>\n")},
		"README.md":     {Data: []byte("x")},
		"code.go":       {Data: []byte("x")},
	}
	for link, want := range map[string]string{
		"[a](other.md)": "", "[a](../README.md)": "", "[a](other.md#other-a--b)": "", "[a](other.md#twice-1)": "", "[a](#here)": "",
		"[a](other.md#old-name)": "", "[a](https://nowhere.invalid/x#y)": "", "[a](../code.go#L7)": "", "`[a](gone.md)`": "",
		"```\n[a](gone.md)\n```": "", "[a][b]\n\n[b]: other.md": "", `[a](other.md "title")`: "",
		"[a](gone.md)":                "does not exist",
		"[a](../../outside.md)":       "does not exist",
		"[a](/docs/other.md)":         "begins with a slash",
		"[a](other.md#no-heading)":    "is no heading of docs/other.md",
		"[a](other.md#twice-2)":       "is no heading",
		"[a](other.md#Twice)":         "is no heading",
		"[a](#there)":                 "is no heading of docs/page.md, which has here",
		"[a][b]\n\n[b]: gone.md":      "does not exist",
		"[a](gone.md \"title\") text": "does not exist",
		"[a]()":                       "is not a link",
	} {
		got := strings.Join(brokenLinks(tree, "docs/page.md", "## Here\n\n"+link+"\n"), "; ")
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", link, got, want)
		}
	}
}
