package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// binaries are the programs that a world runs.
type binaries struct {
	natsd, quash string
	self         string // this driver, as a node
	before       *versions
	slow         string // natsd with a disk that can be slow; empty: none
}

const module = "github.com/quash-auth/quash/"

// now are the programs of today.
func (b binaries) now() versions {
	v := versions{natsd: b.natsd, quash: b.quash, self: b.self}
	if b.slow != "" {
		v.natsd = b.slow
	}
	return v
}

// run runs a command in a directory; empty: here.
func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args[:min(2, len(args))], " "), err, bytes.TrimSpace(complaint.Bytes()))
	}
	return out.Bytes(), nil
}

// build compiles what a world runs.
func build(ctx context.Context, dir string) (binaries, error) {
	if _, err := run(ctx, "", "go", "build", "-o", dir+string(filepath.Separator), module+"internal/natstest/natsd", module+"cmd/quash", module+"internal/faults"); err != nil {
		return binaries{}, fmt.Errorf("build what is to be run: %w", err)
	}
	return binaries{natsd: filepath.Join(dir, "natsd"), quash: filepath.Join(dir, "quash"), self: filepath.Join(dir, "faults")}, nil
}

// special builds what only some faults need, as far as that is possible here.
func special(ctx context.Context, bin binaries, dir string, chosen []fault, said func(string, ...any)) binaries {
	needs := func(what need) bool {
		return slices.ContainsFunc(chosen, func(f fault) bool { return f.needs&what != 0 })
	}
	var err error
	if needs(oldVersions) {
		if bin.before, err = buildBefore(ctx, filepath.Join(dir, "before")); err != nil {
			said("no older versions to upgrade from: %v", err)
		}
	}
	if needs(slowServers) {
		if bin.slow, err = buildSlow(ctx, filepath.Join(dir, "slow")); err != nil {
			said("no servers with a slow disk: %v", err)
		}
	}
	return bin
}
