package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// silence is how long somebody who stands still is listened to.
const silence = 500 * time.Millisecond

// gone wants nobody to listen at an address.
func gone(address string) (string, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err == nil {
		return "", errors.Join(fmt.Errorf("somebody listens at %s", address), conn.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return "", err
	}
	return "refuses connections", nil
}

// mute wants a process to take a connection, as the system does for it, and to say nothing to a request.
func mute(ctx context.Context, address, request string) (string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(silence)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte(request)); err != nil {
		return "", err
	}
	n, err := conn.Read(make([]byte, 1))
	if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		return "", fmt.Errorf("%s answers: %w", address, err)
	}
	return "takes connections and says nothing", nil
}

// plainRequest is a request whose answer is of no interest.
const plainRequest = "GET /readyz HTTP/1.1\r\nHost: probe\r\n\r\n"

// version is what a server says of itself when it is greeted.
func (s *server) version(ctx context.Context) (string, error) {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", err
	}
	var info struct {
		Version string `json:"version"`
	}
	text, _ := strings.CutPrefix(line, "INFO ")
	return info.Version, json.Unmarshal([]byte(text), &info)
}

// refusal wants the readiness probe of a node to say that it is not ready, for a reason that holds a word.
func (n *node) refusal(ctx context.Context, word string) error {
	var r readiness
	if err := n.get(ctx, "http://"+n.Listen+"/readyz", &r); err != nil {
		return err
	}
	if r.Ready || !strings.Contains(r.Reason, word) {
		return fmt.Errorf("%s is ready %v and says %q, nothing of %q", n.Name, r.Ready, r.Reason, word)
	}
	return nil
}

// told waits a moment for it.
func (n *node) told(ctx context.Context, cause string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return poll(ctx, 50*time.Millisecond, func() error { return n.refusal(ctx, cause) })
}
