package bench_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/verifier"
)

// nodeEnv makes the test program an API node: the address of the server, the file of its snapshot, and where to write a
// CPU profile of its start; the last two may be empty.
const nodeEnv = "QUASH_BENCH_NODE"

func TestMain(m *testing.M) {
	if text := os.Getenv(nodeEnv); text != "" {
		if err := runNode(strings.Split(text, "|")); err != nil {
			fmt.Fprintln(os.Stderr, "node:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// runNode says "ready" once it would serve, then "synced" with the number of its statements once it has read the stream.
func runNode(args []string) error {
	url, file, profile := args[0], args[1], args[2]
	if profile != "" {
		f, err := os.Create(profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			return err
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	nc, err := events.Connect(events.ConnectConfig{URL: url})
	if err != nil {
		return err
	}
	v, err := verifier.New(verifier.Config{NATS: nc, Snapshot: file, MaxStaleness: 5 * time.Minute,
		Issuers: []verifier.Issuer{{Issuer: issuerURL, Audience: []string{"api"}, Keys: []verifier.PublicKey{{ID: "k", Algorithm: "ES256", Key: &key.PublicKey}}}}})
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- v.Run(context.Background()) }()
	for v.Ready() != nil {
		<-time.After(time.Millisecond)
	}
	fmt.Println("ready", v.Status().Denylist.Entries)
	for st := v.Status(); !st.Feed.Synced; st = v.Status() {
		<-time.After(time.Millisecond)
	}
	fmt.Println("synced", v.Status().Denylist.Entries)
	if profile != "" {
		pprof.StopCPUProfile()
	}
	return <-done
}

// startNode returns how long it took from the start of the process to each word.
func startNode(b *testing.B, args ...string) (node *exec.Cmd, ready, synced time.Duration) {
	b.Helper()
	node = exec.Command(os.Args[0])
	node.Env = append(os.Environ(), nodeEnv+"="+strings.Join(args, "|"))
	node.Stderr = os.Stderr
	out, err := node.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	if err := node.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	said := func(word string) time.Duration {
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), word) {
			b.Fatalf("the node said %q, want %s", lines.Text(), word)
		}
		took := time.Since(start)
		b.Logf("%s after %v", lines.Text(), took)
		return took
	}
	return node, said("ready"), said("synced")
}

// BenchmarkRestart measures a node that is killed (kill -9) and started again on a full stream: from the start of the
// process until it is ready, with and without a snapshot; and a bare ordered consumer that reads the same stream.
func BenchmarkRestart(b *testing.B) {
	n := storedStatements(b)
	srv := natstest.StartProcess(b, b.TempDir(), 0)
	nc := srv.Connect(b)
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := events.EnsureStream(b.Context(), js, events.Layout{}); err != nil {
		b.Fatal(err)
	}
	fill(b, nc, n)
	file := filepath.Join(b.TempDir(), "snapshot")
	profile := os.Getenv("QUASH_BENCH_PROFILE")
	kill := func(node *exec.Cmd) {
		_ = node.Process.Kill()
		_ = node.Wait()
	}
	node, _, _ := startNode(b, srv.URL(), file, "")
	<-time.After(2500 * time.Millisecond) // a mark is written each second
	kill(node)
	for b.Loop() {
		var cold, warm, after, raw []time.Duration
		for range 3 {
			raw = append(raw, drainRaw(b, srv.URL(), n))
			node, ready, _ := startNode(b, srv.URL(), "", name(profile, "cold"))
			kill(node)
			cold = append(cold, ready)
			node, ready, synced := startNode(b, srv.URL(), file, name(profile, "warm"))
			<-time.After(1500 * time.Millisecond)
			kill(node)
			warm, after = append(warm, ready), append(after, synced)
		}
		for what, d := range map[string][]time.Duration{"raw": raw, "cold": cold, "warm": warm, "warm-synced": after} {
			slices.Sort(d)
			b.ReportMetric(ms(d[len(d)/2]), what+"-ms")
		}
		b.ReportMetric(float64(n), "statements")
	}
}

func name(prefix, kind string) string {
	if prefix == "" {
		return ""
	}
	return prefix + kind + ".prof"
}
