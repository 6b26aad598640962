package renew_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier/renew"
	"github.com/quash-auth/quash/verifier/verifiertest"
)

// answerOwn gives everybody a token of the own subject.
func (w *world) answerOwn(rw http.ResponseWriter, r *http.Request) {
	w.give(rw, w.Mint(verifiertest.Subject(subject(r.Form.Get("subject_token")))))
}

// One account with any number of tokens stops renewal for nobody, makes nobody ask twice, and fills no memory.
func TestOneAccountTakesNothingFromOthers(t *testing.T) {
	const most = 16
	w := newWorld(t, nil)
	w.renewer.Hold(most)
	w.setAnswer(w.answerOwn)
	fill := func(n int) {
		for range n {
			w.served("mallory", w.get(old(w, verifiertest.Subject("mallory"))), true)
		}
	}
	fill(most)
	ann, bob := old(w, verifiertest.Subject("ann")), old(w, verifiertest.Subject("bob"))
	w.served("ann", w.get(ann), true)
	fill(2 * most)
	w.served("bob", w.get(bob), true)
	fill(2 * most)
	before := w.asked()
	w.served("ann, who ignores the new token", w.get(ann), true)
	w.served("bob, likewise", w.get(bob), true)
	if w.asked() != before {
		t.Errorf("%d more exchanges: mallory's tokens have displaced theirs", w.asked()-before)
	}
	if tokens, subjects := w.renewer.Held(); tokens != most || subjects != 3 {
		t.Errorf("%d renewals of %d subjects are held, want %d of 3", tokens, subjects, most)
	}
	for n := range 2 * most { // nor do many accounts stop anybody
		who := fmt.Sprint("user-", n)
		w.served(who, w.get(old(w, verifiertest.Subject(who))), true)
	}
	if tokens, _ := w.renewer.Held(); tokens != most {
		t.Errorf("%d renewals are held, want %d", tokens, most)
	}
}

// While the issuer thinks, one account waits with so many tokens and no more, and others still ask.
func TestOneAccountWaitsWithFewTokens(t *testing.T) {
	w := newWorld(t, func(c *renew.Config) { c.Wait = time.Millisecond })
	w.renewer.Hold(renew.MaxAsking + 2)
	release := make(chan struct{})
	var mallory sync.WaitGroup
	asks := make(chan string, 100)
	w.setAnswer(func(rw http.ResponseWriter, r *http.Request) {
		asks <- subject(r.Form.Get("subject_token"))
		<-release
		w.answerOwn(rw, r)
	})
	for range 3 * renew.MaxAsking {
		mallory.Go(func() { w.served("mallory", w.get(old(w, verifiertest.Subject("mallory"))), false) })
	}
	mallory.Wait()
	ann := old(w, verifiertest.Subject("ann"))
	w.served("ann", w.get(ann), false) // late, but asked
	seen := map[string]int{}
	for range renew.MaxAsking + 1 {
		seen[<-asks]++
	}
	if seen["ann"] != 1 || seen["mallory"] != renew.MaxAsking {
		t.Errorf("the issuer was asked for %v, want 1 of ann and %d of mallory", seen, renew.MaxAsking)
	}
	close(release)
	w.answered()
	w.served("ann, again", w.get(ann), true)
	again := old(w, verifiertest.Subject("mallory"))
	w.get(again)
	w.answered()
	w.served("mallory, afterwards", w.get(again), true)
	if n := w.asked(); n != renew.MaxAsking+2 {
		t.Errorf("%d exchanges, want %d", n, renew.MaxAsking+2)
	}
}

// Who logs out while her token is renewed stops renewal for nobody.
func TestALogoutMeanwhileIsNoFailure(t *testing.T) {
	w := newWorld(t, nil)
	w.setAnswer(func(rw http.ResponseWriter, r *http.Request) {
		w.Revoke(events.Revocation{Scope: events.Subject, Key: "mallory"})
		w.answerOwn(rw, r)
	})
	w.served("mallory", w.get(old(w, verifiertest.Subject("mallory"))), false)
	w.setAnswer(w.answerOwn)
	w.served("ann", w.get(old(w, verifiertest.Subject("ann"))), true)
	if s := w.renewer.Stats(); s.Refused != 1 || s.Failed != 0 {
		t.Errorf("stats %+v, want one refusal", s)
	}
}
