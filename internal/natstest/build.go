package natstest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// buildOnce builds the server's binary once per test program. It stays in the
// user's cache directory, where the next run finds it up to date.
var buildOnce = sync.OnceValues(func() (string, error) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(root)
	return build(filepath.Join(dir, "natsd-"+hex.EncodeToString(sum[:6])))
})

// buildDir is where the binary stays.
func buildDir() (string, error) {
	if cache, err := os.UserCacheDir(); err == nil {
		dir := filepath.Join(cache, "quash-natstest")
		if os.MkdirAll(dir, 0o700) == nil {
			return dir, nil
		}
	}
	dir := filepath.Join(os.TempDir(), "quash-natstest-"+strconv.Itoa(os.Getuid()))
	return dir, os.MkdirAll(dir, 0o700)
}

// build brings the binary up to date. Test programs of several packages do it at once,
// and none may start what another one is still writing: the first one builds while the
// others wait, and these find nothing left to do.
func build(binary string) (string, error) {
	lock, err := os.OpenFile(binary+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }() // which gives it back
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	out, err := exec.Command("go", "build", "-o", binary, "github.com/quash-auth/quash/internal/natstest/natsd").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return binary, nil
}
