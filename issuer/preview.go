package issuer

import (
	"context"
	"time"

	"github.com/quash-auth/quash/events"
)

// preview is what a statement would end, were it published now.
type preview struct {
	DryRun   bool           `json:"dry_run"`
	Scope    string         `json:"scope"`
	Key      string         `json:"key,omitempty"`
	Sessions int            `json:"sessions"` // living ones
	Exact    bool           `json:"exact"`    // false: at most so many, there are too many to read each
	Clients  map[string]int `json:"clients"`  // of those that were read
	Signing  *bool          `json:"signing,omitempty"`
	Note     string         `json:"note,omitempty"`
}

// previewMost is how many sessions a preview reads; it also stops when half of the request's time is over.
const (
	previewMost = 5000
	previewRun  = 500 // at once
)

func (i *Issuer) preview(ctx context.Context, c accessClaims, r events.Revocation) (preview, error) {
	p := preview{DryRun: true, Scope: r.Scope.String(), Key: r.Key, Exact: true, Clients: map[string]int{}}
	var f filter
	switch r.Scope {
	case events.Token:
		p.Note = "one access token; its session lives on and its client refreshes"
		return p, nil
	case events.Key:
		i.previewKey(&p)
		return p, nil
	case events.Session:
		err := i.previewSession(ctx, &p)
		return p, err
	case events.Subject:
		f.sub = r.Key
	case events.Client:
		f.client = r.Key
	}
	done, err := i.lists.take(c.Subject)
	if err != nil {
		return p, err
	}
	defer done()
	if err := i.step("list"); err != nil {
		return p, err
	}
	err = i.count(ctx, &p, f, previewMost)
	return p, err
}

func (i *Issuer) previewSession(ctx context.Context, p *preview) error {
	s, err := i.meant(ctx, p.Key)
	if err != nil || s == nil {
		return err
	}
	c := i.newCensus()
	ss, err := c.living(ctx, []position{{index: s.index()}})
	p.add(ss, c)
	return err
}

func (p *preview) add(ss []*session, c *census) {
	for _, s := range ss {
		p.Sessions++
		p.Clients[s.Client]++
	}
	p.Exact = p.Exact && c.damaged == 0
}

// count reads up to most sessions; the rest count as living.
func (i *Issuer) count(ctx context.Context, p *preview, f filter, most int) error {
	run := min(previewRun, most)
	c := i.newCensus()
	enough := time.Now().Add(i.cfg.Timeout / 2)
	for after, read := uint64(0), 0; ; {
		xs, follow, err := c.indexes(ctx, f, after, run)
		if err != nil {
			return err
		}
		ss, err := c.living(ctx, xs)
		if err != nil {
			return err
		}
		p.add(ss, c)
		if len(xs) < run {
			return nil
		}
		after, read = xs[len(xs)-1].at, read+len(xs)
		if read >= most || time.Now().After(enough) {
			p.Sessions += int(follow)
			p.Exact = p.Exact && follow == 0
			return nil
		}
	}
}

// previewKey: a key's revocation ends no session. Which access tokens it concerns depends on when the key signed.
func (i *Issuer) previewKey(p *preview) {
	const live = "; no session ends: clients refresh and go on"
	signer, err := i.keys.signer()
	signing := err == nil && signer.kid == p.Key
	p.Signing = &signing
	switch {
	case signing:
		p.Note = "this key signs now: all access tokens that it signed are refused, and another key signs at once" + live
	case i.keys.has(p.Key):
		p.Note = "this key does not sign now: only access tokens from when it did are refused, those that have not expired" + live
	default:
		p.Note = "no key here has this kid: no access token of this issuer is concerned"
	}
}
