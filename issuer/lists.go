package issuer

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// lists bounds how many lists of sessions or accounts this replica reads at once: each takes a consumer of NATS and reads many
// records, at the word of anybody who has a token.
type lists struct {
	most int // for everybody together

	mu  sync.Mutex // guards what follows
	by  map[string]int
	all int
}

const (
	listsOfOne = 2 // at once, for one user or operator
	listsOfAll = 64
)

var (
	errOwnLists = &fault{status: http.StatusTooManyRequests, code: "temporarily_unavailable",
		description: "lists for you are being read already, wait for them", after: time.Second}
	errManyLists = fmt.Errorf("%w: too many lists are being read", ErrUnavailable)
)

func newLists() *lists { return &lists{most: listsOfAll, by: map[string]int{}} }

// take grants one list to whoever the token belongs to, until done.
func (l *lists) take(sub string) (done func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.by[sub] >= listsOfOne:
		return nil, errOwnLists
	case l.all >= l.most:
		return nil, errManyLists
	}
	l.by[sub]++
	l.all++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all--
		if l.by[sub]--; l.by[sub] == 0 {
			delete(l.by, sub)
		}
	}, nil
}
