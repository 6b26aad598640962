package main

import (
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/issuer"
	"github.com/quash-auth/quash/verifier"
)

// fieldNames is what users type for the fields that the libraries' errors name:
// the one table for all commands. A field that both roles have under different
// flags is told apart by the prefix of the role.
var fieldNames = map[string]string{
	// verifier.Config and verifier.Issuer
	"Algorithms":                "--alg",
	"JWKSURL":                   "--jwks",
	"JWKSFile":                  "--jwks",
	"Keys":                      "--jwks",
	"Profile":                   "--profile",
	"AllowUndated":              "--allow-undated",
	"OnStale":                   "--on-stale",
	"OnUndecodable":             "--on-undecodable",
	"MaxStaleness":              "--max-staleness",
	"MaxTokenLife":              "--max-token-life",
	"MaxEntries":                "--max-entries",
	"Snapshot":                  "--snapshot",
	"LedgerWait":                "--ledger-wait",
	"Leeway":                    "--leeway",
	"StayReady":                 "stay-ready",
	"verifier.AllowHTTP":        "--insecure-http-jwks",
	"verifier.Issuer":           "--issuer",
	"verifier.Audience":         "--audience",
	"verifier.Node":             "--node",
	"verifier.Scope":            "--scope",
	"ResourceMetadata":          "--resource-metadata",
	"verifier.Cookie":           "--cookie",
	"Origins":                   "--cookie-origin",
	"MaxEntries or DetailBytes": "--max-entries",

	// issuer.Config
	"KeysDir":          "--keys-dir",
	"Ledger":           "--ledger",
	"Algorithm":        "--key-alg",
	"AccessLife":       "--access-life",
	"RefreshIdle":      "--refresh-idle",
	"RefreshAbsolute":  "--refresh-absolute",
	"ReuseGrace":       "--reuse-grace",
	"Argon2":           "--password-memory or --password-passes",
	"PasswordWorkers":  "--password-workers",
	"KeyDelay":         "--key-delay",
	"KeyRotateEvery":   "--key-rotate-every",
	"LoginBurst":       "--login-burst",
	"RevokeBurst":      "--revoke-burst",
	"RevokeEvery":      "--revoke-every",
	"WideBurst":        "--wide-revoke-burst",
	"WideEvery":        "--wide-revoke-every",
	"LoginEvery":       "--login-every",
	"AddressBurst":     "--address-burst",
	"AddressEvery":     "--address-every",
	"OwnBurst":         "--own-burst",
	"OwnEvery":         "--own-every",
	"TrustedProxies":   "--trusted-proxy",
	"Replicas":         "--replicas",
	"ClientsFile":      "--clients",
	"Cookies":          "--cookies",
	"issuer.Access":    "--cookie",
	"issuer.Domain":    "--cookie-domain",
	"SameSite":         "--cookie-same-site",
	"issuer.AllowHTTP": "--insecure-http-issuer",
	"issuer.Issuer":    "--issuer",
	"issuer.Audience":  "--audience",
	"issuer.Node":      "--node",
}

// duration is what the parser says of a wrong one.
var duration = regexp.MustCompile(`expected duration but got ("[^"]*"): time: (missing unit)?.*$`)

// inWords is the parser's error, with what to write in place of a wrong duration.
func inWords(err error) string {
	text := err.Error()
	m := duration.FindStringSubmatch(text)
	switch {
	case m == nil:
		return text
	case m[2] != "":
		number := strings.Trim(m[1], `"`)
		return duration.ReplaceAllLiteralString(text, m[1]+" has no unit: "+number+"s is seconds, "+number+"m minutes, "+number+"h hours")
	}
	return duration.ReplaceAllLiteralString(text, m[1]+" is not a duration like 500ms, 5s, 10m or 24h")
}

// upNames are the flags of quash up where they have other names.
var upNames = map[string]string{"--keys-dir": "--data-dir", "--issuer": "--listen", "--insecure-http-issuer": "a loopback --listen"}

var fieldWord = regexp.MustCompile(`MaxEntries or DetailBytes|\b(?:Config\.)?(?:Issuers\[0\]\.)?[A-Z][A-Za-z]+\b`)

// inFlags names the flag where a configuration error of a library names a field.
func inFlags(err error) string {
	text := err.Error()
	role := ""
	switch {
	case errors.Is(err, verifier.ErrConfig):
		role = "verifier."
		text = strings.NewReplacer(verifier.ErrConfig.Error()+": ", "", ": "+verifier.ErrConfig.Error(), "", "HTTPConfig.", "").Replace(text)
	case errors.Is(err, issuer.ErrConfig):
		role, text = "issuer.", strings.ReplaceAll(text, issuer.ErrConfig.Error()+": ", "")
	}
	return replaceFields(text, role)
}

func replaceFields(text, role string) string {
	var b strings.Builder
	done := 0
	for _, at := range fieldWord.FindAllStringIndex(text, -1) {
		word := text[at[0]:at[1]]
		if at[0] > 0 && strings.IndexByte(`/\-_.`, text[at[0]-1]) >= 0 || at[1] < len(text) && strings.IndexByte(`/\-_`, text[at[1]]) >= 0 {
			continue // part of a path
		}
		field := strings.TrimPrefix(strings.TrimPrefix(word, "Config."), "Issuers[0].")
		flag, ok := fieldNames[role+field]
		if !ok {
			flag, ok = fieldNames[field]
		}
		if ok && (role != "" || slices.Contains(runtimeFields, field)) {
			b.WriteString(text[done:at[0]])
			b.WriteString(flag)
			done = at[1]
		}
	}
	b.WriteString(text[done:])
	return b.String()
}

// runtimeFields are named by parts that run, in texts where other words may look
// like fields.
var runtimeFields = []string{"MaxEntries", "MaxTokenLife", "Leeway", "OnUndecodable", "StayReady"}

// plain says an error text of a running part in the users' words.
func plain(text string) string {
	return replaceFields(strings.ReplaceAll(text, nats.ErrReconnectBufExceeded.Error(), "no NATS server answers"), "")
}

// plainErrors is for slog.HandlerOptions: errors in the users' words.
func plainErrors(_ []string, a slog.Attr) slog.Attr {
	if err, ok := a.Value.Any().(error); ok {
		if was := err.Error(); plain(was) != was {
			a.Value = slog.StringValue(plain(was))
		}
	}
	return a
}
