package issuer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/issuer"
)

// unrepaired is a rig that repairs when the test says so, with a clock that stands.
func unrepaired(t *testing.T) (*rig, *stopped) {
	t.Helper()
	c := &stopped{at: time.Now()}
	r := start(t, server(t).URL(), func(cfg *issuer.Config) {
		cfg.Now, cfg.MaxStaleness, cfg.RepairInterval = c.now, time.Hour, time.Hour
	})
	return r, c
}

func (r *rig) repair() {
	r.t.Helper()
	if err := issuer.Repair(within(r.t), r.Issuer); err != nil {
		r.t.Fatal(err)
	}
}

// TestRepairLeavesARunningChange: nobody ends the sessions of an account a second time while whoever changed it is about to.
func TestRepairLeavesARunningChange(t *testing.T) {
	t.Parallel()
	r, _ := unrepaired(t)
	for name, change := range map[string]func(context.Context, string) error{
		"disable":  func(ctx context.Context, sub string) error { return r.Disable(ctx, sub, issuer.Cause{}) },
		"password": func(ctx context.Context, sub string) error { return r.SetPassword(ctx, sub, "new", issuer.Cause{}) },
	} {
		u := r.user(name)
		repaired := false
		issuer.SetFault(r.Issuer, func(at string) error {
			if at == "published" && !repaired {
				repaired = true
				r.repair()
				r.repair()
			}
			return nil
		})
		if err := change(within(t), u.Sub); err != nil {
			t.Fatal(err)
		}
		issuer.SetFault(r.Issuer, nil)
		if n := r.published(events.Subject, u.Sub); n != 1 || !repaired {
			t.Errorf("%s: got %d statements, want 1", name, n)
		}
	}
}

// TestRepairOfAChange: one that was cut off is finished when it cannot be running any more, by the clock of whoever repairs.
func TestRepairOfAChange(t *testing.T) {
	t.Parallel()
	r, c := unrepaired(t)
	cut := func(what string, change error) {
		t.Helper()
		if !errors.Is(change, errCrash) {
			t.Fatalf("%s: got %v, want the crash", what, change)
		}
	}
	for name, wait := range map[string]int{"disable": 1, "password": 3} {
		u := r.user(name)
		s := r.login(name)
		issuer.SetFault(r.Issuer, func(string) error { return errCrash }) // before any statement is meant
		if name == "disable" {
			cut(name, r.Disable(within(t), u.Sub, issuer.Cause{}))
		} else {
			cut(name, r.SetPassword(within(t), u.Sub, "new", issuer.Cause{}))
		}
		issuer.SetFault(r.Issuer, nil)
		r.repair() // publishes what the mark holds, and sees the account's pointer
		before := r.published(events.Subject, u.Sub)
		r.set(c, c.now().Add(time.Duration(wait)*r.cfg.Timeout-time.Second))
		r.repair()
		if n := r.published(events.Subject, u.Sub); n != before {
			t.Errorf("%s: got %d statements before the time is up, want %d", name, n, before)
		}
		r.set(c, c.now().Add(time.Second))
		r.repair()
		if n := r.published(events.Subject, u.Sub); n != before+1 {
			t.Errorf("%s: got %d statements after the time is up, want %d", name, n, before+1)
		}
		r.dead(name, s.Access)
		if n, err := issuer.Pointers(within(t), r.Issuer); err != nil || n != 0 {
			t.Errorf("%s: got %d pointers %v, want none", name, n, err)
		}
	}
}

// TestEnableFinishesADisable: a login after the user is enabled is not ended by the disabling that was cut off before.
func TestEnableFinishesADisable(t *testing.T) {
	t.Parallel()
	r, c := unrepaired(t)
	u := r.user("ann")
	old := r.login("ann")
	issuer.SetFault(r.Issuer, func(string) error { return errCrash })
	if err := r.Disable(within(t), u.Sub, issuer.Cause{}); !errors.Is(err, errCrash) {
		t.Fatalf("got %v, want the crash", err)
	}
	if err := r.Enable(within(t), u.Sub); !errors.Is(err, errCrash) {
		t.Fatalf("enable: got %v, want no success while the sessions cannot be ended", err)
	}
	r.want("login", r.tryLogin("ann", password), 403, "access_denied")
	issuer.SetFault(r.Issuer, nil)
	if err := r.Enable(within(t), u.Sub); err != nil {
		t.Fatal(err)
	}
	r.dead("the session of before", old.Access)
	s := r.login("ann")
	r.repair()
	r.set(c, c.now().Add(time.Minute))
	r.repair()
	r.alive("the session of after", s.Access)
	r.want("its refresh", r.refresh(s.Refresh), 200, "")
}
