package sim

import (
	"errors"
	"time"
)

// Costs are what one thing costs. All are measured; see docs/scale.md.
type Costs struct {
	Publish time.Duration // CPU of the server that stores a statement
	Store   time.Duration // until it is on the disk, and on those of a quorum; no CPU
	Fan     time.Duration // CPU of a server per delivery, to a node or to another server
	Apply   time.Duration // CPU of a node per delivery
	// The same while an earlier statement is still under way there: nobody has to be woken.
	FanMore, ApplyMore time.Duration
	Connect            time.Duration // CPU of a server per new connection
	Catch              time.Duration // CPU of the server that holds the stream, per catch-up that finds little
	Rejoin             time.Duration // CPU of a node per connection and catch-up
	Read               time.Duration // CPU of that server per stored statement that is read
	Take               time.Duration // CPU of a node per stored statement
}

// What the product does, see events.
const (
	connectTimeout = 2 * time.Second
	reconnectFirst = 100 * time.Millisecond
	reconnectMost  = time.Second
	rejoinJitter   = 50 * time.Millisecond
	retryFirst     = 50 * time.Millisecond
	retryMost      = 5 * time.Second
	readBatch      = 300
	slotWait       = time.Minute
	slotFirst      = 100 * time.Millisecond
	slotMost       = time.Second
	slotTries      = 2
)

// Shape is how a fleet is connected.
type Shape uint8

// Shapes.
const (
	Direct Shape = iota // every node to the home region's servers
	Leaf                // leaf nodes in every region, which read from home
	Mirror              // a copy of the stream in every region, which is read there
)

// String names the shape.
func (s Shape) String() string { return [...]string{"direct", "leaf nodes", "mirrors"}[s] }

// Fleet is what is simulated.
type Fleet struct {
	Costs
	Seed       uint64
	Nodes      int
	Shape      Shape
	Regions    []time.Duration // the way from home to each, one way; the first is home, usually 0
	Near       time.Duration   // the way between two machines of one region
	Servers    int             // at home, among which nodes are divided. 0: 1
	PerRegion  int             // leaf nodes or mirrors in each region. 0: 1
	Cores      int             // of each server
	Shared     int             // if not 0: one machine with so many cores runs everything, nodes in so many processes as Processes says
	Processes  int
	MaxReaders int // consumers at once on a stream. 0: 1,000, as servers have it

	Statements int
	Every      time.Duration // between two statements
	Drop       bool          // all nodes lose their connections at once, in the middle
	Joiners    int           // of the nodes: they begin to read Stored statements in the middle
	Stored     int
	Slots      int           // so many joiners read at once, the others take turns. 0: all at once
	SlotWait   time.Duration // after this and up to as much again, a joiner reads without a slot. 0: 1 min
	Polite     time.Duration // a joiner that waited longer for a batch pauses, the longer the more. 0: never
}

// ErrFleet: a fleet that cannot be simulated.
var ErrFleet = errors.New("a fleet needs nodes, regions, statements and cores")

// Outcome is what came of it.
type Outcome struct {
	Took      []time.Duration // publish → applied, by statement and node: statement*Nodes+node
	Last      []time.Duration // by statement
	Fresh     []time.Duration // from the drop until fresh again, by node
	Joined    []time.Duration // from the begin until everything was read, by joiner
	Waited    int             // joiners that had to wait for a slot
	Slotless  int             // of them, those that waited in vain
	Refused   int             // catch-ups that found too many others
	TimedOut  int             // connections that took too long and were begun again
	ServerCPU time.Duration   // of all servers
	NodeCPU   time.Duration
	Busiest   time.Duration // CPU of the server that used most
	Servers   int
	Delivered int // each counted once
	Twice     int // delivered and caught up as well
}

// server is one nats-server.
type server struct {
	away     time.Duration // from home
	live     *process      // takes in and hands on
	accept   *process      // takes connections
	below    []*server     // that get every statement from here
	nodes    []int
	reads    *server // that holds the stream for its nodes
	readers  int     // consumers under way
	slots    int     // taken
	handing  int     // statements that not all below have yet
	distance time.Duration
}

type node struct {
	at      *server
	proc    *process      // nil: a machine of its own
	free    time.Duration // when that has nothing to do
	arrived time.Duration // the newest delivery; links keep the order
	waiting int           // deliveries that are not applied yet
	online  bool
}

// world is a fleet under simulation.
type world struct {
	Fleet
	*engine
	home    []*server
	servers []*server
	nodes   []node
	began   []time.Duration // of every statement
	stored  int             // how many are in the stream
	out     Outcome
	dropped time.Duration
}
