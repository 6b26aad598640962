package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
)

// bind opens a listener at the address a flag gave, or says which flag to
// change. Commands bind everything before they start anything.
func bind(flag, address string) (net.Listener, error) {
	if err := checkAddress(flag, address); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, bindError(flag, address, err)
	}
	return l, nil
}

func checkAddress(flag, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return usagef(flag, "%q is not HOST:PORT, for example 127.0.0.1:8080", address)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return usagef(flag, "%q has no usable port: it is a number from 0 (any free port) to 65535", address)
	}
	return nil
}

func bindError(flag, address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s %s is taken by another program: stop it, or choose another address with %s", flag, address, flag)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s %s may not be opened by this user: choose a port above 1023 with %s", flag, address, flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s %s is not an address of this machine: choose another with %s", flag, address, flag)
	}
	return fmt.Errorf("listening on %s: %w; choose another address with %s", address, err, flag)
}

// sameAddress reports whether two addresses can not both be bound. Port 0 is a
// free one each time.
func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil {
		return false
	}
	numberA, errA := net.LookupPort("tcp", portA)
	numberB, errB := net.LookupPort("tcp", portB)
	if errA != nil || errB != nil || numberA != numberB || numberA == 0 {
		return false
	}
	everywhere := func(host string) bool {
		ip := net.ParseIP(host)
		return host == "" || ip != nil && ip.IsUnspecified()
	}
	local := func(host string) string {
		if strings.EqualFold(host, "localhost") {
			return "127.0.0.1"
		}
		return host
	}
	return everywhere(hostA) || everywhere(hostB) || local(hostA) == local(hostB)
}

// closeAll closes the listeners bound so far when a later one fails.
func closeAll(ls ...net.Listener) {
	for _, l := range ls {
		if l != nil {
			_ = l.Close() // nothing was accepted yet
		}
	}
}

// isLoopback reports whether only this machine can reach the address.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// reachable is the address to dial for one that may say "every interface".
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
