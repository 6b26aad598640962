package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// versions are the programs that a world begins with and is upgraded from.
type versions struct {
	natsd, quash, self string
	names              string // for people
}

const (
	// The end of what was done before these faults: the issuer, the snapshots and the ledgers are there.
	beforeCommit = "07efbdf6aed32e60734e2d968741e9d1982a60d3"
	beforeNATS   = "v2.14.9"
)

// buildBefore builds an older commit out of this repository's history, and an
// older nats-server out of the module proxy.
func buildBefore(ctx context.Context, dir string) (*versions, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := run(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return nil, err
	}
	top := strings.TrimSpace(string(root))
	tar, err := run(ctx, top, "git", "archive", beforeCommit)
	if err != nil {
		return nil, fmt.Errorf("history does not hold commit %.7s: %w", beforeCommit, err)
	}
	archive := filepath.Join(dir, "tree.tar")
	if err := os.WriteFile(archive, tar, 0o600); err != nil {
		return nil, err
	}
	if _, err := run(ctx, dir, "tar", "xf", archive); err != nil {
		return nil, err
	}
	if err := trustToday(top, dir); err != nil {
		return nil, err
	}
	if err := natsdOfToday(top, dir); err != nil {
		return nil, err
	}
	bin := filepath.Join(dir, "bin") + string(filepath.Separator)
	if _, err := run(ctx, dir, "go", "build", "-trimpath", "-o", bin, "./cmd/quash", "./internal/faults"); err != nil {
		return nil, err
	}
	if _, err := run(ctx, dir, "go", "get", "github.com/nats-io/nats-server/v2@"+beforeNATS); err != nil {
		return nil, err
	}
	if _, err := run(ctx, dir, "go", "build", "-trimpath", "-o", bin, "./internal/natstest/natsd"); err != nil {
		return nil, err
	}
	return &versions{natsd: bin + "natsd", quash: bin + "quash", self: bin + "faults", names: fmt.Sprintf("commit %.7s and nats-server %s", beforeCommit, beforeNATS)}, nil
}

// natsdOfToday has the older server started with today's arguments.
func natsdOfToday(top, dir string) error {
	name := filepath.Join("internal", "natstest", "natsd", "main.go")
	text, err := os.ReadFile(filepath.Join(top, name))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), text, 0o600)
}

// trustToday makes the older node trust whom today's programme signs for; all else of it is as it was.
func trustToday(top, dir string) error {
	idp, err := os.ReadFile(filepath.Join(top, "internal", "faults", "idp.go"))
	if err != nil {
		return err
	}
	node := filepath.Join(dir, "internal", "faults", "node.go")
	text, err := os.ReadFile(node)
	if err != nil {
		return err
	}
	const anchor = "\tv, err := verifier.New(cfg)\n"
	patched := strings.Replace(string(text), anchor, "\tcfg.Issuers = cfg.Issuers[1:]\n\ttrust(&cfg, c.Key)\n"+anchor, 1)
	constants := filepath.Join(dir, "internal", "faults", "token.go")
	tokens, err := os.ReadFile(constants)
	if err != nil {
		return err
	}
	var kept []string
	for line := range strings.Lines(string(tokens)) {
		if t := strings.TrimSpace(line); !strings.HasPrefix(t, "foreignIssuer =") && !strings.HasPrefix(t, "keyID ") {
			kept = append(kept, line)
		}
	}
	return errors.Join(os.WriteFile(node, []byte(patched), 0o600), os.WriteFile(constants, []byte(strings.Join(kept, "")), 0o600),
		os.WriteFile(filepath.Join(dir, "internal", "faults", "idp.go"), idp, 0o600))
}
