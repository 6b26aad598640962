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

// slowDisk is what the standard library's file gets: before each read of a file, or each write and each
// sync, the process waits as long as a file says that is named by the environment, and counts in another one
// how often it has. It reads and counts past os.File, which would wait for it.
const slowDisk = `

func slowDisk(what byte) {
	name := Getenv("QUASH_FAULTS_DISK")
	if name == "" {
		return
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	var text [32]byte
	n, _ := syscall.Read(fd, text[:])
	syscall.Close(fd)
	if n < 2 || text[0] != what {
		return
	}
	d, err := time.ParseDuration(string(text[1:n]))
	if err != nil {
		return
	}
	if fd, err := syscall.Open(name+".waits", syscall.O_WRONLY|syscall.O_APPEND|syscall.O_CREAT|syscall.O_CLOEXEC, 0o600); err == nil {
		syscall.Write(fd, text[:1])
		syscall.Close(fd)
	}
	time.Sleep(d)
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
	for name, heads := range map[string]map[string]rune{
		"file.go": {
			"func (f *File) Read(b []byte) (n int, err error) {\n":               reading,
			"func (f *File) ReadAt(b []byte, off int64) (n int, err error) {\n":  reading,
			"func (f *File) Write(b []byte) (n int, err error) {\n":              writing,
			"func (f *File) WriteAt(b []byte, off int64) (n int, err error) {\n": writing,
		},
		"file_posix.go": {"func (f *File) Sync() error {\n": writing},
	} {
		source := filepath.Join(strings.TrimSpace(string(goroot)), "src", "os", name)
		text, err := os.ReadFile(source)
		if err != nil {
			return "", err
		}
		for head, what := range heads {
			if !bytes.Contains(text, []byte(head)) {
				return "", fmt.Errorf("the standard library has no %q", head)
			}
			text = bytes.Replace(text, []byte(head), fmt.Appendf(nil, "%s\tslowDisk('%c')\n", head, what), 1)
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
