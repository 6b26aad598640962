package issuer

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/quash-auth/quash/internal/strictjson"
)

// peer is an address from which an account's owner has logged in, with tokens of its own.
type peer struct {
	Hash string `json:"hash"`
	tokens
}

// peers of one account, the latest first. Only a login writes this record, so there are no more of them than accounts.
type peers struct {
	Peers []json.RawMessage `json:"peers"`
}

const peersMost = 8 // of an account; another one takes the place of the longest unused

func peersKey(account string) string { return throttleKey("o", account) }

func peerHash(account, address string) string { return short64(throttleHash(account, address)[:12]) }

func decodePeers(r record) ([]peer, error) {
	if !r.exists() {
		return nil, nil
	}
	var v peers
	if err := r.decode(kindPeers, field{name: "peers", into: &v.Peers}); err != nil {
		return nil, err
	}
	out := make([]peer, 0, len(v.Peers))
	for _, raw := range v.Peers {
		var p peer
		seen := map[string]bool{}
		err := strictjson.Object(raw, func(name string, value []byte) error {
			f, ok := map[string]any{"hash": &p.Hash, "left": &p.Left, "at": &p.At}[name]
			if !ok {
				return fmt.Errorf("unknown member %.32q", name)
			}
			seen[name] = true
			return field{name: name, into: f}.set(value)
		})
		if err == nil && len(seen) != 3 {
			err = fmt.Errorf("has %d of 3 members", len(seen))
		}
		if err != nil {
			return nil, badRecord(r.key, fmt.Errorf("peers: %w", err))
		}
		out = append(out, p)
	}
	return out, nil
}

func encodePeers(key string, ps []peer) ([]byte, error) {
	v := peers{Peers: []json.RawMessage{}}
	for _, p := range ps {
		text, err := json.Marshal(p)
		if err != nil {
			return nil, fmt.Errorf("encode the peers record: %w", err)
		}
		v.Peers = append(v.Peers, text)
	}
	return encodeRecord(kindPeers, key, v)
}

// takePair takes n tokens of the pair, if it is one. What takes becomes the latest.
func (a *attempt) takePair(ctx context.Context, n float64) (known bool, after *record, err error) {
	key, hash := peersKey(a.account), peerHash(a.account, a.address)
	after, err = a.t.update(ctx, counter{key, a.peers, a.look}, func(r record) ([]byte, error) {
		ps, err := decodePeers(r)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(ps, func(p peer) bool { return p.Hash == hash })
		if known = at >= 0; !known {
			return nil, nil
		}
		p := ps[at]
		if err := a.t.pace.take(&p.tokens, n, a.t.now()); err != nil {
			return nil, err
		}
		return encodePeers(key, append([]peer{p}, slices.Delete(ps, at, at+1)...))
	})
	return known, after, err
}

// remember makes the address the account's latest.
func (a *attempt) remember(ctx context.Context) error {
	key, hash := peersKey(a.account), peerHash(a.account, a.address)
	_, err := a.t.update(ctx, counter{key: key, last: a.peers}, func(r record) ([]byte, error) {
		ps, err := decodePeers(r)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(ps, func(p peer) bool { return p.Hash == hash }) {
			return nil, nil
		}
		ps = append([]peer{{hash, tokens{a.t.pace.burst, a.t.now().UnixMilli()}}}, ps...)
		return encodePeers(key, ps[:min(len(ps), peersMost)])
	})
	return err
}
