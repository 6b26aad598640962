package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
)

// crowdConfig is what the driver tells a process that holds many nodes.
type crowdConfig struct {
	Members int
	Control string
	NATS    string
	Key     []byte
	Leaky   bool // a mistake on purpose: something stays behind after each reconnect
}

// crowdVitals is how they are, and what the process holds.
type crowdVitals struct {
	vitals
	Heap       uint64
	Entries    int       // of all together
	Reconnects uint64    // of all together
	Connected  int       // how many are
	AsOf       time.Time // of the oldest view; zero: somebody was never synced
}

// runCrowd holds many nodes in one process, each with a connection of its own.
func runCrowd(ctx context.Context, text string) error {
	var c crowdConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return fmt.Errorf("read the crowd's configuration: %w", err)
	}
	members := make([]*member, c.Members)
	ended := make(chan error, c.Members+1)
	for i := range members {
		m, err := c.member(i)
		if err != nil {
			return err
		}
		members[i] = m
		go func() { ended <- m.Run(ctx) }()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /crowd", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("collect") != "" {
			runtime.GC()
			runtime.GC() // what the first one finalised
		}
		_ = json.NewEncoder(w).Encode(look(members)) // the driver has gone: nobody is left to tell
	})
	go func() {
		ended <- (&http.Server{Addr: c.Control, Handler: mux, ReadHeaderTimeout: 5 * time.Second}).ListenAndServe()
	}()
	return errors.Join(errors.New("one of the crowd has ended"), <-ended)
}

// member is one of them.
type member struct {
	*verifier.Verifier
	conn *nats.Conn
}

func (c crowdConfig) member(i int) (*member, error) {
	name := fmt.Sprintf("crowd-%d", i)
	conn, err := events.Connect(events.ConnectConfig{URL: c.NATS, Name: "faults-" + name})
	if err != nil {
		return nil, err
	}
	if c.Leaky {
		conn.SetReconnectHandler(func(*nats.Conn) { go func() { select {} }() })
	}
	cfg := verifier.Config{NATS: conn, Node: name, Role: "crowd", MaxStaleness: bound, MaxTokenLife: maxTokenLife, MemoBytes: -1, MaxEntries: 100_000}
	trust(&cfg, c.Key)
	v, err := verifier.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", name, err)
	}
	return &member{v, conn}, nil
}

func look(members []*member) crowdVitals {
	now := crowdVitals{vitals: held()}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	now.Heap = memory.HeapAlloc
	for i, m := range members {
		now.Reconnects += m.conn.Stats().Reconnects
		if m.conn.IsConnected() {
			now.Connected++
		}
		st := m.Status()
		now.Entries += st.Denylist.Entries
		if i == 0 || st.AsOf.Before(now.AsOf) {
			now.AsOf = st.AsOf
		}
	}
	return now
}
