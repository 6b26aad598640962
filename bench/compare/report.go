package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// report prints Markdown.
type report struct {
	plan
	world *world
}

func (r *report) machine() {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				model = strings.TrimSpace(v)
				break
			}
		}
	}
	fmt.Printf("%d × %s, %s, %s.\n", runtime.NumCPU(), model, runtime.Version(), time.Now().UTC().Format(time.DateOnly))
	for _, args := range [][]string{{"redis-server", "--version"}, {"postgres", "--version"}} {
		if out, err := exec.Command(args[0], args[1:]...).Output(); err == nil {
			fmt.Printf("%s. ", strings.TrimSpace(string(out)))
		}
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			switch d.Path {
			case "github.com/golang-jwt/jwt/v5", "github.com/redis/go-redis/v9", "github.com/redis/rueidis", "github.com/jackc/pgx/v5",
				"github.com/krakendio/bloomfilter/v2", "github.com/nats-io/nats-server/v2", "github.com/nats-io/nats.go":
				fmt.Printf("%s %s. ", d.Path, d.Version)
			}
		}
	}
	fmt.Printf("\n%d connections, %d rounds of %v, %d revocations each.\n", r.connections, r.rounds, r.slice, r.revocations)
}

func (r *report) requests() {
	fmt.Println("\n| | requests/s (spread) | × no auth | p50 | p99 | CPU a request |\n|---|---|---|---|---|---|")
	base := r.world.contenders[0].rates
	for _, c := range r.world.contenders {
		ratios := make([]float64, len(c.rates)) // within a round: what else the machine does changes from one to the next
		for i := range ratios {
			ratios[i] = c.rates[i] / base[i]
		}
		fmt.Printf("| %s | %.0f (%.0f-%.0f) | %.3f (%.3f-%.3f) | %s | %s | %.1f µs |\n", c.name, quantile(c.rates, 0.5), slices.Min(c.rates), slices.Max(c.rates),
			quantile(ratios, 0.5), slices.Min(ratios), slices.Max(ratios),
			show(quantile(c.times, 0.5)), show(quantile(c.times, 0.99)), float64(c.cpu.Nanoseconds())/1000/float64(c.requests))
	}
}

func (r *report) rejections() {
	fmt.Println("\n| | revoked → acknowledged, p50 | p99 | revoked → first 401, p50 | p99 |\n|---|---|---|---|---|")
	for _, c := range r.world.contenders {
		if len(c.rejects) == 0 {
			continue
		}
		fmt.Printf("| %s | %s | %s | %s | %s |\n", c.name, show(quantile(c.acks, 0.5)), show(quantile(c.acks, 0.99)),
			show(quantile(c.rejects, 0.5)), show(quantile(c.rejects, 0.99)))
	}
}

func (r *report) outage(out []outcome) {
	fmt.Println("\n| store killed | a revoked token gets | a good one | store back: the revoked one | the good one |\n|---|---|---|---|---|")
	for _, o := range out {
		fmt.Printf("| %s | %s | %s | %s | %s |\n", o.name, answers(o.revoked), answers(o.good), later(o.name, o.revokedLater), later(o.name, o.newLater))
	}
}

func (r *report) restarts() {
	fmt.Println("\n| node killed and started | a revoked token gets, from the start of the process on |\n|---|---|")
	for _, c := range r.world.contenders {
		if len(c.restart) > 0 {
			fmt.Printf("| %s | %s |\n", c.name, answers(c.restart))
		}
	}
}

func (r *report) filter(m mistakes) {
	fmt.Printf("\nThe filter, planned for %d identifiers and %g false positives:\n\n", m.planned, falsePositives)
	for _, g := range slices.Sorted(maps.Keys(m.missed)) {
		fmt.Printf("- asked by %d at once: %.4f %% of the questions about revoked identifiers are answered \"not revoked\"\n", g, 100*m.missed[g])
	}
	fmt.Printf("- two goroutines add: %.4f %% of the identifiers are not in it\n", 100*m.lost)
	for _, x := range m.rotated {
		fmt.Printf("- %d.5 TTL after they were added: %.2f %% are found\n", x.ttls, 100*x.found)
	}
	for _, x := range m.wrong {
		fmt.Printf("- %d × the planned number in it: %.5f %% of the others are answered \"revoked\"\n", x.times, 100*x.share)
	}
}

// later leaves out what was not started again.
func later(name string, seen []answer) string {
	if name == bareIntrospection {
		return "-"
	}
	return answers(seen)
}

func answers(seen []answer) string {
	var parts []string
	for _, a := range seen {
		status := fmt.Sprint(a.status)
		if a.status == 0 {
			status = "no answer"
		}
		parts = append(parts, fmt.Sprintf("%s from %s (%d ×, slowest %s)", status, show(a.since), a.count, show(a.slowest)))
	}
	const most = 6
	if n := len(parts); n > most {
		parts = append(append(parts[:most-1:most-1], fmt.Sprintf("… %d changes …", n-most)), parts[n-1])
	}
	return strings.Join(parts, ", ")
}

// show rounds to three digits.
func show(d time.Duration) string {
	for unit := time.Duration(1); ; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit).String()
		}
	}
}
