package main

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// forger signs whatever it is asked to with the real key of a world's issuer, so
// that what a node refuses, it refuses for the one thing that is wrong.
type forger struct {
	w      *world
	key    *ecdsa.PrivateKey
	header map[string]any // of a real access token
	claims map[string]any
}

// forge takes a real token for a pattern and the key that signed it.
func (w *world) forge(access string) *forger {
	w.t.Helper()
	f := &forger{w: w}
	parts := strings.Split(access, ".")
	for i, into := range []*map[string]any{&f.header, &f.claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			w.t.Fatal(err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			w.t.Fatal(err)
		}
	}
	kid, _ := f.header["kid"].(string)
	text, err := os.ReadFile(filepath.Join(w.dir, "keys", kid+".pem"))
	if err != nil {
		w.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	f.key = key.(*ecdsa.PrivateKey)
	return f
}

// with is m with members set, or taken out where the value is nil.
func with(m, change map[string]any) map[string]any {
	m = maps.Clone(m)
	for name, value := range change {
		if value == nil {
			delete(m, name)
		} else {
			m[name] = value
		}
	}
	return m
}

// text is the JSON of anything; text that is given stays as it is.
func (f *forger) text(v any) string {
	f.w.t.Helper()
	if s, ok := v.(string); ok {
		return s
	}
	text, err := json.Marshal(v)
	if err != nil {
		f.w.t.Fatal(err)
	}
	return string(text)
}

// sign makes a compact JWS of any header and payload: objects or text.
func (f *forger) sign(method jwt.SigningMethod, key any, header, payload any) string {
	f.w.t.Helper()
	input := unpadded(f.text(header)) + "." + unpadded(f.text(payload))
	signature, err := method.Sign(input, key)
	if err != nil {
		f.w.t.Fatal(err)
	}
	raw := input + "." + base64.RawURLEncoding.EncodeToString(signature)
	f.w.secret("forged token", raw)
	return raw
}

func unpadded(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// token has other claims than the pattern; head another header.
func (f *forger) token(claims map[string]any) string {
	f.w.t.Helper()
	return f.sign(jwt.SigningMethodES256, f.key, f.header, with(f.claims, claims))
}

func (f *forger) head(header map[string]any) string {
	f.w.t.Helper()
	return f.sign(jwt.SigningMethodES256, f.key, with(f.header, header), f.claims)
}
