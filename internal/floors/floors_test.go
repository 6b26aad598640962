package floors_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/quash-auth/quash"

// room is the policy for one package. An arrow may only point down: a package may
// import ours from lower floors only, and of those only the ones listed.
type room struct {
	floor   int
	ours    []string // of this module, without its prefix
	outside []string // modules that its own files may import
	why     string
}

const testsOnly = -1 // below the house: no package may import it outside its tests

var house = map[string]room{
	"internal/strictjson": {floor: 0, why: "reads untrusted JSON; small, no policy, nothing to trust but the standard library"},

	"internal/owner": {floor: 0, why: "whose a file is, which each system says its own way; nothing but the standard library"},

	"internal/snapshot": {floor: 1, ours: []string{"internal/owner"},
		why: "a file format; small, no policy, nothing to trust but the standard library"},

	"internal/ports": {floor: 0, why: "addresses for tests, measurements and the demo; nothing but the standard library"},

	"internal/buskeys": {floor: 0, outside: []string{nkeys}, why: "certificates and nkeys of a bus; used by the command, by tests and by the faults, not by libraries"},

	"internal/jws": {floor: 1, ours: []string{"internal/strictjson"}, outside: []string{goJWT, goJOSE},
		why: "reads what strangers sign; knows no claims, so that it can be held against other people's test vectors"},

	"events": {floor: 1, ours: []string{"internal/strictjson"}, outside: []string{natsGo, nuid},
		why: "the wire contract; business systems embed it to publish, so it brings the NATS client and nothing else"},
	"cache": {floor: 1, outside: []string{ristretto, xxhash},
		why: "what a node remembers; knows neither NATS nor JWT, so that it can be fuzzed and measured alone"},

	"verifier": {floor: 2, ours: []string{"events", "cache", "internal/jws", "internal/snapshot", "internal/strictjson"}, outside: []string{natsGo, xTime, xSync},
		why: "embedded by every API; each module here is one in somebody else's build"},
	"issuer": {floor: 2, ours: []string{"events", "cache", "internal/owner", "internal/snapshot", "internal/strictjson"}, outside: []string{natsGo, goJWT, goJOSE, xCrypto, xTime, xSync},
		why: "shares a wire format with verifier, not code: golden files hold both to it"},

	"verifier/grpcauth": {floor: 3, ours: []string{"verifier"}, outside: []string{grpc},
		why: "apart from verifier so that only gRPC users build gRPC"},
	"verifier/verifiertest": {floor: 3, ours: []string{"verifier", "events", "cache", "internal/strictjson"}, outside: []string{goJWT, goJOSE},
		why: "used in other people's tests; needs no server"},
	"verifier/refresh": {floor: 3, ours: []string{"verifier", "internal/strictjson"}, outside: []string{xSync},
		why: "the client's side; runs where there is no NATS"},

	"issuer/usertest": {floor: 3, ours: []string{"issuer"},
		why: "the contract of issuer.Users, for the tests of other people's stores"},

	"verifier/renew": {floor: 3, ours: []string{"verifier", "internal/strictjson"},
		why: "apart from verifier, because it sends tokens to the issuer and hands out new ones; only who asks for that builds it"},

	"cmd/quash": {floor: 4, ours: []string{"events", "cache", "verifier", "issuer", "verifier/grpcauth", "verifier/refresh", "verifier/renew", "internal/buskeys", "internal/ports"},
		outside: []string{natsGo, natsServer, kong, oklogRun, prometheus, nkeys, xSync, xTerm},
		why:     "parses and wires; the only place for a command line, an embedded server and metrics"},

	"internal/faults": {floor: 4, ours: []string{"events", "verifier", "internal/buskeys", "internal/ports"}, outside: []string{natsGo},
		why: "a program that breaks real processes and checks what is promised; nobody imports it"},

	"internal/scale": {floor: 4, ours: []string{"events", "verifier", "cache", "internal/scale/sim", "internal/ports"}, outside: []string{natsGo, natsServer, goJWT},
		why: "a program that measures many of everything; nobody imports it"},
	"internal/scale/sim": {floor: 0, why: "virtual time and arithmetic; it must not be able to measure anything"},

	"internal/natstest":       {floor: testsOnly, ours: []string{"internal/ports"}, outside: []string{natsGo, natsServer}, why: "real servers for tests"},
	"internal/natstest/natsd": {floor: testsOnly, outside: []string{natsServer}, why: "a server process to kill and freeze"},
	"internal/leaks":          {floor: testsOnly, outside: []string{goleak}, why: "goroutines that tests leave behind"},
	"internal/fulldisk":       {floor: testsOnly, why: "a file without room, for tests"},
	"internal/bench":          {floor: testsOnly, why: "benchmarks across packages"},
	"internal/floors":         {floor: testsOnly, why: "this test"},
}

const (
	natsGo     = "github.com/nats-io/nats.go"
	natsServer = "github.com/nats-io/nats-server/v2"
	nkeys      = "github.com/nats-io/nkeys"
	goleak     = "go.uber.org/goleak"
	nuid       = "github.com/nats-io/nuid" // nats.go brings it
	ristretto  = "github.com/dgraph-io/ristretto/v2"
	xxhash     = "github.com/cespare/xxhash/v2" // ristretto brings it
	goJWT      = "github.com/golang-jwt/jwt/v5"
	goJOSE     = "github.com/go-jose/go-jose/v4"
	kong       = "github.com/alecthomas/kong"
	oklogRun   = "github.com/oklog/run"
	prometheus = "github.com/prometheus/client_golang"
	grpc       = "google.golang.org/grpc"
	xCrypto    = "golang.org/x/crypto"
	xSync      = "golang.org/x/sync"
	xTerm      = "golang.org/x/term"
	xTime      = "golang.org/x/time"
)

