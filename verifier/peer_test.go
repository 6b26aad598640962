package verifier_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
)

func TestPeerBug18_SameJTIAtTwoIssuers(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	now := r.clock.Now()
	b := keyB.compact(text(keyB.header()), text(goodClaims(issB, now)))
	r.revoke(t, events.Revocation{Issuer: issA, Scope: events.Token, Key: "j1"})
	r.accepts(t, "same jti, other issuer", b)
	r.revoke(t, events.Revocation{Issuer: issB, Scope: events.Token, Key: "j1"})
	r.refuses(t, "its own issuer", b, verifier.ErrRevoked)
}

func TestPeerBug12_NumericOrMissingClaims(t *testing.T) {
	t.Parallel()
	for _, profile := range []verifier.Profile{verifier.Strict, verifier.Relaxed} {
		r := newRig(t, func(c *verifier.Config, _ *memFeed) { c.Issuers[0].Profile = profile })
		now := r.clock.Now()
		for _, name := range []string{"jti", "sub", "sid", "client_id", "azp"} {
			for _, value := range []any{1, 1.5, true, []string{"j1"}, object{"a": "b"}, json.RawMessage("null")} {
				r.refuses(t, profile.String()+" "+name+" "+text(value), mint(now, object{name: value}), verifier.ErrClaims)
			}
		}
		r.refuses(t, "iat as text", mint(now, object{"iat": "now"}), verifier.ErrClaims)
		r.refuses(t, "iat null", mint(now, object{"iat": json.RawMessage("null")}), verifier.ErrClaims)
	}
}

// twin returns the other valid ECDSA signature of the same text.
func twin(raw string) string {
	at := strings.LastIndexByte(raw, '.') + 1
	return raw[:at] + mirrored(unb64(raw[at:]))
}

func TestPeerBug13_Base64TwinAndES256Twin(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	raw := mint(r.clock.Now(), nil)
	other := twin(raw)
	if other == raw {
		t.Fatal("the twin is the same text")
	}
	r.accepts(t, "original", raw)
	r.accepts(t, "ES256 twin, before", other)
	dot := strings.IndexByte(raw, '.')
	spellings := map[string]string{
		"padding":          raw + "==",
		"line feed":        raw[:dot+5] + "\n" + raw[dot+5:],
		"carriage return":  raw[:dot+5] + "\r\n" + raw[dot+5:],
		"line feed at end": raw + "\n",
		"space":            raw + " ",
		"standard base64":  strings.NewReplacer("-", "+", "_", "/").Replace(raw) + "+",
		"trailing bits":    trailingBits(raw),
	}
	for what, spelling := range spellings {
		r.refuses(t, what, spelling, verifier.ErrMalformed)
	}
	r.revoke(t, events.Revocation{Scope: events.Token, Key: "j1"})
	r.refuses(t, "original", raw, verifier.ErrRevoked)
	r.refuses(t, "ES256 twin", other, verifier.ErrRevoked)
	r.refuses(t, "another new twin text", twin(twin(raw)), verifier.ErrRevoked)
	for what, spelling := range spellings {
		r.refuses(t, what+" after", spelling, verifier.ErrMalformed)
	}
}

// trailingBits sets bits of the last character that stand for no byte: 64 bytes leave four of them.
func trailingBits(raw string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, raw[len(raw)-1])
	return raw[:len(raw)-1] + string(alphabet[last|1])
}

func TestPeerBug10_LeewayWindow(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	now := r.clock.Now()
	exp := now.Add(time.Minute)
	raw, other := mint(now, object{"exp": exp.Unix()}), mint(now, object{"jti": "j2", "exp": exp.Unix()})
	r.revoke(t, events.Revocation{Scope: events.Token, Key: "j1", Until: events.Retention{}.UntilExpiry(exp)})
	for r.clock.Now().Before(exp.Add(29 * time.Second)) {
		r.refuses(t, "revoked", raw, verifier.ErrRevoked)
		r.accepts(t, "not revoked", other)
		r.clock.Advance(5 * time.Second)
	}
	r.clock.Advance(10 * time.Second)
	r.refuses(t, "after the leeway", raw, verifier.ErrExpired)
	r.refuses(t, "after the leeway", other, verifier.ErrExpired)
}

func TestPeerBug11_SameSecondBothWays(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	now := r.clock.Now()
	oldGen, newGen := mint(now, object{"gen": 4}), mint(now, object{"gen": 5, "jti": "j2"})
	noGen, next := mint(now, nil), mint(now, object{"iat": now.Unix() + 1})
	r.clock.Advance(300 * time.Millisecond)
	r.revoke(t, events.Revocation{Scope: events.Subject, Key: "u1", Gen: 5})
	r.refuses(t, "older generation of the same second", oldGen, verifier.ErrRevoked)
	r.accepts(t, "login after it, in the same second", newGen)
	r.refuses(t, "no generation, the ambiguous second", noGen, verifier.ErrRevoked)
	r.accepts(t, "no generation, the next second", next)
}
