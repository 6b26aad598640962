package issuer_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// An issuer on a NATS server in the same process: a login, and the end of the user's sessions.
func Example() {
	dir, err := os.MkdirTemp("", "issuer-example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ns, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, JetStreamMaxStore: 4 << 30, NoSigs: true, NoLog: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	ns.Start()
	defer ns.WaitForShutdown()
	defer ns.Shutdown()
	if !ns.ReadyForConnections(10 * time.Second) {
		fmt.Println("no server")
		return
	}

	nc, err := events.Connect(events.ConnectConfig{URL: ns.ClientURL(), Name: "issuer"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	iss, err := issuer.New(ctx, issuer.Config{
		Issuer: "https://login.example", Audience: []string{"https://api.example"}, Conn: nc, EnsureStream: true,
		KeysDir: filepath.Join(dir, "keys"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	done := make(chan error)
	go func() { done <- iss.Run(ctx) }()
	defer func() { stop(); <-done }()
	for iss.Ready() != nil {
		<-time.After(time.Millisecond)
	}

	ann, err := iss.CreateUser(ctx, "ann", "correct horse battery staple", "read")
	if err != nil {
		fmt.Println(err)
		return
	}
	web := httptest.NewServer(iss.Handler())
	defer web.Close()
	login := func() {
		res, err := http.Post(web.URL+"/login", "application/json", strings.NewReader(`{"username":"ann","password":"correct horse battery staple"}`))
		if err != nil {
			fmt.Println(err)
			return
		}
		res.Body.Close()
		fmt.Println("login:", res.StatusCode)
	}
	login()
	if err := iss.Disable(ctx, ann.Sub, issuer.Cause{Actor: "fraud desk", Reason: "case 4711"}); err != nil {
		fmt.Println(err)
		return
	}
	login()
	// Output:
	// login: 200
	// login: 403
}
