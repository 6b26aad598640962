package bench_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sort"
	"strconv"
	"sync"
	"testing"
	"time"
)

// connections is how many clients the handlers are measured with.
const connections = 32

// requestsPerSecond sends prepared requests over persistent connections for
// about the given time. The client does as little as possible: it shares the
// machine with what is measured.
func requestsPerSecond(b *testing.B, addr string, tokens []string, d time.Duration) float64 {
	b.Helper()
	var wg sync.WaitGroup
	counts := make([]int, connections)
	deadline := time.Now().Add(d)
	start := time.Now()
	for c := range connections {
		wg.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			r := bufio.NewReader(conn)
			for i := c; time.Now().Before(deadline); i += connections {
				if _, err := fmt.Fprintf(conn, "GET /secure HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer %s\r\n\r\n", tokens[i%len(tokens)]); err != nil {
					b.Error(err)
					return
				}
				if err := readOK(r); err != nil {
					b.Error(err)
					return
				}
				counts[c]++
			}
		})
	}
	wg.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / time.Since(start).Seconds()
}

// readOK reads one response and demands 200.
func readOK(r *bufio.Reader) error {
	length := 0
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
			return errors.New("answer: " + string(line))
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
				return err
			}
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
	}
	_, err := io.CopyN(io.Discard, r, int64(length))
	return err
}

func median(v []float64) float64 {
	sort.Float64s(v)
	return v[len(v)/2]
}
