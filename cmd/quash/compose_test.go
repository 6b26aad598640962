package main

import (
	"regexp"
	"strings"
	"testing"
)

// service is what docker-compose.yml says of one.
type service struct {
	command []string
	env     map[string]string
	volumes map[string]string // where mounted: what
}

var (
	composeName   = regexp.MustCompile(`^  ([a-z0-9-]+):(?: &([a-z-]+))?$`)
	composeMember = regexp.MustCompile(`^    ([a-z_]+):(?: &([a-z-]+))?(?: (.+))?$`)
	composeEnv    = regexp.MustCompile(`^      (QUASH_[A-Z_]+): (.*)$`)
	composeMerge  = regexp.MustCompile(`^ +<<: \*([a-z-]+)$`)
	composeVolume = regexp.MustCompile(`^      - ([^:]+):([^:]+)(:ro)?$`)
	composeVar    = regexp.MustCompile(`\$\{([A-Z_]+)(?::[?-]([^}]*))?\}`)
)

// readCompose reads as much of YAML as the file uses: a line for each member, anchors and merges of services and of
// environments. A list in place of a merged one replaces it, an environment adds to it.
func readCompose(t *testing.T, text string, variables map[string]string) map[string]*service {
	t.Helper()
	all, anchors := map[string]*service{}, map[string]*service{}
	var at *service
	inside, member := false, ""
	fresh := func() *service { return &service{env: map[string]string{}, volumes: map[string]string{}} }
	merge := func(from *service) {
		if member != "environment" {
			at.command = from.command
			for k, v := range from.volumes {
				at.volumes[k] = v
			}
		}
		for k, v := range from.env {
			at.env[k] = v
		}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "" || strings.HasPrefix(strings.TrimSpace(line), "#"):
			continue
		case line[0] != ' ':
			inside = line == "services:"
			continue
		case !inside:
			continue
		}
		if m := composeName.FindStringSubmatch(line); m != nil {
			at, member = fresh(), ""
			all[m[1]] = at
			if m[2] != "" {
				anchors[m[2]] = at
			}
		} else if m := composeMerge.FindStringSubmatch(line); m != nil {
			from := anchors[strings.TrimSuffix(m[1], "-environment")]
			if from == nil && m[1] != "quash" {
				t.Errorf("%s is merged and nothing has that anchor before it", m[1])
			} else if from != nil {
				merge(from)
			}
		} else if m := composeMember.FindStringSubmatch(line); m != nil {
			switch member = m[1]; member {
			case "command":
				at.command = regexp.MustCompile(`[^"\[\], ]+`).FindAllString(m[3], -1)
			case "volumes":
				at.volumes = map[string]string{}
			case "environment":
				at.env = map[string]string{} // what it merges, it names
			}
		} else if m := composeEnv.FindStringSubmatch(line); m != nil && member == "environment" {
			at.env[m[1]] = fill(t, strings.Trim(m[2], `"`), variables)
		} else if m := composeVolume.FindStringSubmatch(line); m != nil && member == "volumes" {
			at.volumes[m[2]] = m[1] + m[3]
		}
	}
	return all
}

// fill puts in the variables as compose does.
func fill(t *testing.T, value string, variables map[string]string) string {
	t.Helper()
	return composeVar.ReplaceAllStringFunc(value, func(text string) string {
		m := composeVar.FindStringSubmatch(text)
		v, ok := variables[m[1]]
		if !ok {
			t.Errorf("deploy/example.env lacks %s", m[1])
		}
		if v == "" && strings.Contains(text, ":?") {
			t.Errorf("%s is empty, and compose would refuse that", m[1])
		}
		if v == "" && strings.Contains(text, ":-") {
			return m[2]
		}
		return v
	})
}

// readEnv reads deploy/example.env, and fills in what an operator must.
func readEnv(t *testing.T, text string, secrets map[string]string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			t.Errorf("deploy/example.env: %q is no assignment", line)
		}
		if _, twice := all[name]; twice {
			t.Errorf("deploy/example.env has %s twice", name)
		}
		if secret, ok := secrets[name]; ok {
			if value != "" {
				t.Errorf("deploy/example.env has a value for %s: people would keep it", name)
			}
			value = secret
		}
		all[name] = value
	}
	for name := range secrets {
		if _, ok := all[name]; !ok {
			t.Errorf("deploy/example.env lacks %s", name)
		}
	}
	return all
}
