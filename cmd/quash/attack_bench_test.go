package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/internal/ports"
)

// attack is somebody who sends what costs a node something.
type attack struct {
	name string
	rate int                                        // requests a second, of all senders together; 0: none, it does something else
	make func(n int) string                         // token
	run  func(ctx context.Context, b *battle) error // in place of requests
}

// battle is one API node in a process of its own, those who use it, and those who attack it.
type battle struct {
	b       *testing.B
	key     *foreignKey
	bus     *natstest.Server
	api     *process
	address string
	known   []string
	sent    atomic.Int64 // by the attacker
	fetched atomic.Int64 // of the key set
}

const (
	phase    = 3 * time.Second // of each part of a round
	rounds   = 2
	legit    = 400 // good requests a second, sent at their time whether or not the ones before were answered
	senders  = 8
	slowHold = 1000
)

func (w *battle) sign(claims map[string]any, header map[string]any) string {
	now := time.Now()
	all := jwt.MapClaims{"iss": foreignIssuer, "sub": "user-1", "aud": "api", "client_id": "web", "jti": events.NewID(), "sid": "s", "iat": now.Unix(), "exp": now.Add(30 * time.Minute).Unix()}
	for k, v := range claims {
		all[k] = v
	}
	t := jwt.NewWithClaims(jwt.SigningMethodES256, all)
	t.Header["typ"], t.Header["kid"] = "at+jwt", "k1"
	for k, v := range header {
		t.Header[k] = v
	}
	text, err := t.SignedString(w.key.key)
	if err != nil {
		w.b.Fatal(err)
	}
	return text
}

func startBattle(b *testing.B) *battle {
	b.Helper()
	w := &battle{b: b}
	var err error
	if w.key, err = newForeignKey(); err != nil {
		b.Fatal(err)
	}
	set, err := w.key.jwks()
	if err != nil {
		b.Fatal(err)
	}
	keys := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		w.fetched.Add(1)
		_, _ = rw.Write(set) // the fetcher has gone if this fails
	}))
	b.Cleanup(keys.Close)
	w.bus = natstest.Start(b)
	js, err := jetstream.New(w.bus.Connect(b))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := events.EnsureStream(b.Context(), js, events.Layout{}); err != nil {
		b.Fatal(err)
	}
	if w.address, err = ports.Address(); err != nil {
		b.Fatal(err)
	}
	w.api = startQuash(b, "api", "--listen", w.address, "--issuer", foreignIssuer, "--jwks", keys.URL, "--nats", w.bus.URL(), "--log-level", "error")
	if err := waitStatus("http://"+w.address+"/readyz", "", http.StatusOK); err != nil {
		b.Fatal(err)
	}
	for range 200 {
		w.known = append(w.known, w.sign(nil, nil))
	}
	return w
}

// call sends one request and gives the status; 0: no answer.
func (w *battle) call(c *http.Client, token string) int {
	req, err := http.NewRequest(http.MethodGet, "http://"+w.address+"/secure", nil)
	if err != nil {
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.Do(req)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body) // only its end matters
	_ = resp.Body.Close()
	return resp.StatusCode
}

func newSender() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
}

// measure sends good requests for one part and gives their latencies from the moment at which
// they were due.
func (w *battle) measure(c *http.Client) (all []time.Duration, failed int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	begin := time.Now()
	for n := 0; ; n++ {
		due := begin.Add(time.Duration(n) * time.Second / legit)
		if due.Sub(begin) >= phase {
			break
		}
		time.Sleep(time.Until(due))
		wg.Go(func() {
			status := w.call(c, w.known[n%len(w.known)])
			took := time.Since(due)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took)
			if status != http.StatusOK {
				failed++
			}
		})
	}
	wg.Wait()
	return all, failed
}

// assault goes on until ctx ends.
func (w *battle) assault(ctx context.Context, a attack) {
	if a.run != nil {
		if err := a.run(ctx, w); err != nil {
			w.b.Error(err)
		}
		return
	}
	c := newSender()
	defer c.CloseIdleConnections()
	const ready = 2000 // made before, so that making them costs nobody anything now
	tokens := make([]string, min(ready, max(50, a.rate*int(2*phase/time.Second))))
	for i := range tokens {
		tokens[i] = a.make(i)
	}
	var wg sync.WaitGroup
	begin := time.Now()
	for s := range senders {
		wg.Go(func() {
			for n := s; ctx.Err() == nil; n += senders {
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Until(begin.Add(time.Duration(n) * time.Second / time.Duration(a.rate)))):
				}
				w.call(c, tokens[n%len(tokens)])
				w.sent.Add(1)
			}
		})
	}
	wg.Wait()
}

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func raw(header, claims string) string {
	e := base64.RawURLEncoding.EncodeToString
	return e([]byte(header)) + "." + e([]byte(claims)) + "." + e(make([]byte, 64))
}

// flood publishes revocations as fast as they are acknowledged.
func flood(ctx context.Context, w *battle) error {
	p, err := events.NewPublisher(events.PublisherConfig{Conn: w.bus.Connect(w.b)})
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		batch := make([]events.Revocation, 500)
		for i := range batch {
			batch[i] = events.Revocation{Issuer: foreignIssuer, Scope: events.Session, Key: events.NewID()}
		}
		if _, err := p.PublishAll(context.WithoutCancel(ctx), batch, nil); err != nil {
			return err
		}
		w.sent.Add(int64(len(batch)))
	}
	return nil
}

