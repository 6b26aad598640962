// Command natsd is a bare nats-server with JetStream for tests that kill or
// freeze it, alone or as one of a cluster. It listens on 127.0.0.1 and syncs every
// acknowledged message. QUASH_NATSD_MONITOR in its environment is a port for monitoring;
// a configuration file names its own.
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	dir := flag.String("dir", "", "store directory")
	port := flag.Int("port", server.RANDOM_PORT, "port for clients")
	name := flag.String("name", "", "name of this server in its cluster; empty: it stands alone")
	clusterPort := flag.Int("cluster-port", 0, "port for the other servers of the cluster")
	routes := flag.String("routes", "", "addresses under which the others are reached, separated by commas")
	conf := flag.String("conf", "", "configuration file in place of all other flags; SIGHUP reads it again")
	flag.Parse()
	o := &server.Options{
		Host: "127.0.0.1", Port: *port,
		NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: *dir, SyncAlways: true,
		JetStreamMaxStore: 1 << 40, // what a test reserves it does not use, so that the free disk does not matter
	}
	if *name != "" {
		o.ServerName = *name
		// Nobody learns another address than those configured, lest a link that a
		// test has cut is gone around: clients get none, and servers one where
		// nobody listens.
		o.Cluster = server.ClusterOpts{Name: "quash-test", Host: "127.0.0.1", Port: *clusterPort, NoAdvertise: true, Advertise: "127.0.0.1:1"}
		o.Routes = server.RoutesFromStr(routeURLs(*routes))
	}
	if port, err := strconv.Atoi(os.Getenv("QUASH_NATSD_MONITOR")); err == nil {
		o.HTTPHost, o.HTTPPort = "127.0.0.1", port
	}
	if *conf != "" {
		var err error
		if o, err = server.ProcessConfigFile(*conf); err != nil {
			fmt.Fprintln(os.Stderr, "natsd:", err)
			os.Exit(1)
		}
		o.NoLog = true
	}
	srv, err := server.NewServer(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "natsd:", err)
		os.Exit(1)
	}
	srv.Start()
	srv.WaitForShutdown()
}

func routeURLs(addresses string) string {
	var urls []string
	for a := range strings.SplitSeq(addresses, ",") {
		urls = append(urls, "nats://"+a)
	}
	return strings.Join(urls, ",")
}
