package renew

// maxHeld bounds the renewals that are remembered, maxAsking those of one subject that wait for the issuer.
const (
	maxHeld   = 10_000
	maxAsking = 8
	sample    = 64 // of all renewals, where the largest holder is looked for
)

// held are the renewals by token and by subject. When it is full a new one takes the place of one of whoever holds the most,
// and never of somebody who holds less than its own subject does: one account with many tokens takes nothing from others.
// What gives way is renewed once more if its token comes back. Whoever calls holds the Renewer's mutex.
type held struct {
	most    int
	tokens  map[name]*exchange
	holders map[string]*holder // by subject, none of them empty
}

type holder struct {
	tokens map[name]*exchange
	asking int // those that wait for the issuer
}

func newHeld(most int) *held {
	return &held{most: most, tokens: map[name]*exchange{}, holders: map[string]*holder{}}
}

// add reports whether there was room.
func (h *held) add(key name, x *exchange) bool {
	own := h.holders[key.subject]
	if own == nil {
		own = &holder{tokens: map[name]*exchange{}}
	}
	if own.asking >= maxAsking || len(h.tokens) >= h.most && !h.makeRoom(own) {
		return false
	}
	own.tokens[key], h.tokens[key], h.holders[key.subject] = x, x, own
	own.asking++
	return true
}

func (h *held) makeRoom(own *holder) bool {
	victim, largest := name{}, 0
	looked := 0
	for key, x := range h.tokens {
		if n := len(h.holders[key.subject].tokens); n > largest && x.answered() {
			victim, largest = key, n
		}
		if looked++; looked == sample {
			break
		}
	}
	if len(own.tokens) >= largest {
		largest = 0
		for key, x := range own.tokens {
			if x.answered() {
				victim, largest = key, 1
				break
			}
		}
	}
	if largest == 0 {
		return false
	}
	h.remove(victim)
	return true
}

// answered says that the issuer no longer has to.
func (h *held) answered(key name) {
	if own := h.holders[key.subject]; own != nil {
		own.asking--
	}
}

func (h *held) remove(key name) {
	own := h.holders[key.subject]
	if own == nil {
		return
	}
	delete(h.tokens, key)
	delete(own.tokens, key)
	if len(own.tokens) == 0 {
		delete(h.holders, key.subject)
	}
}

func (x *exchange) answered() bool {
	select {
	case <-x.done:
		return true
	default:
		return false
	}
}
