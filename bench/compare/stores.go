package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
)

// dial is readiness of a server that only needs to listen.
func dial(addr string) func() error {
	return func() error {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return err
		}
		return c.Close()
	}
}

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// redisStore has Debian's settings: a snapshot now and then, no log.
func redisStore(dir string) (*process, string, error) {
	path, err := program("redis-server", "redis-server")
	if err != nil {
		return nil, "", err
	}
	port, err := freePort()
	if err != nil {
		return nil, "", err
	}
	p := &process{name: "redis-server", ready: dial(loopback(port)), make: func() *exec.Cmd {
		return exec.Command(path, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir,
			"--save", "3600 1 300 100 60 10000", "--appendonly", "no", "--logfile", filepath.Join(dir, "redis.log"))
	}}
	return p, loopback(port), p.start()
}

// postgresStore has the settings of initdb.
func postgresStore(ctx context.Context, dir string) (*process, string, error) {
	const versions = "/usr/lib/postgresql/*/bin/"
	initdb, err := program("initdb", "postgresql", versions+"initdb")
	if err != nil {
		return nil, "", err
	}
	server, err := program("postgres", "postgresql", versions+"postgres")
	if err != nil {
		return nil, "", err
	}
	port, err := freePort()
	if err != nil {
		return nil, "", err
	}
	data := filepath.Join(dir, "data")
	setUp := exec.Command(initdb, "-D", data, "-U", "quash", "-A", "trust", "--no-sync")
	if err := unprivileged(setUp, dir); err != nil {
		return nil, "", err
	}
	if out, err := setUp.CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("initdb: %w: %s", err, out)
	}
	log, err := os.Create(filepath.Join(dir, "postgres.log"))
	if err != nil {
		return nil, "", err
	}
	url := fmt.Sprintf("postgres://quash@127.0.0.1:%d/postgres?sslmode=disable", port)
	p := &process{name: "postgres", make: func() *exec.Cmd {
		cmd := exec.Command(server, "-D", data, "-c", "listen_addresses=127.0.0.1", "-p", strconv.Itoa(port), "-k", "")
		cmd.Stderr = log
		_ = unprivileged(cmd, dir) // it worked for initdb
		return cmd
	}, ready: func() error {
		c, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		return c.Close(ctx)
	}}
	if err := p.start(); err != nil {
		return p, "", err
	}
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return p, "", err
	}
	_, err = c.Exec(ctx, "CREATE TABLE denied (jti text PRIMARY KEY, until timestamptz NOT NULL)")
	return p, url, errors.Join(err, c.Close(ctx))
}

// natsStore is a nats-server that syncs every acknowledged message.
func natsStore(dir, binary string) (*process, string, error) {
	port, err := freePort()
	if err != nil {
		return nil, "", err
	}
	url := "nats://" + loopback(port)
	p := &process{name: "nats-server", make: func() *exec.Cmd {
		return exec.Command(binary, "-dir", dir, "-port", strconv.Itoa(port))
	}, ready: func() error {
		nc, err := nats.Connect(url)
		if err != nil {
			return err
		}
		defer nc.Close()
		_, err = nc.Request("$JS.API.INFO", nil, time.Second)
		return err
	}}
	return p, url, p.start()
}
