// Command natsd is a bare nats-server with JetStream for tests that kill or
// freeze it. It listens on 127.0.0.1 and syncs every acknowledged message.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	dir := flag.String("dir", "", "store directory")
	port := flag.Int("port", server.RANDOM_PORT, "port for clients")
	flag.Parse()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: *port,
		NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: *dir, SyncAlways: true,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "natsd:", err)
		os.Exit(1)
	}
	srv.Start()
	srv.WaitForShutdown()
}
