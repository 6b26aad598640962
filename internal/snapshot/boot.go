package snapshot

import (
	"bytes"
	"encoding/hex"
	"os"
	"strconv"
	"time"
)

// Boot names the machine's boot and says how long ago it was, time asleep included: within one boot it tells how old a mark is
// although the wall clock was set back. Zero values where the system does not say.
func Boot() (id [16]byte, uptime time.Duration) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return id, 0
	}
	since, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return id, 0
	}
	return parseBoot(text, since)
}

func parseBoot(bootID, uptime []byte) (id [16]byte, since time.Duration) {
	raw, err := hex.DecodeString(string(bytes.ReplaceAll(bytes.TrimSpace(bootID), []byte("-"), nil)))
	first, _, _ := bytes.Cut(uptime, []byte(" "))
	seconds, err2 := strconv.ParseFloat(string(first), 64)
	if err != nil || err2 != nil || len(raw) != len(id) || !(seconds > 0 && seconds < 1e10) {
		return id, 0
	}
	return [16]byte(raw), time.Duration(seconds * float64(time.Second))
}

// Age is how old the view of a mark is now, given the wall clock and the machine's boot: the larger of what the two clocks say.
// It is false if the mark lies in the future of one of them, so that no clock can be believed.
func (m Mark) Age(now time.Time, boot [16]byte, uptime time.Duration) (time.Duration, bool) {
	elapsed := now.Round(0).Sub(m.Written)
	if elapsed < -clockNoise {
		return 0, false
	}
	if boot != ([16]byte{}) && boot == m.Boot {
		awake := uptime - m.Uptime
		if awake < -clockNoise {
			return 0, false
		}
		elapsed = max(elapsed, awake)
	}
	return max(m.Staleness, 0) + max(elapsed, 0), true
}

// clockNoise is what an adjusted clock may be set back by without meaning anything.
const clockNoise = time.Second
