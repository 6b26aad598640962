package ports

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/quash-auth/quash/internal/leaks"
)

func TestMain(m *testing.M) {
	if n, err := strconv.Atoi(os.Getenv("PORTS_TEST_TAKE")); err == nil {
		other(n)
		return
	}
	leaks.Main(m)
}

// other is another program: it prints what it got and holds it until its standard
// input ends.
func other(n int) {
	got, err := Take(n)
	if err != nil {
		_, _ = os.Stdout.WriteString(err.Error() + "\n")
		return
	}
	for _, p := range got {
		_, _ = os.Stdout.WriteString(strconv.Itoa(p) + " ")
	}
	_, _ = os.Stdout.WriteString("\n")
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// Programs and goroutines that ask at once get different ports, although nobody
// listens on any of them.
func TestNobodyGetsAnothersPort(t *testing.T) {
	const programs, each = 4, 120
	var mu sync.Mutex
	seen := map[int]string{}
	claim := func(who string, ports []int) {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range ports {
			if before := seen[p]; before != "" {
				t.Errorf("port %d was given to %s and to %s", p, before, who)
			}
			seen[p] = who
		}
	}
	var done sync.WaitGroup
	for i := range programs {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), "PORTS_TEST_TAKE="+strconv.Itoa(each))
		in, err1 := cmd.StdinPipe()
		out, err2 := cmd.StdoutPipe()
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = in.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
		done.Go(func() {
			line := make([]byte, 0, 1024)
			for b := make([]byte, 1024); !strings.HasSuffix(string(line), "\n"); {
				n, err := out.Read(b)
				line = append(line, b[:n]...)
				if err != nil {
					break
				}
			}
			var ports []int
			for f := range strings.FieldsSeq(string(line)) {
				p, err := strconv.Atoi(f)
				if err != nil {
					t.Errorf("program %d says %q", i, line)
					return
				}
				ports = append(ports, p)
			}
			claim("program "+strconv.Itoa(i), ports)
		})
	}
	for i := range 4 {
		done.Go(func() {
			got, err := Take(30)
			if err != nil {
				t.Error(err)
			}
			claim("goroutine "+strconv.Itoa(i), got)
		})
	}
	done.Wait()
	if want := programs*each + 4*30; len(seen) != want {
		t.Errorf("%d ports were given, %d were asked for", len(seen), want)
	}
}

// When a program has used up its share it gets again what it had longest ago, but
// nothing on which somebody listens.
func TestPortsComeAgain(t *testing.T) {
	var o owner
	var first []int
	for range 20 { // somebody who does not ask this package may have a port of the block
		o = owner{most: 1}
		var err error
		if first, err = o.take(size - 1); err == nil {
			break
		}
		t.Log(err)
		for _, l := range o.locks {
			_ = l.Close()
		}
	}
	if len(first) != size-1 {
		t.Fatal("no block is free")
	}
	defer func() { _ = o.locks[0].Close() }()
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(first[0])))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	again, err := o.take(2)
	if err != nil {
		t.Fatal(err)
	}
	if again[0] != first[1] || again[1] != first[2] {
		t.Errorf("got %d after %d of which the first is in use", again, first[:3])
	}
	if _, err := o.take(size); err == nil || !strings.Contains(err.Error(), "end what listens there") {
		t.Errorf("%d ports of %d: %v", size, size-1, err)
	}
}
