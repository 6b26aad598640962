package main

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/alecthomas/kong"
)

// protectKey lets the KEY of "revoke SCOPE KEY" and the SID of "sessions end SID"
// begin with a dash: session and token IDs are often base64url, and one in 64 of
// those does. It moves it behind "--" unless it is a flag of the command.
func protectKey(args []string, model *kong.Application) []string {
	at := 2
	if len(args) <= at || args[0] != "revoke" && (args[0] != "sessions" || args[1] != "end") && (args[0] != "keys" || args[1] != "retire" && args[1] != "revoke") || !strings.HasPrefix(args[at], "-") || args[at] == "-" {
		return args
	}
	name, _, _ := strings.Cut(args[at], "=")
	if args[at] == "-h" || name == "--" || name == "--help" || slices.Contains(args, "--") {
		return args
	}
	node := model.Node
	for _, word := range args[:at] {
		for _, n := range node.Children {
			if n.Name == word {
				node = n
			}
		}
	}
	for _, f := range node.Flags {
		if name == "--"+f.Name {
			return args
		}
	}
	out := append(slices.Clone(args[:at]), args[at+1:]...)
	return append(out, "--", args[at])
}

// checkText refuses what is not UTF-8: the parser would put other characters in
// its place, and a revocation of another key covers nothing.
func checkText(args, environ []string) error {
	for _, a := range args {
		if !utf8.ValidString(a) {
			return usagef("", "%+q is not valid UTF-8", a)
		}
	}
	for _, v := range environ {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "QUASH_") && !utf8.ValidString(v) {
			return usagef(name, "is not valid UTF-8")
		}
	}
	return nil
}

// notFlags are variables of ours that configure something else: the shipped NATS
// configuration.
var notFlags = []string{
	"QUASH_NATS_OPERATOR_PASSWORD", "QUASH_NATS_ISSUER_PASSWORD", "QUASH_NATS_PUBLISHER_PASSWORD", "QUASH_NATS_VERIFIER_PASSWORD",
	"QUASH_NATS_RECORDS_PASSWORD", newPasswordVariable,
}

// unknownVariables lists QUASH_ variables that no command reads: a misspelt one
// must not go unnoticed.
func unknownVariables(environ []string, model *kong.Application) []string {
	known := slices.Clone(notFlags)
	var walk func(*kong.Node)
	walk = func(n *kong.Node) {
		for _, f := range n.Flags {
			known = append(known, f.Envs...)
		}
		for _, c := range n.Children {
			walk(c)
		}
	}
	walk(model.Node)
	var unknown []string
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "QUASH_") && !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}
