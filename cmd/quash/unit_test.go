package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"hash/maphash"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/ports"
)

func TestInstant(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"90m":                  now.Add(90 * time.Minute),
		"0s":                   now,
		"2026-01-02T15:04:05Z": time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
	} {
		got, err := until("--until", &text, now)
		if err != nil || !got.Equal(want) {
			t.Errorf("until(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	ago := "5m"
	if got, err := before("--before", &ago, now); err != nil || !got.Equal(now.Add(-5*time.Minute)) {
		t.Errorf("before(%q) = %v, %v; want five minutes ago", ago, got, err)
	}
	if got, err := before("--before", nil, now); err != nil || !got.IsZero() {
		t.Errorf("before(nil) = %v, %v; want none", got, err)
	}
	for _, text := range []string{"", "tomorrow", "5", "2026-01-02", "1h30", "-5m", "0001-01-01T00:00:00Z", "0001-01-01T01:00:00+01:00", "0001-01-01T00:00:00.5Z", "1970-01-01T00:00:00Z"} {
		if got, err := before("--before", &text, now); err == nil {
			t.Errorf("before(%q) = %v, want an error", text, got)
		} else if !strings.HasPrefix(err.Error(), "--before: ") {
			t.Errorf("before(%q) does not name the flag: %v", text, err)
		}
	}
}

func TestByteSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"1": 1, "512KiB": 512 << 10, "10MiB": 10 << 20, "1GiB": 1 << 30, "2TiB": 2 << 40} {
		if got, err := byteSize("--max-bytes", text); err != nil || got != want {
			t.Errorf("byteSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "1GB", "GiB", "1.5GiB", "9999999999TiB", "99999999999999999999"} {
		if got, err := byteSize("--max-bytes", text); err == nil {
			t.Errorf("byteSize(%q) = %d, want an error", text, got)
		}
	}
}

func TestRedacted(t *testing.T) {
	t.Parallel()
	f := natsFlags{NATS: "nats://me:secret@a:4222, b:4222,nats://token@c"}
	if got := f.redacted(); strings.Contains(got, "secret") || strings.Contains(got, "token") || !strings.Contains(got, "a:4222") {
		t.Errorf("redacted() = %s", got)
	}
	for raw, want := range map[string]string{"a": "a:4222", "nats://a:1": "a:1", "tls://[::1]": "[::1]:4222", " ": "", "nats://": "", "%": ""} {
		if got := natsHost(raw); got != want {
			t.Errorf("natsHost(%q) = %q, want %q", raw, got, want)
		}
	}
}

func TestProtectKey(t *testing.T) {
	t.Parallel()
	var commands cli
	parser, err := kong.New(&commands, kong.Name("quash"), kong.Vars{"default_iss": "x", "default_nats": "x"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ in, want string }{
		{"revoke session abc --json", "revoke session abc --json"},
		{"revoke session -abc --json", "revoke session --json -- -abc"},
		{"revoke session --abc", "revoke session -- --abc"},
		{"revoke session --json abc", "revoke session --json abc"},
		{"revoke issuer --iss=x", "revoke issuer --iss=x"},
		{"revoke session -h", "revoke session -h"},
		{"revoke session --help", "revoke session --help"},
		{"revoke session -- -abc", "revoke session -- -abc"},
		{"revoke session", "revoke session"},
		{"status --json -x", "status --json -x"},
		{"sessions end -abc --json", "sessions end --json -- -abc"},
		{"sessions end --user ann", "sessions end --user ann"},
		{"sessions list -abc", "sessions list -abc"},
	} {
		if got := protectKey(strings.Fields(tt.in), parser.Model); strings.Join(got, " ") != tt.want {
			t.Errorf("protectKey(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "demo-credentials")
	first, err := loadCredentials(path, nil)
	if err != nil || !first.fresh || first.user.password == first.admin.password {
		t.Fatalf("the first: %v, fresh %v", err, first.fresh)
	}
	if err := first.save(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	again, err := loadCredentials(path, nil)
	if err != nil || again.fresh || again.user != first.user || again.admin != first.admin {
		t.Errorf("the second is not the first: %v, fresh %v", err, again.fresh)
	}
	changed, err := loadCredentials(path, &credential{"ada", "a:b"})
	if err != nil || !changed.fresh || changed.user != (credential{"ada", "a:b"}) || changed.admin != first.admin {
		t.Errorf("another user: %v, fresh %v", err, changed.fresh)
	}
	if err := changed.save(path); err != nil {
		t.Fatal(err)
	}
	if kept, err := loadCredentials(path, nil); err != nil || kept.user != changed.user {
		t.Errorf("the other user was not kept: %v", err)
	}
	if _, err := loadCredentials(path, &credential{"admin", "x"}); err == nil {
		t.Error("the operator's name was accepted for the plain user")
	}
}

func FuzzParseCredentials(f *testing.F) {
	for _, s := range []string{"", "a:b\nc:d\n", "a:b", "a:b\nc:d\ne:f", ":\n:", "a:b:c\nd:e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCredentials(text)
		if err != nil {
			return
		}
		for _, u := range []credential{c.user, c.admin} {
			if u.name == "" || u.password == "" || strings.ContainsAny(u.name, ":\n") || strings.Contains(u.password, "\n") {
				t.Errorf("parseCredentials(%q) = %q, %q", text, c.user, c.admin)
			}
		}
	})
}

// TestShellQuote asks a real shell what it sees.
func TestShellQuote(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "plain", "two words", `it's "quoted" $HOME`, "a\nb", `\`, "`id`", "*", "~", "!x", "-n", "#c", "a;b", "é"} {
		out, err := exec.Command("sh", "-c", "printf %s "+shellQuote(s)).Output()
		if err != nil {
			t.Fatalf("sh with %q: %v", s, err)
		}
		if want := s; string(out) != want && s != "-n" {
			t.Errorf("shellQuote(%q) is read as %q", s, out)
		}
	}
}

// TestStatusIsHarmless: whatever a node answers, the terminal shows it and obeys
// none of it.
func TestStatusIsHarmless(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	evil := "x\x1b[2J\x1b]0;title\a\u202e"
	err := printStatus(&program{stdout: &out}, []events.Answer{{Report: events.Report{
		Node: evil, Role: evil, Version: evil, OnStale: evil, Error: evil, MaxStaleness: time.Second, Synced: true,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	receipt := events.Receipt{Silent: []events.Silent{{Report: events.Report{Node: evil}}}}
	for _, text := range []string{out.String(), receipt.String()} {
		if strings.ContainsAny(text, "\x1b\a\u202e") {
			t.Errorf("control characters reach the terminal: %q", text)
		}
	}
}

// TestPrintable: what publishers wrote can't move the cursor or pose as a field.
func TestPrintable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"abc-_.~":    "abc-_.~",
		"two words":  `"two words"`,
		"a=b":        `"a=b"`,
		"\x1b[2Jx":   `"\x1b[2Jx"`,
		"a\nb":       `"a\nb"`,
		"\u202egnp":  `"\u202egnp"`,
		`back\slash`: `"back\\slash"`,
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %s, want %s", in, got, want)
		}
	}
}

// TestWatcher: a subscriber may hand an event over again and in any order; it is
// printed once, and what was stored before is not news, unless the stream is
// another one.
func TestWatcher(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	event := func(seq uint64, id string, until time.Time) events.Event {
		return events.Event{Sequence: seq, Time: now, Revocation: events.Revocation{ID: id, Issuer: "i", Scope: events.Session, Key: id, Until: until}}
	}
	var out bytes.Buffer
	rewinds := uint64(0)
	w := &watcher{json: true, out: &out, skip: 10, seen: map[uint64]time.Time{}, seed: maphash.MakeSeed(),
		now: func() time.Time { return now }, rewinds: func() uint64 { return rewinds }}
	apply := func(es ...events.Event) {
		t.Helper()
		if err := w.apply(es); err != nil {
			t.Fatal(err)
		}
	}
	later := now.Add(time.Hour)
	apply(event(12, "new", later), event(3, "old", later), event(11, "new2", later), event(12, "new", later))
	rewinds = 1
	apply(event(3, "old", later), event(1, "after", now.Add(-2*time.Hour)))
	var got []string
	for dec := json.NewDecoder(&out); ; {
		var line watched
		if err := dec.Decode(&line); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		got = append(got, line.ID)
	}
	if want := []string{"new", "new2", "after"}; !slices.Equal(got, want) {
		t.Errorf("printed %v, want %v", got, want)
	}
	// What the stream has forgotten is forgotten here too.
	now = now.Add(3 * time.Hour)
	apply()
	if len(w.seen) != 0 {
		t.Errorf("%d IDs are remembered for ever", len(w.seen))
	}
}

func TestDraining(t *testing.T) {
	t.Parallel()
	var d draining
	h := d.wrap(http.HandlerFunc(live))
	status := func() int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		return w.Code
	}
	if got := status(); got != http.StatusOK {
		t.Errorf("before: %d", got)
	}
	d.on.Store(true)
	if got := status(); got != http.StatusServiceUnavailable {
		t.Errorf("while draining: %d", got)
	}
}

func TestFail(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		code int
		line string
	}{
		{nil, 0, ""},
		{context.Canceled, 0, ""},
		{usagef("--x", "is wrong"), 2, "quash: --x: is wrong\n"},
		{errors.Join(errors.New("one"), errors.New("two")), 1, "quash: one; two\n"},
	} {
		var stderr bytes.Buffer
		p := &program{stderr: &stderr}
		if code := p.fail(tt.err); code != tt.code || stderr.String() != tt.line {
			t.Errorf("fail(%v) = %d, %q; want %d, %q", tt.err, code, stderr.String(), tt.code, tt.line)
		}
	}
}

// TestLock: the second holder is told, and the lock goes with the first.
func TestLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := openDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := openDataDir(dir); err == nil {
		_ = second.Close()
		t.Fatal("two processes hold the same directory")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	third, err := openDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = third.Close()
}

// TestDataDirOfEverybody: who may write to the directory may exchange the keys in it.
func TestDataDirOfEverybody(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if d, err := openDataDir(dir); err == nil || !strings.Contains(err.Error(), "chmod o-w") {
		t.Errorf("got %v, %v, want an error that says what to do", d, err)
	}
}

// TestEmbedded_badStore: a server that can not store says so and does not stay.
func TestEmbedded_badStore(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	address, err := ports.Address()
	if err != nil {
		t.Fatal(err)
	}
	if e, err := startNATS("--nats-listen", address, file, slog.New(slog.DiscardHandler)); err == nil {
		e.stop()
		t.Fatal("a server started with a file as its store")
	} else if !strings.Contains(err.Error(), file) {
		t.Errorf("the error does not name the store: %v", err)
	}
	l, err := bind("--nats-listen", address)
	if err != nil {
		t.Fatalf("something stayed behind: %v", err)
	}
	closeAll(l)
}
