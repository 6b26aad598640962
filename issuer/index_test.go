package issuer_test

import (
	"strings"
	"testing"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// TestIndex: a session is in the index as long as its record is in the store.
func TestIndex(t *testing.T) {
	t.Parallel()
	nats := server(t)
	r := start(t, nats.URL())
	u := r.user("ann")
	s := r.login("ann")
	index := func() []string {
		t.Helper()
		keys, err := issuer.IndexKeys(within(t), r.Issuer)
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	want := issuer.IndexKey(u.Sub, "quash", s.Sid)
	if got := index(); len(got) != 1 || got[0] != want {
		t.Errorf("after a login: got index %v, want %s", got, want)
	}
	v := newVandal(t, nats.Connect(t))
	if a, b := v.last(want), v.last(issuer.SessionKey(s.Sid)); a.Header.Get("Nats-TTL") == "" || a.Header.Get("Nats-TTL") != b.Header.Get("Nats-TTL") {
		t.Errorf("got life %q of the index, want the session's %q", a.Header.Get("Nats-TTL"), b.Header.Get("Nats-TTL"))
	}
	// A login that a revocation overtakes begins again: what it had stored is gone, session and index.
	once := false
	issuer.SetFault(r.Issuer, func(at string) error {
		if at == "session" && !once {
			once = true
			_, err := r.Revoke(within(t), events.Revocation{Scope: events.Subject, Key: u.Sub})
			return err
		}
		return nil
	})
	second := r.login("ann")
	issuer.SetFault(r.Issuer, nil)
	got := index()
	if !once || len(got) != 2 {
		t.Fatalf("after a login that began twice: got index %v, want two", got)
	}
	for _, key := range got {
		if !strings.HasSuffix(key, "."+s.Sid) && !strings.HasSuffix(key, "."+second.Sid) {
			t.Errorf("got %s, which is no session that was given out", key)
		}
	}
}

func TestCleanAgent(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "curl/8.5.0": "curl/8.5.0", " a\r\nb\x00c\x7f ": "abc", "é\u202eevil": "evil",
		strings.Repeat("x", 201): strings.Repeat("x", 200), strings.Repeat("é", 3000): "",
		strings.Repeat("x", 199) + " y": strings.Repeat("x", 199),
	} {
		got := issuer.CleanAgent(in)
		if got != want {
			t.Errorf("%.20q: got %q, want %q", in, got, want)
		}
		if again := issuer.CleanAgent(got); again != got {
			t.Errorf("%q: cleaned again it is %q", got, again)
		}
	}
}
