package issuer_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/issuer"
)

// TestDamagedRecordOfOurKey: it goes on, and leaves its note beside the keys.
func TestDamagedRecordOfOurKey(t *testing.T) {
	t.Parallel()
	c := &stopped{at: time.Now().Truncate(time.Second)}
	r := start(t, server(t).URL(), byHand(c)).settled()
	r.user("ann")
	kid := r.signingKid()
	if _, err := issuer.CAS(within(t), r.Issuer, issuer.LastingKey(kid), []byte("{}"), 0); err != nil {
		t.Fatal(err)
	}
	r.stolen(kid)
	issuer.SetBounds(r.Issuer, 0, 0)
	r.set(c, c.now().Add(half))
	if err := issuer.RenewKeys(within(t), r.Issuer); !errors.Is(err, issuer.ErrRecord) {
		t.Errorf("got %v, want ErrRecord", err)
	}
	if got := len(r.about(kid)); got != 2 {
		t.Errorf("%d statements, want two", got)
	}
	if _, err := os.Stat(filepath.Join(r.cfg.KeysDir, kid+".revoked")); err != nil {
		t.Errorf("no note beside the keys: %v", err)
	}
}

// TestPendingThatIsNeverSaid does not keep a key from being renewed.
func TestPendingThatIsNeverSaid(t *testing.T) {
	t.Parallel()
	c := &stopped{at: time.Now().Truncate(time.Second)}
	r := start(t, server(t).URL(), byHand(c)).settled()
	r.user("ann")
	kid := r.signingKid()
	name := "m.key." + strings.TrimPrefix(issuer.LastingKey(kid), "e.key.")
	if _, err := issuer.CAS(within(t), r.Issuer, name, []byte(`{"kind":"mark","v":1,"key":"`+name+`","gen":1,"cutoff":1,"pending":[{"v":9}]}`), 0); err != nil {
		t.Fatal(err)
	}
	r.stolen(kid)
	r.set(c, c.now().Add(38*time.Minute)) // less than a half, and more than a quarter
	if n := r.renew(); n != 0 {
		t.Errorf("%d renewals while what is pending may still be said, want none", n)
	}
	r.set(c, c.now().Add(10*time.Minute))
	if n := r.renew(); n != 1 {
		t.Errorf("%d renewals, want one", n)
	}
}

// TestNoteThatIsNoFile revokes the key as any other: there can be no better one beside it.
func TestNoteThatIsNoFile(t *testing.T) {
	t.Parallel()
	c := &stopped{at: time.Now().Truncate(time.Second)}
	r := start(t, server(t).URL(), byHand(c)).settled()
	r.user("ann")
	kid := r.signingKid()
	if err := os.Mkdir(filepath.Join(r.cfg.KeysDir, kid+".revoked"), 0o700); err != nil {
		t.Fatal(err)
	}
	keys, err := r.Keys() // reads the directory
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k.ID == kid && k.State != issuer.KeyRevoked {
			t.Errorf("the key is %s, want it revoked", k.State)
		}
	}
	if n := r.renew(); n != 1 || !r.lasting(kid) {
		t.Errorf("%d renewals, want one", n)
	}
}

// TestLinkFileSaysTheSame whenever it fails in the same way, and names the file that was to be.
func TestLinkFileSaysTheSame(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none", "k.revoked")
	one, two := issuer.LinkFile(path, nil), issuer.LinkFile(path, nil)
	if !errors.Is(one, os.ErrNotExist) || one.Error() != two.Error() || !strings.HasPrefix(one.Error(), path+": ") {
		t.Errorf("got %v, then %v", one, two)
	}
}
