package main

import (
	"net/netip"
	"strings"

	"github.com/quash-auth/quash/issuer"
)

// proxyFlags say whose word counts for where a request came from.
type proxyFlags struct {
	TrustedProxy []string `placeholder:"CIDR" help:"Network or address of a proxy in front: wrong passwords are then counted by the address in its X-Forwarded-For, to which it must append its peer's (default: none, by the peer's address)."`
}

// check refuses what is no network, or more than was meant.
func (f *proxyFlags) check() error {
	_, err := f.networks()
	return err
}

func (f *proxyFlags) networks() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range f.TrustedProxy {
		n, err := parseNetwork(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	bad := func(format string, a ...any) (netip.Prefix, error) {
		return netip.Prefix{}, usagef("--trusted-proxy", format, a...)
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	n, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return bad("%q is neither an address like 10.0.0.7 nor a network like 10.0.0.0/24", text)
	case n.Addr().Is4In6():
		return bad("%s is an IPv4 network in IPv6 form: write it as IPv4", text)
	case n.Bits() == 0:
		return bad("%s is everybody: anyone could choose the address under which he is counted", text)
	case n != n.Masked():
		return bad("%s is one address of the network %s: which of them is meant?", text, n.Masked())
	}
	return n, nil
}

func (f *proxyFlags) apply(c *issuer.Config) { c.TrustedProxies, _ = f.networks() } // checked