// banned may not be reached at all, at any depth, from a package below the floor
// given.
var banned = []struct {
	module string
	below  int
	except string
	why    string
}{
	{natsServer, 4, "", "an API that embeds quash must not build a NATS server"},
	{kong, 4, "", "libraries have no command line"},
	{oklogRun, 4, "", "Run(ctx) is the contract; how a program groups its actors is its own affair"},
	{prometheus, 4, "", "libraries give plain Stats structs; the collector lives in cmd/quash"},
	{"github.com/rogpeppe/go-internal", 5, "", "testscript is for tests"},
	{"go.uber.org/goleak", 5, "", "goleak is for tests"},
	{grpc, 4, "verifier/grpcauth", "only users of grpcauth build gRPC"},
}

// listed is what the test needs of go list's output.
type listed struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
	Module     *struct{ Path string }
}

// list runs go list with its dependencies and gives the packages by import path.
func list(t *testing.T, patterns ...string) map[string]listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-deps", "-json=ImportPath,Standard,Imports,Deps,Module"}, patterns...)...)
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", patterns, err, stderr.String())
	}
	all := map[string]listed{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("reading go list's output: %v", err)
		}
		all[p.ImportPath] = p
	}
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func moduleOf(all map[string]listed, path string) string {
	if m := all[path].Module; m != nil {
		return m.Path
	}
	return ""
}

func TestFloors(t *testing.T) {
	t.Parallel()
	all := list(t, "./...")
	seen := 0
	for path, p := range all {
		if moduleOf(all, path) != module {
			continue
		}
		seen++
		name := strings.TrimPrefix(path, module+"/")
		r, ok := house[name]
		if !ok {
			t.Errorf("%s has no room in the house: add it to the table and choose its floor", name)
			continue
		}
		for _, imported := range p.Imports {
			if all[imported].Standard || imported == "C" {
				continue
			}
			switch from := moduleOf(all, imported); {
			case from != module:
				if !slices.Contains(r.outside, from) {
					t.Errorf("%s imports %s, which is not in its list (%s)", name, imported, r.why)
				}
			case !slices.Contains(r.ours, strings.TrimPrefix(imported, module+"/")):
				t.Errorf("%s imports %s, which is not in its list (%s)", name, strings.TrimPrefix(imported, module+"/"), r.why)
			}
		}
		if r.floor == testsOnly {
			continue
		}
		for _, b := range banned {
			if r.floor >= b.below || name == b.except {
				continue
			}
			for _, dep := range p.Deps {
				if moduleOf(all, dep) == b.module {
					t.Errorf("%s reaches %s: %s", name, dep, b.why)
					break
				}
			}
		}
	}
	if seen < len(house)/2 {
		t.Errorf("go list showed %d packages of this module; the table has %d", seen, len(house))
	}
}

// TestFloors_table checks the table itself: it can't allow what the rule forbids.
func TestFloors_table(t *testing.T) {
	t.Parallel()
	for name, r := range house {
		if r.why == "" {
			t.Errorf("%s has no reason", name)
		}
		for _, o := range r.ours {
			below, ok := house[o]
			switch {
			case !ok:
				t.Errorf("%s may import %s, which is not in the table", name, o)
			case below.floor == testsOnly:
				t.Errorf("%s may import %s, which is for tests only", name, o)
			case r.floor != testsOnly && below.floor >= r.floor:
				t.Errorf("%s (floor %d) may import %s (floor %d): arrows point down", name, r.floor, o, below.floor)
			}
		}
	}
}

// TestVerifierDeps compares what an API that embeds verifier has to build with the
// list in the repository, so that a new module is seen in review.
func TestVerifierDeps(t *testing.T) {
	t.Parallel()
	all := list(t, "./verifier")
	set := map[string]bool{}
	for path := range all {
		if m := moduleOf(all, path); m != "" && m != module {
			set[m] = true
		}
	}
	var got []string
	for m := range set {
		got = append(got, m)
	}
	slices.Sort(got)
	file, err := os.ReadFile(filepath.Join(root(t), "verifier", "deps.txt"))
	if err != nil {
		t.Fatalf("reading the list: %v", err)
	}
	if want := strings.Fields(string(file)); !slices.Equal(got, want) {
		t.Errorf("embedding verifier brings\n\t%s\nbut verifier/deps.txt says\n\t%s\nif that is meant, run: make deps",
			strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// TestFileSize keeps files readable in one sitting.
func TestFileSize(t *testing.T) {
	t.Parallel()
	const limit = 350
	files := 0
	err := filepath.WalkDir(root(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root(t) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if n := bytes.Count(text, []byte("\n")); n > limit {
			t.Errorf("%s has %d lines, more than %d: it holds more than one noun", strings.TrimPrefix(path, root(t)+"/"), n, limit)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Error("found no Go files: is this the repository?")
	}
}
