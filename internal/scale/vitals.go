package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"
)

// vitals is what a process has used and holds.
type vitals struct {
	CPU        time.Duration // user and system, since it began
	RSS        int64         // bytes
	Heap       int64         // bytes that live, after a collection; 0: not asked for
	Goroutines int
}

// vitalsOf says how thoroughly to look.
type vitalsOf struct {
	Collect bool // run the garbage collector and give memory back first
}

func readVitals(of vitalsOf) (vitals, error) {
	v := vitals{CPU: ownCPU(), Goroutines: runtime.NumGoroutine()}
	if of.Collect {
		runtime.GC()
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		v.Heap = int64(m.HeapAlloc)
	}
	var err error
	v.RSS, err = ownRSS()
	return v, err
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0 // it cannot fail for oneself
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ownRSS reads VmRSS.
func ownRSS() (int64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("this program measures on Linux only: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if f := bytes.Fields(lines.Bytes()); len(f) > 1 && string(f[0]) == "VmRSS:" {
			kb, err := strconv.ParseInt(string(f[1]), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no VmRSS in /proc/self/status")
}