// loris holds connections that have begun a request and do not go on.
func loris(ctx context.Context, w *battle) error {
	var all []net.Conn
	defer func() {
		for _, c := range all {
			_ = c.Close()
		}
	}()
	for ctx.Err() == nil {
		for len(all) < slowHold && ctx.Err() == nil {
			c, err := net.Dial("tcp", w.address)
			if err != nil {
				return err
			}
			all = append(all, c)
			w.sent.Add(1)
			_, _ = c.Write([]byte("GET /secure HTTP/1.1\r\nAuthoriz")) // closed after 5 s, that is the point
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

// cost is what the node's process has used so far, from the system.
func (w *battle) cost() (cpu time.Duration, rss int) {
	pid := w.api.cmd.Process.Pid
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		var user, system int64
		if _, err := fmt.Sscan(f[11]+" "+f[12], &user, &system); err == nil {
			cpu = time.Duration(user+system) * 10 * time.Millisecond
		}
	}
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
		if _, rest, ok := strings.Cut(string(text), "VmRSS:"); ok {
			_, _ = fmt.Sscan(rest, &rss) // 0 if the system says it otherwise
		}
	}
	return cpu, rss >> 10
}

func quantile(all []time.Duration, q float64) time.Duration {
	slices.Sort(all)
	return all[min(int(q*float64(len(all))), len(all)-1)]
}

// BenchmarkUnderAttack measures what good requests feel while somebody attacks the node, against
// what they feel in the parts between, in the same run. It prints a table and asserts nothing.
//
//	go test ./cmd/quash -run '^$' -bench UnderAttack -benchtime 1x
func BenchmarkUnderAttack(b *testing.B) {
	w := startBattle(b)
	attacks := []attack{
		{name: "none, again", rate: 0, run: func(ctx context.Context, _ *battle) error { <-ctx.Done(); return nil }},
		{name: "as many good requests more", rate: 400, make: func(n int) string { return w.known[n%len(w.known)] }},
		{name: "unknown kid", rate: 400, make: func(n int) string { return w.sign(nil, map[string]any{"kid": events.NewID()}) }},
		{name: "wrong signature", rate: 400, make: func(n int) string { t := w.sign(nil, nil); return t[:len(t)-8] + "AAAAAAAA" }},
		{name: "1 MiB token", rate: 400, make: func(int) string { return strings.Repeat("x", 1<<20) }},
		{name: "token of 60 KiB", rate: 400, make: func(int) string { return strings.Repeat("x", 60<<10) }},
		{name: "4,000 arrays in one another", rate: 400, make: func(int) string { return raw(`{"alg":"ES256","kid":"k1","typ":"at+jwt"}`, `{"a":`+nested(4000)+`}`) }},
		{name: "900 members", rate: 400, make: func(int) string {
			var m strings.Builder
			for i := range 900 {
				fmt.Fprintf(&m, `"m%d":1,`, i)
			}
			return raw(`{"alg":"ES256","kid":"k1",`+m.String()+`"typ":"at+jwt"}`, `{}`)
		}},
		{name: "valid tokens, each once", rate: 400, make: func(int) string { return w.sign(nil, nil) }},
		{name: "a publisher at its limit", run: flood},
		{name: "1,000 slow connections", run: loris},
	}
	c := newSender()
	defer c.CloseIdleConnections()
	w.measure(c) // warm
	var table strings.Builder
	fmt.Fprintf(&table, "\n| attack | sent a second | p50 ms without, with | ratio | p99 ms without, with | ratio | failed | CPU of the node without, with | MiB after |\n|---|---|---|---|---|---|---|---|---|\n")
	for range b.N {
		for _, a := range attacks {
			var calm, hot []time.Duration
			var calmCPU, hotCPU time.Duration
			failed, sent, rss := 0, int64(0), 0
			for range rounds {
				at, _ := w.cost()
				some, _ := w.measure(c)
				calm = append(calm, some...)
				end, _ := w.cost()
				calmCPU += end - at
				ctx, cancel := context.WithCancel(b.Context())
				done := make(chan struct{})
				w.sent.Store(0)
				go func() { defer close(done); w.assault(ctx, a) }()
				for w.sent.Load() == 0 && a.name != "none, again" {
					time.Sleep(time.Millisecond)
				}
				w.sent.Store(0)
				at, _ = w.cost()
				some, bad := w.measure(c)
				end, rss = w.cost()
				sent += w.sent.Load()
				cancel()
				<-done
				hot, failed, hotCPU = append(hot, some...), failed+bad, hotCPU+end-at
			}
			ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
			spent := rounds * phase.Seconds()
			fmt.Fprintf(&table, "| %s | %.0f | %.2f, %.2f | %.2f | %.2f, %.2f | %.2f | %d | %.0f %%, %.0f %% | %d |\n", a.name, float64(sent)/spent,
				ms(quantile(calm, .5)), ms(quantile(hot, .5)), ms(quantile(hot, .5))/ms(quantile(calm, .5)),
				ms(quantile(calm, .99)), ms(quantile(hot, .99)), ms(quantile(hot, .99))/ms(quantile(calm, .99)),
				failed, 100*calmCPU.Seconds()/spent, 100*hotCPU.Seconds()/spent, rss)
		}
	}
	fmt.Printf("key set fetched %d times\n%s", w.fetched.Load(), table.String()) // b.Log cuts it off
}
