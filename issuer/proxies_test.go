package issuer_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/issuer"
)

func networks(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, t := range texts {
		all = append(all, netip.MustParsePrefix(t))
	}
	return all
}

func from(peer string, forwarded ...string) *http.Request {
	return &http.Request{RemoteAddr: peer, Header: http.Header{"X-Forwarded-For": forwarded}}
}

// TestTrustedProxies: X-Forwarded-For is read from the right, as long as trusted proxies speak, and not at all if the peer is none.
func TestTrustedProxies(t *testing.T) {
	t.Parallel()
	trusted := networks("10.1.0.0/16", "192.0.2.7/32", "fd00::/8")
	for name, c := range map[string]struct {
		peer    string
		headers []string
		want    string
	}{
		"no proxy":                             {"203.0.113.5:4711", nil, "203.0.113.5"},
		"no proxy, IPv6":                       {"[2001:db8:1:2:3:4:5:6]:4711", nil, "2001:db8:1:2::"},
		"an untrusted peer's header":           {"203.0.113.5:1", []string{"198.51.100.1"}, "203.0.113.5"},
		"an untrusted peer poses as a proxy":   {"203.0.113.5:1", []string{"198.51.100.1, 10.1.0.1"}, "203.0.113.5"},
		"a neighbour of a proxy":               {"192.0.2.8:1", []string{"198.51.100.1"}, "192.0.2.8"},
		"a proxy without the header":           {"10.1.0.1:1", nil, "10.1.0.1"},
		"one proxy":                            {"10.1.0.1:1", []string{"198.51.100.1"}, "198.51.100.1"},
		"what the client wrote does not count": {"10.1.0.1:1", []string{"1.1.1.1, 198.51.100.1"}, "198.51.100.1"},
		"a client that writes a proxy":         {"10.1.0.1:1", []string{"1.1.1.1, 10.1.0.9, 198.51.100.1"}, "198.51.100.1"},
		"two proxies":                          {"10.1.0.1:1", []string{"1.1.1.1, 198.51.100.1, 192.0.2.7"}, "198.51.100.1"},
		"three networks":                       {"[fd00::1]:1", []string{"198.51.100.1,192.0.2.7 ,\t10.1.0.3"}, "198.51.100.1"},
		"several lines":                        {"10.1.0.1:1", []string{"1.1.1.1", "198.51.100.1", "10.1.0.2"}, "198.51.100.1"},
		"several lines of several":             {"10.1.0.1:1", []string{"1.1.1.1, 2.2.2.2", "3.3.3.3, 198.51.100.1, 10.1.0.2", "192.0.2.7"}, "198.51.100.1"},
		"nobody but proxies":                   {"10.1.0.1:1", []string{"10.1.0.3, 10.1.0.2"}, "10.1.0.3"},
		"empty members":                        {"10.1.0.1:1", []string{"", ",198.51.100.1,, ", ","}, "198.51.100.1"},
		"empty header":                         {"10.1.0.1:1", []string{""}, "10.1.0.1"},
		"garbage of the client":                {"10.1.0.1:1", []string{"<script>, 198.51.100.1"}, "198.51.100.1"},
		"garbage of a proxy":                   {"10.1.0.1:1", []string{"198.51.100.1, unknown"}, "10.1.0.1"},
		"garbage of the proxy behind":          {"10.1.0.1:1", []string{"198.51.100.1, unknown, 192.0.2.7"}, "192.0.2.7"},
		"an obfuscated identifier":             {"10.1.0.1:1", []string{"_hidden"}, "10.1.0.1"},
		"an IPv4 address with a port":          {"10.1.0.1:1", []string{"198.51.100.1:50123"}, "198.51.100.1"},
		"a proxy with a port":                  {"10.1.0.1:1", []string{"198.51.100.1:50123, 10.1.0.2:443"}, "198.51.100.1"},
		"an empty port":                        {"10.1.0.1:1", []string{"198.51.100.1:"}, "10.1.0.1"},
		"an IPv6 client":                       {"10.1.0.1:1", []string{"2001:DB8:0:1:ffff::9"}, "2001:db8:0:1::"},
		"an IPv6 client in brackets":           {"10.1.0.1:1", []string{"[2001:db8:0:1::9]"}, "2001:db8:0:1::"},
		"an IPv6 client with a port":           {"10.1.0.1:1", []string{"[2001:db8:0:1::9]:50123"}, "2001:db8:0:1::"},
		"an IPv6 proxy in between":             {"10.1.0.1:1", []string{"198.51.100.1, [fd00::2]:443"}, "198.51.100.1"},
		"half a bracket":                       {"10.1.0.1:1", []string{"[2001:db8::9"}, "10.1.0.1"},
		"IPv4 in IPv6 form":                    {"[::ffff:10.1.0.1]:1", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		"a zone names no other caller":         {"10.1.0.1:1", []string{"fe80::1%anything"}, "fe80::"},
		"a proxy on the link":                  {"[fd00::1%eth0]:1", []string{"198.51.100.1"}, "198.51.100.1"},
		"not of a network":                     {"@", []string{"198.51.100.1"}, "@"},
		"leading zeros are no address":         {"10.1.0.1:1", []string{"010.1.0.2"}, "10.1.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := issuer.CallerAddress(trusted, from(c.peer, c.headers...)); got != c.want {
				t.Errorf("counted as %q, want %q", got, c.want)
			}
		})
	}
	r := from("10.1.0.1:1")
	r.Header.Set("Forwarded", "for=198.51.100.1")
	r.Header.Set("X-Real-IP", "198.51.100.1")
	if got := issuer.CallerAddress(trusted, r); got != "10.1.0.1" {
		t.Errorf("a header that the proxy may have passed on unread is believed: %q", got)
	}
	if got := issuer.CallerAddress(nil, from("10.1.0.1:1", "198.51.100.1")); got != "10.1.0.1" {
		t.Errorf("without trusted proxies the header is believed: %q", got)
	}
}

