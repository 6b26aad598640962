package main

import (
	"sync"
	"time"
)

// watch looks all the time at how old the views of a child's nodes are.
type watch struct {
	stop chan struct{}
	done sync.WaitGroup
	seen []time.Duration // the largest of all nodes, each time
}

func (c *crowd) startWatch(struct{}) (struct{}, error) {
	w := &c.watch
	w.stop, w.seen = make(chan struct{}), nil
	w.done.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-w.stop:
				return
			case now := <-tick.C:
				oldest := time.Duration(0)
				for _, n := range c.nodes {
					oldest = max(oldest, n.feed.Freshness(now).Staleness)
				}
				w.seen = append(w.seen, oldest)
			}
		}
	})
	return struct{}{}, nil
}

func (c *crowd) endWatch(struct{}) (quantiles, error) {
	close(c.watch.stop)
	c.watch.done.Wait()
	return quantilesOf(c.watch.seen), nil
}
