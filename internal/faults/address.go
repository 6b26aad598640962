package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// listen takes a port of 127.0.0.1 below the range from which the kernel takes
// those for outgoing connections: nothing grabs it while its owner is dead.
func listen() (net.Listener, error) {
	for range 1000 {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))); err == nil {
			return l, nil
		}
	}
	return nil, errors.New("found no free port on 127.0.0.1")
}

// freeAddress is an address that somebody will listen on.
func freeAddress() (string, error) {
	l, err := listen()
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
