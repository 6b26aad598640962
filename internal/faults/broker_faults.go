package main

import (
	"context"
	"errors"
	"time"
)

// which servers a fault concerns, by the part they play when it begins.
type which func(leader *server, others []*server) []*server

func leading(l *server, _ []*server) []*server   { return []*server{l} }
func following(_ *server, o []*server) []*server { return o[:1] }
func two(l *server, o []*server) []*server       { return append([]*server{l}, o[:1]...) }
func every(l *server, o []*server) []*server     { return append([]*server{l}, o...) }

// onServers does something to some servers and undoes it at the end.
func onServers(who which, do, undo func(*world, *server) error) func(context.Context, *world) (end, error) {
	return func(ctx context.Context, w *world) (end, error) {
		leader, others, err := w.roles(ctx)
		if err != nil {
			return nil, err
		}
		chosen := who(leader, others)
		back := func(context.Context) error {
			var errs []error
			for _, s := range chosen {
				errs = append(errs, undo(w, s))
			}
			return errors.Join(errs...)
		}
		for _, s := range chosen {
			if err := do(w, s); err != nil {
				return nil, errors.Join(err, back(ctx))
			}
		}
		return back, nil
	}
}

func killServer(_ *world, s *server) error   { s.kill(); return nil }
func startServer(_ *world, s *server) error  { return s.start() }
func freezeServer(_ *world, s *server) error { return s.freeze() }
func thawServer(_ *world, s *server) error   { return s.thaw() }

// cutOff takes a server away from the other servers, and cutOut from everybody.
func cutOff(w *world, s *server) error { w.isolate(s, (*link).sever); return nil }

func cutOut(w *world, s *server) error {
	w.isolate(s, (*link).swallow)
	for _, k := range s.clients {
		k.swallow()
	}
	return nil
}

func rejoin(w *world, s *server) error {
	w.isolate(s, (*link).mend)
	for _, k := range s.clients {
		k.mend()
	}
	return nil
}

// onLinks does something to every link there is.
func onLinks(do func(*link)) func(context.Context, *world) (end, error) {
	return func(_ context.Context, w *world) (end, error) {
		for _, k := range w.links {
			do(k)
		}
		return func(context.Context) error {
			for _, k := range w.links {
				k.mend()
			}
			return nil
		}, nil
	}
}

// rounds drops every connection again and again.
func rounds(n int, every time.Duration) func(context.Context, *world) (end, error) {
	return func(ctx context.Context, w *world) (end, error) {
		for range n {
			for _, k := range w.links {
				k.drop()
			}
			select {
			case <-ctx.Done():
			case <-time.After(every):
			}
		}
		return none, nil
	}
}

var brokerFaults = []fault{
	{name: "nothing", hold: 3 * time.Second, begin: func(context.Context, *world) (end, error) { return none, nil }},
	{name: "leader killed", short: true, hold: 4 * time.Second, begin: onServers(leading, killServer, startServer)},
	{name: "follower killed", hold: 5 * time.Second, begin: onServers(following, killServer, startServer)},
	{name: "two of three servers killed", hold: 6 * time.Second, begin: onServers(two, killServer, startServer)},
	{name: "all servers killed", hold: 6 * time.Second, begin: onServers(every, killServer, startServer)},
	{name: "leader frozen", hold: 10 * time.Second, begin: onServers(leading, freezeServer, thawServer)},
	{name: "follower frozen", hold: 10 * time.Second, begin: onServers(following, freezeServer, thawServer)},
	{name: "two of three servers frozen", hold: 20 * time.Second, begin: onServers(two, freezeServer, thawServer)},
	{name: "leader cut off from the other servers", hold: 12 * time.Second, begin: onServers(leading, cutOff, rejoin)},
	{name: "leader cut off from everybody", hold: 12 * time.Second, begin: onServers(leading, cutOut, rejoin)},
	{name: "all servers cut off from each other", hold: 12 * time.Second, begin: onServers(two, cutOff, rejoin)},
	{name: "all connections dropped", short: true, hold: 0, begin: rounds(1, 0)},
	{name: "all connections dropped 30 times", hold: 0, begin: rounds(30, 300*time.Millisecond)},
	{name: "every link 150 ms slow", hold: 8 * time.Second, begin: onLinks(func(k *link) { k.slow(150 * time.Millisecond) })},
}
