package issuer

import (
	"net/url"
	"slices"
	"strings"
)

// mayReturnTo compares exactly (RFC 9700 §2.1). The port of a loopback address is free, because a native application takes
// whichever it gets (RFC 8252 §7.3).
func (c Client) mayReturnTo(uri string) bool {
	return slices.ContainsFunc(c.RedirectURIs, func(registered string) bool {
		return uri == registered || loopbackRest(uri) != "" && loopbackRest(uri) == loopbackRest(registered)
	})
}

// loopbackRest is an http URI of a loopback address without its port; empty if it is none. It cuts text and parses nothing, so
// there is no second reading of the URI that a browser might not share.
func loopbackRest(uri string) string {
	for _, start := range []string{"http://127.0.0.1", "http://[::1]"} {
		rest, ok := strings.CutPrefix(uri, start)
		if !ok {
			continue
		}
		if after, ok := strings.CutPrefix(rest, ":"); ok {
			digits := len(after) - len(strings.TrimLeft(after, "0123456789"))
			if digits < 1 || digits > 5 || after[0] == '0' {
				return ""
			}
			rest = after[digits:]
		}
		if rest == "" || rest[0] == '/' || rest[0] == '?' {
			return start + rest
		}
	}
	return ""
}

// redirection adds parameters to a redirect URI; its own query stays (RFC 6749 §3.1.2).
func redirection(uri string, parameters url.Values) string {
	switch {
	case !strings.Contains(uri, "?"):
		uri += "?"
	case !strings.HasSuffix(uri, "?") && !strings.HasSuffix(uri, "&"):
		uri += "&"
	}
	return uri + parameters.Encode()
}

// returnHost is what people are told about where they will go: the host, or the scheme of an application on the device.
func returnHost(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	if u.Host == "" {
		return u.Scheme
	}
	return u.Host
}

// formAction is the redirect URI's scheme as a source of Content-Security-Policy: Chrome applies form-action to the redirect that
// answers the form, and to those that the application answers in turn. With the application's origin alone a callback that
// sends people on to another host of its own would leave them on a page where nothing happens.
func formAction(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return u.Scheme + ":"
}