// FuzzTrustedProxies: whatever a client writes, it is counted as what the proxy saw.
func FuzzTrustedProxies(f *testing.F) {
	f.Add("1.1.1.1, 10.1.0.1", "10.1.0.2, [::1", true)
	f.Add(",,", "unknown", false)
	trusted := networks("10.1.0.0/16")
	f.Fuzz(func(t *testing.T, a, b string, line bool) {
		headers := []string{a, b + ", 198.51.100.1, 10.1.0.2"}
		if line { // as a proxy does that adds a line
			headers = []string{a, b, "198.51.100.1", "10.1.0.2"}
		}
		if got := issuer.CallerAddress(trusted, from("10.1.0.1:1", headers...)); got != "198.51.100.1" {
			t.Errorf("%q and %q make it %q", a, b, got)
		}
		if got := issuer.CallerAddress(trusted, from("198.51.100.1:1", headers...)); got != "198.51.100.1" {
			t.Errorf("an untrusted peer with %q and %q makes it %q", a, b, got)
		}
	})
}

// TestThrottleBehindProxies: each user has a counter of his own, and nobody can choose which.
func TestThrottleBehindProxies(t *testing.T) {
	nats := server(t)
	r := start(t, nats.URL(), func(cfg *issuer.Config) {
		cfg.AddressBurst, cfg.AddressEvery, cfg.TrustedProxies = 3, 24*time.Hour, networks("127.0.0.1/32")
	})
	other := startWith(t, nats.URL(), func() issuer.Config { c := r.cfg; c.TrustedProxies = nil; return c }())
	try := func(r *rig, forwarded string) int {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/login", strings.NewReader(`{"username":"nobody`+forwarded+`","password":"guess"}`))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Content-Type", "application/json")
		q.Header.Set("X-Forwarded-For", forwarded)
		res, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	for n := range 3 {
		if got := try(r, fmt.Sprintf("1.1.1.%d, 198.51.100.1", n)); got != 401 {
			t.Fatalf("guess %d: got %d, want 401", n, got)
		}
	}
	if got := try(r, "1.1.1.9, 198.51.100.1"); got != 429 {
		t.Errorf("the fourth guess of one user, who says to be another: got %d, want 429", got)
	}
	if got := try(r, "198.51.100.2"); got != 401 {
		t.Errorf("another user behind the same proxy: got %d, want 401", got)
	}
	for n := range 3 { // the other replica trusts nobody
		if got := try(other, fmt.Sprintf("198.51.100.%d", n)); got != 401 {
			t.Fatalf("guess %d where no proxy is trusted: got %d, want 401", n, got)
		}
	}
	if got := try(other, "198.51.100.77"); got != 429 {
		t.Errorf("the fourth guess from one peer, which says to be a proxy: got %d, want 429", got)
	}
}

// TestTrustedProxies_config: what cannot be meant is refused by its field's name.
func TestTrustedProxies_config(t *testing.T) {
	t.Parallel()
	nats := server(t)
	for name, change := range map[string]func(*issuer.Config){
		"everybody":     func(c *issuer.Config) { c.TrustedProxies = networks("0.0.0.0/0") },
		"everybody, v6": func(c *issuer.Config) { c.TrustedProxies = networks("::/0") },
		"zero":          func(c *issuer.Config) { c.TrustedProxies = []netip.Prefix{{}} },
		"mapped":        func(c *issuer.Config) { c.TrustedProxies = networks("::ffff:10.0.0.0/104") },
		"two ways":      func(c *issuer.Config) { c.TrustedProxies = networks("10.0.0.0/8"); c.ClientAddress = addressOf(t.Name) },
	} {
		cfg := issuer.Config{Issuer: iss, Audience: []string{"api"}, KeysDir: t.TempDir(), Conn: nats.Connect(t), EnsureStream: true}
		change(&cfg)
		_, err := issuer.New(context.Background(), cfg)
		if !errors.Is(err, issuer.ErrConfig) || !strings.Contains(err.Error(), "TrustedProxies") {
			t.Errorf("%s: got %v, want ErrConfig that names TrustedProxies", name, err)
		}
	}
}
