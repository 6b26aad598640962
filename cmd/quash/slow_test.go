package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"
)

// TestSlowClients: connections that send a byte and then nothing, in the header or in the body, are closed by the server, and
// meanwhile others are served.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	read := make(chan error, 1)
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, err := io.ReadAll(r.Body)
			read <- err
		}
	}), slog.New(slog.DiscardHandler))
	srv.Start()
	defer srv.Close()
	var held []net.Conn
	for i := range 50 {
		c, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }() // the server's side is what is looked at
		begin := "GET / HTTP/1.1\r\nX"
		if i == 0 {
			begin = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
		}
		if _, err := io.WriteString(c, begin); err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	answer, err := http.Get(srv.URL)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("an ordinary request meanwhile: %v, %v", answer, err)
	}
	_ = answer.Body.Close()
	deadline := time.Now().Add(patience)
	for i, c := range held {
		if err := c.SetReadDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); err != nil { // until the server closes
			t.Errorf("connection %d was held: %v", i, err)
		}
	}
	if t.Failed() {
		return
	}
	if err := <-read; err == nil {
		t.Error("half a body was taken for a whole one")
	}
}

// TestUnreadAnswers: who sends requests and reads no answer is closed by the server as well.
func TestUnreadAnswers(t *testing.T) {
	t.Parallel()
	answer := bytes.Repeat([]byte("x"), 64<<10)
	served := make(chan error, 1)
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := w.Write(answer); err != nil {
			select {
			case served <- err:
			default:
			}
		}
	}), slog.New(slog.DiscardHandler))
	srv.Config.WriteTimeout /= 600 // of none nothing is left
	srv.Start()
	defer srv.Close()
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }() // the server's side is what is looked at
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for {
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				return
			}
		}
	}()
	select {
	case err := <-served:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the answer ends with %v", err)
		}
	case <-time.After(patience):
		t.Error("a connection that reads no answer is held")
	}
	_ = c.Close()
	<-sent
}
