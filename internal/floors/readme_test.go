package floors_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	runCommand  = "    go run ./cmd/quash up\n"
	testCommand = "    go test -race ./...\n"
)

// TestTrackedFiles: nothing that a build makes is in the repository, where it would stay for good.
func TestTrackedFiles(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		return // an archive without history has nothing to keep out
	}
	cmd := exec.Command("git", "ls-files", "-z")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	const limit = 1 << 20
	for _, name := range strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if info, err := os.Lstat(filepath.Join(root, name)); err == nil && info.Size() > limit {
			t.Errorf("%s has %d bytes, more than %d: if a build made it, git rm --cached it and add it to .gitignore", name, info.Size(), limit)
		}
	}
}

// TestReadme: the program in the README compiles, and the two commands are the
// ones that continuous integration knows.
func TestReadme(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	programs := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(text, -1)
	if len(programs) == 0 {
		t.Fatal("no program in the README")
	}
	for i, p := range programs {
		file := filepath.Join(t.TempDir(), "main.go")
		if err := os.WriteFile(file, p[1], 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("go", "build", "-o", os.DevNull, file)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("program %d of the README does not compile: %v\n%s", i+1, err, out)
		}
	}
	for _, c := range []string{runCommand, testCommand} {
		if n := strings.Count(string(text), c); n != 1 {
			t.Errorf("the README has %q %d times, want once", strings.TrimSpace(c), n)
		}
	}
	ci, err := os.ReadFile(filepath.Join(root, ".ci", "run"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(ci), "\n"+strings.TrimSpace(testCommand)+"\n") {
		t.Errorf(".ci/run does not call %q", strings.TrimSpace(testCommand))
	}
	if strings.Contains(string(text), "DEMO-NUMBERS") {
		t.Error("the README still lacks its measured numbers")
	}
}
