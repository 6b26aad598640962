package interop

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/quash-auth/quash/internal/leaks"
)

// patience is a limit for broken runs, not something a healthy run waits for.
const patience = 3 * time.Minute

// binary is quash, built once; work is a directory for the whole run.
var binary, work string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	fail := func(format string, args ...any) int {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
		return 1
	}
	var err error
	if work, err = os.MkdirTemp("", "quash-interop-"); err != nil {
		return fail("making a directory for the run: %v", err)
	}
	defer os.RemoveAll(work) //nolint:errcheck // nothing is lost with it
	binary = filepath.Join(work, "quash")
	build := exec.Command("go", "build", "-o", binary, "./cmd/quash")
	build.Dir = filepath.Join("..", "..") // with the main module's own versions, as it is shipped
	if out, err := build.CombinedOutput(); err != nil {
		return fail("building quash: %v\n%s", err, out)
	}
	code := m.Run()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if code == 0 {
		if err := leaks.Find(); err != nil {
			return fail("%v", err)
		}
	}
	return code
}
