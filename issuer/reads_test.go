package issuer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/issuer"
)

// TestReadMany: an answer that is not complete is no answer. A mark that was lost on the way would be a revocation that was forgotten.
func TestReadMany(t *testing.T) {
	r := start(t, server(t).URL())
	nc, err := nats.Connect(r.nats)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	one, two := "m.issuer", "m.client.eA"
	part := func(key string, sequence, before int) *nats.Msg {
		m := &nats.Msg{Header: nats.Header{}, Data: []byte("{}")}
		m.Header["Nats-Subject"] = []string{issuer.RecordSubject(r.Issuer, key)}
		m.Header["Nats-Sequence"] = []string{fmt.Sprint(sequence)}
		m.Header["Nats-Last-Sequence"] = []string{fmt.Sprint(before)}
		return m
	}
	status := func(code string, last int) *nats.Msg {
		return &nats.Msg{Header: nats.Header{"Status": {code}, "Nats-Last-Sequence": {fmt.Sprint(last)}}}
	}
	for name, c := range map[string]struct {
		answers []*nats.Msg
		want    []bool // nil: ErrUnavailable
	}{
		"all":                     {[]*nats.Msg{part(one, 3, 0), part(two, 7, 3), status("204", 7)}, []bool{true, true}},
		"one":                     {[]*nats.Msg{part(two, 7, 0), status("204", 7)}, []bool{false, true}},
		"none":                    {[]*nats.Msg{status("404", 0)}, []bool{false, false}},
		"the first lost":          {[]*nats.Msg{part(two, 7, 3), status("204", 7)}, nil},
		"the last lost":           {[]*nats.Msg{part(one, 3, 0), status("204", 7)}, nil},
		"all lost":                {[]*nats.Msg{status("204", 7)}, nil},
		"the end lost":            {[]*nats.Msg{part(one, 3, 0), part(two, 7, 3)}, nil},
		"of another record":       {[]*nats.Msg{part("m.client.eB", 3, 0), status("204", 3)}, nil},
		"without a sequence":      {[]*nats.Msg{{Header: nats.Header{"Nats-Subject": {issuer.RecordSubject(r.Issuer, one)}}}, status("204", 3)}, nil},
		"refused":                 {[]*nats.Msg{status("408", 0)}, nil},
		"a record cannot be read": {[]*nats.Msg{status("500", 0)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			subject := nc.NewInbox()
			sub, err := nc.Subscribe(subject, func(m *nats.Msg) {
				for _, a := range c.answers {
					_ = nc.PublishMsg(&nats.Msg{Subject: m.Reply, Header: a.Header, Data: a.Data})
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Unsubscribe() //nolint:errcheck // its connection closes
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
			limit := deadline
			if name == "the end lost" {
				limit = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			got, err := issuer.ReadMany(ctx, r.Issuer, subject, one, two)
			switch {
			case c.want == nil && !errors.Is(err, issuer.ErrUnavailable):
				t.Errorf("got %v %v, want ErrUnavailable", got, err)
			case c.want != nil && (err != nil || !slices.Equal(got, c.want)):
				t.Errorf("got %v %v, want %v", got, err, c.want)
			}
		})
	}
}
