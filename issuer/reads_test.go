package issuer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/natstest"
	"github.com/quash-auth/quash/issuer"
)

// TestReadMany: an answer that is not complete is no answer. A mark that was lost on the way would be a revocation that was forgotten.
func TestReadMany(t *testing.T) {
	r := start(t, server(t).URL())
	nc, err := nats.Connect(r.nats, nats.Timeout(deadline))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	issuer.SetStorePatience(r.Issuer, 100*time.Millisecond)
	one, two := "m.issuer", "m.client.eA"
	part := func(key string, sequence, before int) *nats.Msg {
		m := &nats.Msg{Header: nats.Header{}, Data: []byte("{}")}
		m.Header["Nats-Subject"] = []string{issuer.RecordSubject(r.Issuer, key)}
		m.Header["Nats-Sequence"] = []string{fmt.Sprint(sequence)}
		m.Header["Nats-Last-Sequence"] = []string{fmt.Sprint(before)}
		return m
	}
	status := func(code string, last int) *nats.Msg {
		return &nats.Msg{Header: nats.Header{"Status": {code}, "Nats-Last-Sequence": {fmt.Sprint(last)}, "Nats-Num-Pending": {"0"}}}
	}
	word := func(word string) *nats.Msg {
		return &nats.Msg{Header: nats.Header{"Status": {"404"}, "Description": {word}}}
	}
	more := status("204", 3)
	more.Header.Set("Nats-Num-Pending", "1")
	for name, c := range map[string]struct {
		answers []*nats.Msg
		want    []bool // nil: ErrUnavailable
	}{
		"all":                     {[]*nats.Msg{part(one, 3, 0), part(two, 7, 3), status("204", 7)}, []bool{true, true}},
		"one":                     {[]*nats.Msg{part(two, 7, 0), status("204", 7)}, []bool{false, true}},
		"none":                    {[]*nats.Msg{word("No Results")}, []bool{false, false}},
		"cut off":                 {[]*nats.Msg{part(one, 3, 0), more}, nil},
		"none, after one":         {[]*nats.Msg{part(one, 3, 0), word("No Results")}, nil},
		"the first lost":          {[]*nats.Msg{part(two, 7, 3), status("204", 7)}, nil},
		"the last lost":           {[]*nats.Msg{part(one, 3, 0), status("204", 7)}, nil},
		"all lost":                {[]*nats.Msg{status("204", 7)}, nil},
		"the end lost":            {[]*nats.Msg{part(one, 3, 0), part(two, 7, 3)}, nil},
		"of another record":       {[]*nats.Msg{part("m.client.eB", 3, 0), status("204", 3)}, nil},
		"without a sequence":      {[]*nats.Msg{{Header: nats.Header{"Nats-Subject": {issuer.RecordSubject(r.Issuer, one)}}}, status("204", 3)}, nil},
		"late":                    {[]*nats.Msg{part(one, 3, 0), nil, status("204", 3)}, []bool{true, false}},
		"refused":                 {[]*nats.Msg{status("408", 0)}, nil},
		"a record cannot be read": {[]*nats.Msg{part(one, 3, 0), word("Message Not Found")}, nil},
		"none can be read":        {[]*nats.Msg{word("Message Not Found")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			subject := nc.NewInbox()
			sub, err := nc.Subscribe(subject, func(m *nats.Msg) {
				for _, a := range c.answers {
					if a == nil { // the server takes longer than somebody without a deadline waits
						time.Sleep(300 * time.Millisecond)
						continue
					}
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

// TestDamagedMarkIsNoMissingMark: a record that the server's disk has damaged hides no other record.
func TestDamagedMarkIsNoMissingMark(t *testing.T) {
	n := server(t)
	r := start(t, n.URL())
	u := r.user("ann")
	for _, e := range []events.Revocation{{Scope: events.Client, Key: "quash"}, {Scope: events.Subject, Key: u.Sub}} {
		if _, err := r.Revoke(within(t), e); err != nil {
			t.Fatal(err)
		}
	}
	r.user("later") // the last record is read anew at a start
	client, subject := issuer.MarkKey(events.Client, "quash"), issuer.MarkKey(events.Subject, u.Sub)
	direct := "$JS.API.DIRECT.GET.KV_QUASH_ISSUER"
	if got, err := issuer.ReadMany(within(t), r.Issuer, direct, subject, client); err != nil || !slices.Equal(got, []bool{true, true}) {
		t.Fatalf("got %v %v, want both", got, err)
	}
	r.stop()
	n.Stop()
	damage(t, n, issuer.RecordSubject(r.Issuer, client), "cutoff")
	n.Restart(t)
	r = startWith(t, n.URL(), r.cfg)
	// A server that could not write its index before it was stopped reads the whole block and cuts it off at the damage. Then the
	// issuer makes the marks anew from the stream.
	until(t, "ErrUnavailable, or all are there again", func() bool {
		got, err := issuer.ReadMany(t.Context(), r.Issuer, direct, subject, client, issuer.UserKey(u.Sub))
		return errors.Is(err, issuer.ErrUnavailable) || err == nil && slices.Equal(got, []bool{true, true, true})
	})
}

// damage flips a bit of the last stored version of a record, in that word of it.
func damage(t *testing.T, n *natstest.Server, subject, word string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(n.Dir(), "jetstream", "*", "streams", "KV_QUASH_ISSUER", "msgs", "*.blk"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v, want one block", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(b, []byte(subject))
	if at < 0 {
		t.Fatal("no such record in the block")
	}
	in := bytes.Index(b[at:], []byte(word))
	if in < 0 {
		t.Fatal("no such word in the record")
	}
	b[at+in] ^= 1
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestReadManyMustBeAllowed: an issuer with the permissions of an older configuration says at its start what it lacks, although
// nobody tells it to hurry.
func TestReadManyMustBeAllowed(t *testing.T) {
	t.Parallel()
	n := natstest.Start(t, natstest.WithConfig(func(o *natsserver.Options) {
		o.Users = []*natsserver.User{{Username: "old", Password: "x", Permissions: &natsserver.Permissions{
			Publish: &natsserver.SubjectPermission{Deny: []string{"$JS.API.DIRECT.GET.KV_QUASH_ISSUER"}}}}}
	}))
	nc, err := events.Connect(events.ConnectConfig{URL: n.URL(), Name: "x", User: "old", Password: "x"})
	if err != nil {
		t.Fatal(err)
	}
	natstest.Connected(t, nc)
	defer nc.Close()
	_, err = issuer.New(t.Context(), issuer.Config{Issuer: iss, Audience: []string{"a"}, KeysDir: filepath.Join(t.TempDir(), "keys"),
		EnsureStream: true, Conn: nc, Node: "n"})
	if !errors.Is(err, issuer.ErrUnavailable) || !strings.Contains(err.Error(), "$JS.API.DIRECT.GET.KV_QUASH_ISSUER") {
		t.Errorf("got %v, want ErrUnavailable that names the permission", err)
	}
}
