package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
	Leaky   bool // a mistake on purpose: a goroutine and a subscription stay behind after each reconnect
}

// crowdVitals is how they are, and what the process holds.
type crowdVitals struct {
	vitals               // entries: of all together
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
		_ = json.NewEncoder(w).Encode(look(members, r.FormValue("collect") != "")) // the driver has gone: nobody is left to tell
	})
	go func() {
		ended <- (&http.Server{Addr: c.Control, Handler: mux, ReadHeaderTimeout: time.Minute}).ListenAndServe()
	}()
	return errors.Join(errors.New("one of the crowd has ended"), <-ended)
}

// member is one of them.
type member struct {
	*verifier.Verifier
	conn *nats.Conn
}

// name is that of a member's connection.
func (c crowdConfig) name(i int) string { return fmt.Sprintf("faults-crowd-%d", i) }

func (c crowdConfig) member(i int) (*member, error) {
	name := fmt.Sprintf("crowd-%d", i)
	conn, err := events.Connect(events.ConnectConfig{URL: c.NATS, Name: c.name(i)})
	if err != nil {
		return nil, err
	}
	if c.Leaky {
		conn.SetReconnectHandler(func(nc *nats.Conn) {
			_, _ = nc.SubscribeSync("leak") // there is one anyhow
			go func() { select {} }()
		})
	}
	cfg := verifier.Config{NATS: conn, Node: name, Role: "crowd", MaxStaleness: bound, MaxTokenLife: maxTokenLife, MemoBytes: -1, MaxEntries: 100_000}
	trust(&cfg, c.Key)
	v, err := verifier.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", name, err)
	}
	return &member{v, conn}, nil
}

func look(members []*member, collect bool) crowdVitals {
	now := crowdVitals{vitals: held(collect)}
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
