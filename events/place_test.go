package events_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
)

// wentOn starts a follower at a place.
func wentOn(t *testing.T, url string, at events.Place) *followerUnderTest {
	t.Helper()
	return startFollower(t, url, func(s *events.Subscriber) { s.Resume(at) })
}

// wants checks what a follower has applied, and nothing beside it.
func (f *followerUnderTest) wants(t *testing.T, prefix string, from, to int) {
	t.Helper()
	f.fresh(t)
	have := f.copy()
	for n := from; n < to; n++ {
		if _, ok := have[fmt.Sprint(prefix, n)]; !ok {
			t.Errorf("%s%d is missing", prefix, n)
		}
	}
	if len(have) != to-from {
		t.Errorf("%d statements applied, want %d", len(have), to-from)
	}
}

func publishMany(t *testing.T, p *events.Publisher, prefix string, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		publish(t, p, sessionRevocation(fmt.Sprint(prefix, n)))
	}
}

// placed is a stream with fifty statements and a beacon that lives for so long, and the place of a follower at the beacon.
func placed(t *testing.T, life string) (srv *natstest.Server, js jetstream.JetStream, p *events.Publisher, at events.Place) {
	t.Helper()
	srv = natstest.Start(t)
	nc := srv.Connect(t)
	js, p = ensure(t, nc), publisher(t, nc)
	publishMany(t, p, "s", 0, 50)
	// Nobody else sends beacons yet: it must not think that its link is deaf.
	f := follow(t, srv.URL(), func(c *events.SubscriberConfig) { c.Silent, c.BeaconInterval = true, time.Minute })
	eventually(t, "all applied", func() bool { return len(f.copy()) == 50 })
	last := beacon(t, js, life)
	eventually(t, "a place at the beacon", func() bool { return f.Place().Last.Sequence >= last })
	at = f.Place()
	if info, err := js.Stream(t.Context(), events.StreamName); err != nil || !at.Stream.Equal(info.CachedInfo().Created) {
		t.Fatalf("the place is in a stream created at %v, %v", at.Stream, err)
	}
	if at.Kept.Sequence != 50 || at.Last.Sequence != 51 || !at.Kept.Until.After(at.Last.Time) {
		t.Fatalf("place %+v", at)
	}
	f.stop(t)
	return srv, js, p, at
}

// TestResume: a follower that goes on from the place of another one reads what came after it, and nothing else.
func TestResume(t *testing.T) {
	t.Parallel()
	srv, _, p, at := placed(t, "10m")
	nothing := wentOn(t, srv.URL(), at)
	nothing.wants(t, "s", 0, 0)
	publishMany(t, p, "s", 50, 60)
	nothing.wants(t, "s", 50, 60) // live
	wentOn(t, srv.URL(), at).wants(t, "s", 50, 60)
}

// TestResumeBehindALandmarkThatIsGone: it goes on from the older one, as long as the stream proves that it is the one of before.
func TestResumeBehindALandmarkThatIsGone(t *testing.T) {
	t.Parallel()
	srv, js, p, at := placed(t, "1s")
	publishMany(t, p, "s", 50, 60)
	gone(t, js, at.Last.Sequence)
	kept := wentOn(t, srv.URL(), at)
	kept.wants(t, "s", 49, 60) // the landmark itself is read again
	if got := kept.Status(); got.Rewinds != 0 || !got.Created.Equal(at.Stream) {
		t.Errorf("went on from what is kept: %+v", got)
	}
	both := at
	both.Kept = events.Landmark{}
	lost := wentOn(t, srv.URL(), both)
	lost.wants(t, "s", 0, 60)
	if got := lost.Status().Rewinds; got != 0 {
		t.Errorf("both landmarks gone: %d rewinds, want none: nothing says that it is another stream", got)
	}

	for name, change := range map[string]func(*events.Place){
		"another stream":                func(p *events.Place) { p.Stream = p.Stream.Add(time.Nanosecond) },
		"another message":               func(p *events.Place) { p.Last = p.Kept; p.Last.Time = p.Last.Time.Add(time.Nanosecond) },
		"the stream ends before it":     func(p *events.Place) { p.Last.Sequence += 1_000_000 },
		"another message that was kept": func(p *events.Place) { p.Kept.Time = p.Kept.Time.Add(-time.Nanosecond) },
	} {
		other := at
		change(&other)
		f := wentOn(t, srv.URL(), other)
		f.wants(t, "s", 0, 60)
		if f.Status().Rewinds == 0 {
			t.Errorf("%s: no rewind", name)
		}
	}
	for name, none := range map[string]events.Place{
		"zero":      {},
		"no stream": {Last: at.Last, Kept: at.Kept},
		"no last":   {Stream: at.Stream, Kept: at.Kept},
	} {
		f := wentOn(t, srv.URL(), none)
		f.wants(t, "s", 0, 60)
		if f.Status().Rewinds != 0 {
			t.Errorf("%s: a rewind", name)
		}
	}
}

// TestResumeOnAnotherPast: while nobody ran, the stream was put back to an older copy, which has grown beyond the place since.
func TestResumeOnAnotherPast(t *testing.T) {
	t.Parallel()
	dir, copied := t.TempDir(), t.TempDir()
	srv, nc := killable(t, dir)
	publishMany(t, publisher(t, nc), "s", 0, 20)
	srv.Kill()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	srv.Restart(t)
	nc = srv.Connect(t)
	publishMany(t, publisher(t, nc), "lost", 0, 20)
	first := startFollower(t, srv.URL(), nil)
	eventually(t, "all applied", func() bool { return len(first.copy()) == 40 && first.Place().Last.Sequence >= 40 })
	at := first.Place()
	first.stop(t)
	srv.Kill()
	wipe(t, dir)
	if err := os.CopyFS(dir, os.DirFS(copied)); err != nil {
		t.Fatal(err)
	}
	srv.Restart(t)
	nc = srv.Connect(t)
	n := int(at.Last.Sequence) + 10
	publishMany(t, publisher(t, nc), "s", 20, n)
	f := wentOn(t, srv.URL(), at)
	f.wants(t, "s", 0, n)
	if f.Status().Rewinds == 0 {
		t.Error("the other past was not noticed")
	}
}

// TestPlaceOfARewind: a stream made anew has no place before it was read, and another one afterwards.
func TestPlaceOfARewind(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	js := ensure(t, nc)
	p := publisher(t, nc)
	publishMany(t, p, "s", 0, 5)
	f := follow(t, srv.URL())
	if at := f.Place(); at != (events.Place{}) && at.Last.Sequence < 5 {
		t.Errorf("a place before the first sync: %+v", at)
	}
	f.fresh(t)
	before := f.Place()
	if err := js.DeleteStream(t.Context(), events.StreamName); err != nil {
		t.Fatal(err)
	}
	ensure(t, nc)
	publishMany(t, p, "t", 0, 2)
	last := publish(t, p, sessionRevocation("t2")).Sequence // a beacon may stand between them
	eventually(t, "the rewind", func() bool { return f.Status().Rewinds > 0 })
	eventually(t, "a place in the new stream", func() bool {
		at := f.Place()
		if !at.Stream.IsZero() && at.Stream.Equal(before.Stream) && f.Status().Rewinds > 0 {
			t.Fatalf("after the rewind still in the old stream: %+v", at)
		}
		return at.Last.Sequence >= last
	})
	g := wentOn(t, srv.URL(), f.Place())
	g.fresh(t)
	if have := g.copy(); len(have) > 1 { // the landmark, if it is not a beacon
		t.Errorf("%d statements applied, want none but the landmark", len(have))
	}
}
