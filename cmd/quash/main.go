// Quash revokes JSON Web Tokens before they expire: one revocation, published
// once, makes every API node refuse the tokens it covers.
//
// This is the one binary with all roles. Run "quash help" for the commands.
// Every flag can also be set by an environment variable: QUASH_ and the flag's
// name in capitals with underscores (--nats-listen is QUASH_NATS_LISTEN), the
// same for every command that has the flag.
//
// It exits 0 when it did what it was asked, 1 when something failed while it
// ran, and 2 when the command line or the configuration is wrong. Errors are one
// line on standard error that says what to do next.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"
	"golang.org/x/term"
)

const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// cli is the command tree.
type cli struct {
	Up       upCmd       `cmd:"" help:"Run everything on this machine: NATS, an issuer, API nodes. Start here."`
	Demo     demoCmd     `cmd:"" help:"Show and measure the whole story once, in a temporary directory, then clean up."`
	Issuer   issuerCmd   `cmd:"" help:"Run the issuer: login, refresh, logout, revoke."`
	API      apiCmd      `cmd:"" name:"api" help:"Run a demo API node that verifies tokens and enforces revocations."`
	Revoke   revokeCmd   `cmd:"" help:"Publish a revocation."`
	Sessions sessionsCmd `cmd:"" help:"List living sessions at the issuer, or end them."`
	User     userCmd     `cmd:"" help:"Create, list, disable and enable accounts at the issuer; give new passwords and scopes."`
	Keys     keysCmd     `cmd:"" help:"List, rotate, retire and revoke the issuer's signing keys."`
	Watch    watchCmd    `cmd:"" help:"Print revocations as they are published."`
	Status   statusCmd   `cmd:"" help:"Ask every node how it is, one row each."`
	Client   clientCmd   `cmd:"" help:"Make client secrets, check a client registry."`
	Stream   streamCmd   `cmd:"" help:"Create or check the stream that holds the revocations."`
	NATS     natsCmd     `cmd:"" name:"nats" help:"Make keys, certificates and users for NATS over TLS."`
	Health   healthCmd   `cmd:"" help:"Ask an issuer or an API node whether it is ready; for health checks of containers."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

// program is what a command may use of the outside world.
type program struct {
	args           []string // the command line as given, args[0] is the program
	stdout, stderr io.Writer
	stdin          io.Reader
	terminal       func() bool // whether stdin is one: somebody can be asked
}

// logger writes to standard error: standard output belongs to the command's
// result.
func (p *program) logger(level string) *slog.Logger {
	var l slog.Level
	if level == "none" {
		return slog.New(slog.DiscardHandler)
	}
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: l, ReplaceAttr: plainErrors}))
}

func main() {
	os.Exit(execute(os.Args, os.Stdout, os.Stderr))
}

// execute is the whole program except the exit itself.
func execute(args []string, stdout, stderr io.Writer) int {
	p := &program{args: args, stdout: stdout, stderr: stderr, stdin: os.Stdin,
		terminal: func() bool { return term.IsTerminal(int(os.Stdin.Fd())) }}
	if len(args) < 2 || args[1] == "help" {
		// Plain "quash" and "quash help revoke" are what people try first.
		rest := []string{"--help"}
		if len(args) > 2 {
			rest = append(append([]string{}, args[2:]...), "--help")
		}
		args = append([]string{"quash"}, rest...)
	}
	if args[1] == "--version" {
		args = []string{"quash", "version"}
	}
	if err := checkText(args[1:], os.Environ()); err != nil {
		return p.fail(err)
	}
	var commands cli
	helped := false
	parser, err := kong.New(&commands,
		kong.Name("quash"),
		kong.Description("Revoke JSON Web Tokens before they expire. Every flag can also be set as QUASH_NAME, for example QUASH_NATS_LISTEN."),
		kong.DefaultEnvars("QUASH"),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { helped = true }), // only --help exits
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Vars{"default_iss": defaultIssuerURL, "default_nats": defaultNATSURL},
		kong.Bind(p),
	)
	if err != nil {
		return p.fail(fmt.Errorf("reading the command table: %w", err))
	}
	kctx, err := parser.Parse(protectKey(args[1:], parser.Model))
	if helped {
		return exitOK
	}
	if err != nil {
		if len(args) > 2 && commandName(args, parser.Model) == "user " && slices.Contains([]string{"delete", "remove", "rm", "del"}, args[2]) {
			return p.fail(usagef("", "accounts are never deleted, so that nobody inherits a name: quash user disable NAME ends all that one can do"))
		}
		return p.fail(&usageError{problem: inWords(err) + "; see quash " + commandName(args, parser.Model) + "--help"})
	}
	for _, name := range unknownVariables(os.Environ(), parser.Model) {
		fmt.Fprintf(stderr, "quash: warning: the environment variable %s belongs to no flag and is ignored\n", name)
	}
	return p.fail(kctx.Run())
}

// fail prints err as one line and gives the exit code it stands for.
func (p *program) fail(err error) int {
	if err == nil || errors.Is(err, context.Canceled) {
		return exitOK
	}
	fmt.Fprintf(p.stderr, "quash: %s\n", oneLine(strings.ReplaceAll(err.Error(), nats.ErrReconnectBufExceeded.Error(), "no NATS server answers")))
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailure
}

// usageError is a wrong command line or configuration: exit code 2.
type usageError struct {
	flag    string // as typed, for example "--until"; empty if none is to blame
	problem string
}

func (e *usageError) Error() string {
	if e.flag == "" {
		return e.problem
	}
	return e.flag + ": " + e.problem
}

func usagef(flag, format string, a ...any) error {
	return &usageError{flag: flag, problem: fmt.Sprintf(format, a...)}
}

// oneLine makes one line of an error, part of which a server that was asked may have written.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	return harmless(strings.ReplaceAll(s, "\t", " "))
}

// commandName is the command and sub-command the user meant, with a space after
// each.
func commandName(args []string, model *kong.Application) string {
	name, at := "", model.Node
	for _, a := range args[1:] {
		i := slices.IndexFunc(at.Children, func(n *kong.Node) bool { return n.Type == kong.CommandNode && n.Name == a })
		if i < 0 {
			break
		}
		at = at.Children[i]
		name += a + " "
	}
	return name
}
