package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// guide is what quash up prints once it is ready: where things are, and commands
// to paste. The commands need nothing but a shell, curl and sed, and hold no
// comments, because an interactive zsh would try to run them.
type guide struct {
	Took        string
	DataDir     string
	NATS        string
	Issuer      string
	Nodes       []string // base URLs
	Credentials string
	User, Admin credential
	Quash       string // how to start this program again
	ClientID    string
	Flags       string // flags that the pasted quash commands need
	ISSFlag     string
}

const guideText = `ready in {{.Took}}; data in {{.DataDir}}; stop with Ctrl-C

  nats    {{.NATS}}
  issuer  {{.Issuer}}
{{- range .Nodes}}
  api     {{.}}/secure
{{- end}}
  users   {{.UserName}} (password {{.UserPassword}}) and {{.AdminName}}, an operator (password {{.AdminPassword}}); kept in {{.Credentials}}

Paste this into another terminal{{if .InDirectory}}, in this directory{{end}}. It logs in, calls every node (200), revokes the
session, calls every node again (401) and tries to refresh (400):

ANSWER=$(curl -s {{.Issuer}}/login -H 'Content-Type: application/json' -d {{.UserLogin}})
TOKEN=$(printf %s "$ANSWER" | sed -n 's/.*"access_token": *"\([^"]*\)".*/\1/p')
REFRESH=$(printf %s "$ANSWER" | sed -n 's/.*"refresh_token": *"\([^"]*\)".*/\1/p')
CLAIMS=$(curl -s {{.First}}/secure -H "Authorization: Bearer $TOKEN")
SID=$(printf %s "$CLAIMS" | sed -n 's/.*"sid": *"\([^"]*\)".*/\1/p')
SUB=$(printf %s "$CLAIMS" | sed -n 's/.*"sub": *"\([^"]*\)".*/\1/p')
{{range .Nodes}}curl -s -o /dev/null -w '{{.}} %{http_code}\n' {{.}}/secure -H "Authorization: Bearer $TOKEN"
{{end}}{{.Quash}} revoke session "$SID"{{.ISSFlag}} --reason 'laptop stolen' --wait 2s{{.Flags}}
{{range .Nodes}}curl -s -o /dev/null -w '{{.}} %{http_code}\n' {{.}}/secure -H "Authorization: Bearer $TOKEN"
{{end}}curl -s -w ' %{http_code}\n' {{.Issuer}}/token -d grant_type=refresh_token -d client_id={{.ClientID}} -d "refresh_token=$REFRESH"

The same over HTTP, as a business system would, with an operator's token (this ends every session of the user):

ADMIN=$(curl -s {{.Issuer}}/login -H 'Content-Type: application/json' -d {{.AdminLogin}} | sed -n 's/.*"access_token": *"\([^"]*\)".*/\1/p')
curl -s -w ' %{http_code}\n' {{.Issuer}}/admin/revocations -H "Authorization: Bearer $ADMIN" -H 'Content-Type: application/json' -d '{"scope":"subject","key":"'"$SUB"'","reason":"left the company"}'

Look at the fleet, and follow the revocations:

{{.Quash}} status{{.Flags}}
{{.Quash}} watch --all{{.Flags}}

`

var guideTemplate = template.Must(template.New("guide").Parse(guideText))

func (g guide) print(w io.Writer) error {
	if err := guideTemplate.Execute(w, g); err != nil {
		return fmt.Errorf("printing the commands: %w", err)
	}
	return nil
}

func (g guide) First() string         { return g.Nodes[0] }
func (g guide) UserName() string      { return g.User.name }
func (g guide) UserPassword() string  { return g.User.password }
func (g guide) AdminName() string     { return g.Admin.name }
func (g guide) AdminPassword() string { return g.Admin.password }
func (g guide) UserLogin() string     { return loginBody(g.User, g.ClientID) }
func (g guide) AdminLogin() string    { return loginBody(g.Admin, g.ClientID) }
func (g guide) InDirectory() bool     { return strings.HasPrefix(g.Quash, "go run") }

func loginBody(c credential, client string) string {
	body, err := json.Marshal(map[string]string{"username": c.name, "password": c.password, "client_id": client})
	if err != nil {
		return "" // strings always encode
	}
	return shellQuote(string(body))
}

// shellQuote makes one word of s for a POSIX shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// selfCommand is how the user can start this program again from the same
// directory: go run leaves the binary in a build cache, whose path helps nobody.
func selfCommand(arg0 string) string {
	exe, err := os.Executable()
	if err != nil || !strings.Contains(exe, string(filepath.Separator)+"go-build") && !inGoCache(exe) {
		return shellQuote(arg0)
	}
	if filepath.Base(exe) != filepath.Base(arg0) {
		return shellQuote(arg0) // somebody chose that name, and not go run
	}
	if _, err := os.Stat(filepath.Join("cmd", "quash", "main.go")); err != nil {
		return shellQuote(exe)
	}
	return "go run ./cmd/quash"
}

func inGoCache(exe string) bool {
	cache := os.Getenv("GOCACHE")
	return cache != "" && strings.HasPrefix(exe, cache)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
