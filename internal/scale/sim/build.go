package sim

import "time"

func newWorld(f Fleet) (*world, error) {
	if f.Nodes < 1 || len(f.Regions) == 0 || f.Statements < 1 || f.Cores < 1 && f.Shared < 1 {
		return nil, ErrFleet
	}
	f.Servers, f.PerRegion, f.Processes = max(f.Servers, 1), max(f.PerRegion, 1), max(f.Processes, 1)
	if f.MaxReaders == 0 {
		f.MaxReaders = 1000
	}
	if f.SlotWait == 0 {
		f.SlotWait = slotWait
	}
	w := &world{Fleet: f, engine: newEngine(f.Seed)}
	var one *host
	var crowd []*process
	if f.Shared > 0 {
		one = w.host(f.Shared)
		for range f.Processes {
			crowd = append(crowd, one.process())
		}
	}
	add := func(away time.Duration) *server {
		h := one
		if h == nil {
			h = w.host(f.Cores)
		}
		s := &server{away: away, live: h.process(), accept: h.process()}
		s.reads = s
		w.servers = append(w.servers, s)
		return s
	}
	for range f.Servers {
		w.home = append(w.home, add(f.Regions[0]))
	}
	for _, s := range w.home[1:] { // the first leads
		w.home[0].below = append(w.home[0].below, s)
		s.reads, s.distance = w.home[0], f.Near
	}
	edge := make([][]*server, len(f.Regions)) // where the nodes of a region connect
	for r, away := range f.Regions {
		if f.Shape == Direct {
			edge[r] = w.home
			continue
		}
		for i := range f.PerRegion {
			s := add(away)
			up := w.home[i%len(w.home)]
			up.below = append(up.below, s)
			s.distance = max(away-f.Regions[0], f.Near)
			if s.reads = w.home[0]; f.Shape == Mirror {
				s.reads = s
			}
			edge[r] = append(edge[r], s)
		}
	}
	w.nodes = make([]node, f.Nodes)
	for i := range w.nodes {
		r := i % len(f.Regions)
		s := edge[r][i/len(f.Regions)%len(edge[r])]
		n := &w.nodes[i]
		n.at, n.online = s, true
		if crowd != nil {
			n.proc = crowd[i*len(crowd)/f.Nodes]
		}
		s.nodes = append(s.nodes, i)
	}
	return w, nil
}

// way is how far a node is from the server it is connected to.
func (w *world) way(i int) time.Duration {
	if w.Shape == Direct {
		return max(w.Regions[i%len(w.Regions)]-w.Regions[0], w.Near)
	}
	return w.Near
}

// travel is how long a message takes: up to a tenth more than the way.
func (w *world) travel(d time.Duration) time.Duration { return d + w.jitter(d/10+1) }
