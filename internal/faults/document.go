package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// platform is where and with what a run was made.
type platform struct {
	nats   string // version of the servers
	disk   bool   // a disk could be filled
	before string // what the world began with
	took   time.Duration
}

func (p platform) String() string {
	cpu, kernel := "unknown processor", ""
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				cpu = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = " " + strings.TrimSpace(string(text))
	}
	return fmt.Sprintf("%d × %s, %s%s/%s, %s, nats-server %s. The whole run took %v.", runtime.NumCPU(), cpu, runtime.GOOS, kernel, runtime.GOARCH,
		runtime.Version(), p.nats, p.took.Round(time.Second))
}

// document is docs/faults-run.md.
func (r *result) document() string {
	var b strings.Builder
	b.WriteString("# Faults, a run\n\nWritten by `make faults`, which repeats it; [faults.md](faults.md) says what stands behind each row. ")
	b.WriteString(r.platform.String())
	if load := r.load; load != "" {
		fmt.Fprintf(&b, " Load of the machine at the end, with everything else on it: %s.", load)
	}
	fmt.Fprintf(&b, `

Real processes on one machine: three nats-servers (a cluster, every acknowledged
message synced), two issuers with a ledger each, eight API nodes with a bound of %v
(four deny when stale, four allow; four keep a snapshot), two publishers that revoke by
token, session, subject, client, key and issuer, one person who logs in and out, and six probes at every node the whole time: tokens that were never
revoked, new ones, revoked ones, those revoked a moment ago, expired and forged ones,
and those of a login. Between each process and each server, and between the servers, runs
a proxy that breaks, swallows or delays. %s At the end every node was shown
all %d tokens whose revocation was ever acknowledged.

`, bound, r.platform.before, r.rechecks)
	for i, text := range promises {
		fmt.Fprintf(&b, "- **%v** %s\n", i1+invariant(i), text)
	}
	b.WriteString("\nHealed: seconds from the end of the fault; for nodes until the last one is ready with a view of after the fault,\n" +
		"for publishers until a revocation is acknowledged, for issuers until both are ready. A time in brackets is how long the\nfault lasted. Machine stalled: how long a process that wants to run every 5 ms and does nothing else was kept from it by more than\n" +
		"50 ms, in all and at once, from the beginning of the fault until all was checked; healing is given so much longer.\n" +
		"Felt: what the fault did to those whom it hit, looked at just before it ended: a row whose fault nobody has noticed fails.\n\n")
	b.WriteString(r.table())
	if !r.platform.disk {
		b.WriteString("\nNo disk could be filled: mounting a small one was not allowed.\n")
	}
	return b.String()
}

var promises = [...]string{
	"no acknowledged revocation is lost: once it is quiet every node refuses every token that one covers.",
	"a node whose view is of after an acknowledgement never accepts a token that it covers; and no node that denies when stale accepts one later than its bound and a second after it. Expired and forged tokens are never accepted.",
	"a node that denies answers 503 once its view is older than its bound and a second; one that allows goes on, but not before its first sync.",
	"no living token that nothing covers gets a 401, and none a 503 from a node whose view is a second younger than its bound.",
	"everything heals by itself within a minute after the fault has ended.",
	"all nodes hold the same: at the same sequence their digests are equal.",
	"no consumer is left on the servers once the nodes follow; at the end of the run no node holds more goroutines, files or memory than at its beginning, and the servers hold exactly the connections and subscriptions of those who live.",
}

// load is how busy the machine is, as the system says.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
