package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// slowDisk is what the standard library's file gets: before each write to a file and each
// sync the process waits as long as a file says that is named by the environment.
const slowDisk = `

func slowDisk() {
	if name := Getenv("QUASH_FAULTS_DISK"); name != "" {
		if text, err := ReadFile(name); err == nil {
			if d, err := time.ParseDuration(string(text)); err == nil {
				time.Sleep(d)
			}
		}
	}
}
`

// buildSlow compiles nats-server with a standard library whose files are slow on demand: nothing of the
// server is changed, and a write or a sync takes longer for it as on a slow disk.
func buildSlow(ctx context.Context, dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	goroot, err := run(ctx, "", "go", "env", "GOROOT")
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for name, heads := range map[string][]string{
		"file.go":       {"func (f *File) Write(b []byte) (n int, err error) {\n", "func (f *File) WriteAt(b []byte, off int64) (n int, err error) {\n"},
		"file_posix.go": {"func (f *File) Sync() error {\n"},
	} {
		source := filepath.Join(strings.TrimSpace(string(goroot)), "src", "os", name)
		text, err := os.ReadFile(source)
		if err != nil {
			return "", err
		}
		for _, head := range heads {
			if !bytes.Contains(text, []byte(head)) {
				return "", fmt.Errorf("the standard library has no %q", head)
			}
			text = bytes.Replace(text, []byte(head), []byte(head+"\tslowDisk()\n"), 1)
		}
		if name == "file.go" {
			text = append(text, slowDisk...)
		}
		patched := filepath.Join(dir, name)
		if err := os.WriteFile(patched, text, 0o600); err != nil {
			return "", err
		}
		replace[source] = patched
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	config := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(config, overlay, 0o600); err != nil {
		return "", err
	}
	out := filepath.Join(dir, "natsd")
	if _, err := run(ctx, "", "go", "build", "-overlay", config, "-o", out, module+"internal/natstest/natsd"); err != nil {
		return "", err
	}
	return out, nil
}
