package main

import (
	"errors"
	"fmt"
)

// swallowed wants that something was kept back on some links and nothing went through.
func swallowed(links []*link) (string, error) {
	switch t := seenOn(links); {
	case t.passed > 0:
		return "", fmt.Errorf("%d bytes went through", t.passed)
	case t.held == 0:
		return "", errors.New("nobody has sent anything")
	}
	return "nothing goes through, and something was sent", nil
}

// severed wants that connections were broken on some links or refused, and nothing went through.
func severed(links []*link) (string, error) {
	switch t := seenOn(links); {
	case t.passed > 0:
		return "", fmt.Errorf("%d bytes went through", t.passed)
	case t.broken == 0 || t.refused == 0:
		return "", fmt.Errorf("%d connections were broken and %d refused", t.broken, t.refused)
	}
	return "connections broken, others refused", nil
}
