package main

import (
	"context"
	"fmt"
	"time"
)

// which servers a fault concerns, by the part they play when it begins.
type which func(leader *server, others []*server) []*server

func leading(l *server, _ []*server) []*server   { return []*server{l} }
func following(_ *server, o []*server) []*server { return o[:1] }
func two(l *server, o []*server) []*server       { return append([]*server{l}, o[:1]...) }
func every(l *server, o []*server) []*server     { return append([]*server{l}, o...) }

// onServers does something to some servers.
func onServers(who which, d deed[*server]) begin {
	return on(func(ctx context.Context, w *world) ([]*server, error) {
		leader, others, err := w.roles(ctx)
		if err != nil {
			return nil, err
		}
		return who(leader, others), nil
	}, d)
}

var (
	killServer = deed[*server]{
		do:   func(_ context.Context, _ *world, s *server) error { return s.shoot() },
		undo: func(_ context.Context, _ *world, s *server) error { return s.start() },
		felt: func(_ context.Context, _ *world, s *server) (string, error) { return gone(s.address) },
	}
	freezeServer = deed[*server]{
		do:   func(_ context.Context, _ *world, s *server) error { return s.freeze() },
		undo: func(_ context.Context, _ *world, s *server) error { return s.thaw() },
		felt: func(ctx context.Context, _ *world, s *server) (string, error) { return mute(ctx, s.address, "") },
	}
	// cutOff takes a server away from the other servers, and cutOut from everybody.
	cutOff = deed[*server]{do: func(_ context.Context, w *world, s *server) error { return eachLink(w.routes(s), (*link).sever) }, undo: rejoin,
		felt: func(_ context.Context, w *world, s *server) (string, error) { return severed(w.routes(s)) }}
	cutOut = deed[*server]{do: func(_ context.Context, w *world, s *server) error {
		return eachLink(append(w.routes(s), s.clients...), (*link).swallow)
	}, undo: rejoin, felt: func(_ context.Context, w *world, s *server) (string, error) {
		return swallowed(append(w.routes(s), s.clients...))
	}}
)

func rejoin(_ context.Context, w *world, s *server) error {
	return eachLink(append(w.routes(s), s.clients...), (*link).mend)
}

// cutMajority takes the leader and another server away from everybody else; the two go on together.
func cutMajority(ctx context.Context, w *world) (grip, error) {
	leader, others, err := w.roles(ctx)
	if err != nil {
		return grip{}, err
	}
	last := others[len(others)-1]
	away := w.routes(last)
	for _, s := range append(others[:len(others)-1:len(others)-1], leader) {
		away = append(away, s.clients...)
	}
	if err := eachLink(away, (*link).swallow); err != nil {
		return grip{}, err
	}
	return grip{
		felt: func(context.Context) (string, error) { return swallowed(away) },
		end:  func(context.Context) error { return eachLink(away, (*link).mend) },
	}, nil
}

// slowLinks makes every piece on every link wait.
func slowLinks(by time.Duration) begin {
	return func(_ context.Context, w *world) (grip, error) {
		if err := eachLink(w.links, func(k *link) { k.slow(by) }); err != nil {
			return grip{}, err
		}
		began := time.Now()
		return grip{
			felt: func(context.Context) (string, error) { return w.ledger.atLeast(began, 2*by, quickest) },
			end:  func(context.Context) error { return eachLink(w.links, (*link).mend) },
		}, nil
	}
}

// rounds drops every connection again and again.
func rounds(n int, every time.Duration) begin {
	return func(ctx context.Context, w *world) (grip, error) {
		before := seenOn(w.links).broken
		for range n {
			for _, k := range w.links {
				k.drop()
			}
			pause(ctx, every)
		}
		broken := seenOn(w.links).broken - before
		if broken < len(w.nodes) {
			return grip{}, fmt.Errorf("only %d connections were broken", broken)
		}
		return over("%d connections broken", broken), nil
	}
}

var brokerFaults = []fault{
	{name: "nothing", hold: 3 * time.Second, begin: func(context.Context, *world) (grip, error) { return over("there is nothing to feel"), nil }},
	{name: "leader killed", short: true, hold: 4 * time.Second, begin: onServers(leading, killServer)},
	{name: "follower killed", hold: 5 * time.Second, begin: onServers(following, killServer)},
	{name: "two of three servers killed", hold: 6 * time.Second, begin: onServers(two, killServer)},
	{name: "all servers killed", hold: 6 * time.Second, begin: onServers(every, killServer)},
	{name: "leader frozen", hold: 10 * time.Second, begin: onServers(leading, freezeServer)},
	{name: "follower frozen", hold: 10 * time.Second, begin: onServers(following, freezeServer)},
	{name: "two of three servers frozen", hold: 20 * time.Second, begin: onServers(two, freezeServer)},
	{name: "leader cut off from the other servers", hold: 12 * time.Second, begin: onServers(leading, cutOff)},
	{name: "leader cut off from everybody", hold: 12 * time.Second, begin: onServers(leading, cutOut)},
	{name: "all servers cut off from each other", hold: 12 * time.Second, begin: onServers(two, cutOff)},
	{name: "leader and a follower together cut off from everybody else", hold: 10 * time.Second, begin: cutMajority},
	{name: "all connections dropped", short: true, hold: 0, begin: rounds(1, 0)},
	{name: "all connections dropped 30 times", hold: 0, begin: rounds(30, 300*time.Millisecond)},
	{name: "every link 150 ms slow", hold: 8 * time.Second, begin: slowLinks(150 * time.Millisecond)},
}
