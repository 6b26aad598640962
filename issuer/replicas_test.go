package issuer_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
)

// chain is one session as its client keeps it.
type chain struct {
	answer
	user issuer.User
}

// TestReplicas: three issuers on three NATS servers, a random one for each request, while one issuer after the other is
// killed with SIGKILL and started again. Each refresh token has one winner, no session lives on in two chains, nothing that was
// answered is lost, and nobody is taken for a thief whose last request was answered.
func TestReplicas(t *testing.T) {
	t.Parallel()
	nats := natstest.StartCluster(t, 3)
	here := start(t, nats.URL(), func(c *issuer.Config) {
		c.Replicas, c.LoginBurst, c.RevokeBurst, c.RevokeEvery = 3, 1000, 1000, time.Millisecond
	})
	here.user("root", issuer.ScopeAdmin)
	admin := here.patientLogin("root")
	var mu sync.Mutex // guards children
	children := make([]*child, 2)
	for n := range children {
		children[n] = startChild(t, nats.URL(), here.cfg.KeysDir, 3)
	}
	any := func() *rig {
		mu.Lock()
		defer mu.Unlock()
		if n := rand.IntN(3); n < 2 {
			return children[n].rig
		}
		return here
	}

	var refreshes, unanswered, alarms atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for n := range 6 {
		name := "ann-" + string(rune('a'+n))
		u := here.user(name)
		clients.Go(func() {
			c := chain{user: u}
			for {
				select {
				case <-stop:
					return
				default:
				}
				if c.Refresh == "" { // log in, at any of them, until one answers
					if c.answer = any().tryLogin(name, password); c.status != 200 {
						c.Refresh = ""
					}
					continue
				}
				refreshes.Add(1)
				switch rand.IntN(8) {
				case 0:
					c = twice(t, c, any, here)
				case 1:
					c = ended(t, c, any, here, admin.Access)
				default:
					c = once(t, c, any, here, &unanswered, &alarms)
				}
			}
		})
	}
	kills := 0
	for range 6 { // a rolling crash; each new one is ready before the next
		<-time.After(300 * time.Millisecond)
		n := kills % 2
		mu.Lock()
		dying := children[n]
		mu.Unlock()
		_ = dying.cmd.Process.Kill()
		next := startChild(t, nats.URL(), here.cfg.KeysDir, 3)
		mu.Lock()
		children[n] = next
		mu.Unlock()
		kills++
	}
	close(stop)
	clients.Wait()
	t.Logf("%d issuers killed, %d operations on sessions; %d refreshes had no answer, of which %d were taken for theft when they were tried again",
		kills, refreshes.Load(), unanswered.Load(), alarms.Load())
}

// once refreshes and tries again as long as there is no answer.
func once(t *testing.T, c chain, any func() *rig, here *rig, unanswered, alarms *atomic.Int64) chain {
	lost := false
	for {
		a := any().refresh(c.Refresh)
		switch {
		case a.status == 200:
			return chain{a, c.user}
		case a.networkError != nil || a.status == 503:
			if !lost {
				unanswered.Add(1)
			}
			lost = true
		case a.status == 400 && lost: // the rotation had been stored: the safe side
			alarms.Add(1)
			dies(t, "a session taken for stolen", c, here)
			return chain{user: c.user}
		default:
			t.Errorf("a refresh token that was never used: got %d %s", a.status, a.raw)
			return chain{user: c.user}
		}
	}
}

// twice shows one refresh token to two replicas at once: one winner at most, and whoever held it, the session is over.
func twice(t *testing.T, c chain, any func() *rig, here *rig) chain {
	var a [2]answer
	var both sync.WaitGroup
	for n := range a {
		r := any()
		both.Go(func() { a[n] = r.refresh(c.Refresh) })
	}
	both.Wait()
	won, lost := 0, 0
	for _, x := range a {
		switch x.status {
		case 200:
			won++
			c.Access = x.Access
		case 400:
			lost++
		}
	}
	if won > 1 {
		t.Errorf("one refresh token has two successors")
	}
	if lost > 0 && won+lost == 2 {
		dies(t, "a refresh token used twice", c, here)
		for _, x := range a {
			if x.status == 200 && here.refresh(x.Refresh).status == 200 {
				t.Error("the winner's chain lives on")
			}
		}
	}
	return chain{user: c.user}
}

// ended ends the session or all of the user at any replica, until one has confirmed it.
func ended(t *testing.T, c chain, any func() *rig, here *rig, admin string) chain {
	scope, key := "session", c.Sid
	if rand.IntN(2) == 0 {
		scope, key = "subject", c.user.Sub
	}
	for any().revoke(admin, scope, key).status != 200 {
		continue
	}
	if a := here.refresh(c.Refresh); a.status == 200 {
		t.Errorf("%s revoked and confirmed: its refresh token works", scope)
	}
	dies(t, scope+" revoked and confirmed", c, here)
	return chain{user: c.user}
}

// dies waits until the access token is refused.
func dies(t *testing.T, what string, c chain, here *rig) {
	end := time.Now().Add(deadline)
	for issuer.Verify(here.Issuer, c.Access) == nil {
		if time.Now().After(end) {
			t.Errorf("%s: its access token lives", what)
			return
		}
		<-time.After(5 * time.Millisecond)
	}
}
