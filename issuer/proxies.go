package issuer

import (
	"net/http"
	"net/netip"
	"strings"
)

// forwardedFor is X-Forwarded-For. The Forwarded header of RFC 7239 is not read: a proxy that writes one of the two passes
// the other on as the client sent it, so that whoever reads both believes the client.
const forwardedFor = "X-Forwarded-For"

// proxies are the networks whose word is taken for where a request came from.
type proxies []netip.Prefix

func (p proxies) trust(a netip.Addr) bool {
	for _, n := range p {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// address of the caller, for counting. Every proxy appends the peer it saw to the right, so the list is read from there for as
// long as trusted proxies speak. What stands left of the first address that is none of theirs was written by the caller.
func (p proxies) address(r *http.Request) string {
	at, ok := parseHop(r.RemoteAddr)
	if !ok {
		return r.RemoteAddr // not of a network
	}
	lines := r.Header[forwardedFor]
	for n := len(lines) - 1; n >= 0 && p.trust(at); n-- {
		rest, more := lines[n], true
		for more && p.trust(at) {
			var hop string
			rest, hop, more = cutLast(rest)
			if hop == "" {
				continue // RFC 9110 section 5.6.1: an empty member counts for nothing
			}
			next, ok := parseHop(hop)
			if !ok {
				return counted(at) // the last one who is known
			}
			at = next
		}
	}
	return counted(at)
}

// cutLast returns the last member of a list, and what is left of it.
func cutLast(list string) (rest, last string, more bool) {
	n := strings.LastIndexByte(list, ',')
	return list[:max(n, 0)], strings.Trim(list[n+1:], " \t"), n >= 0
}

// parseHop reads an address with or without a port, as the common proxies write them.
func parseHop(s string) (netip.Addr, bool) {
	if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") {
		s = strings.TrimSuffix(inner, "]")
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		var ap netip.AddrPort
		if ap, err = netip.ParseAddrPort(s); err != nil {
			return netip.Addr{}, false
		}
		a = ap.Addr()
	}
	return a.Unmap().WithZone(""), true
}

// counted is what an address is counted as: an IPv6 one as its /64, which one subscriber usually holds whole.
func counted(a netip.Addr) string {
	if a.Is6() {
		if net, err := a.Prefix(64); err == nil {
			a = net.Addr()
		}
	}
	return a.String()
}

// problem names a network that cannot be meant.
func (p proxies) problem() string {
	for _, n := range p {
		switch {
		case !n.IsValid():
			return "has an invalid network"
		case n.Bits() == 0:
			return n.String() + " is everybody: anyone could choose the address under which he is counted"
		case n.Addr().Is4In6():
			return n.String() + " is an IPv4 network in IPv6 form: write it as IPv4"
		}
	}
	return ""
}
