package issuer

import (
	"cmp"
	"slices"
)

// bounds of what is renewed: neither an operator's credential that was stolen nor a publisher's must cost every node something for ever.
// The first may name any key. The second can revoke the key that signs, and the one that is made then, and so on.
type bounds struct {
	asked int // keys that were never ours
	heard int // ours, of which the issuer has only heard that they were revoked

	askedFull, heardFull bool // it was said that there are too many
}

func defaultBounds() bounds { return bounds{asked: 1000, heard: 10_000} }

// bounded leaves out the oldest of those that have a bound. Our own that were revoked through the issuer have none.
func (i *Issuer) bounded(all map[string]lasting) []lasting {
	var own, heard, asked []lasting
	for _, l := range all {
		switch {
		case !l.Own:
			asked = append(asked, l)
		case l.Asked:
			own = append(own, l)
		default:
			heard = append(heard, l)
		}
	}
	b := &i.renewals.bounds
	asked = i.newest(asked, b.asked, &b.askedFull, "too many keys that this issuer never had were revoked through it")
	heard = i.newest(heard, b.heard, &b.heardFull, "too many keys of this issuer were revoked by others, who publish statements")
	return slices.Concat(own, heard, asked)
}

func (i *Issuer) newest(ls []lasting, most int, full *bool, what string) []lasting {
	if len(ls) <= most {
		return ls
	}
	slices.SortFunc(ls, func(a, b lasting) int { return cmp.Or(b.said.At.Compare(a.said.At), cmp.Compare(a.kid, b.kid)) })
	if !*full {
		*full = true
		i.log.Error(what+": statements about the oldest end; find out who does that, and revoke again through the issuer what matters",
			"keys", len(ls), "renewed", most, "first_left_out", ls[most].kid)
	}
	return ls[:most]
}
