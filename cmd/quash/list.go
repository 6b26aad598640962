package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
)

// list prints what the issuer lists: a table, or one JSON object per line.
type list struct {
	out   io.Writer
	table *tabwriter.Writer // nil: JSON
	head  string
	none  string // in place of the head where there is no row; empty: the head stays
	rows  int
}

func newList(out io.Writer, asJSON bool, head ...string) *list {
	l := &list{out: out, head: strings.Join(head, "\t")}
	if !asJSON {
		l.table = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	}
	return l
}

// add prints v, whose row in the table has these cells.
func (l *list) add(v any, cells ...string) error {
	if l.table == nil {
		return writeJSON(l.out, v)
	}
	if l.rows++; l.rows == 1 {
		fmt.Fprintln(l.table, l.head)
	}
	_, err := fmt.Fprintln(l.table, strings.Join(cells, "\t"))
	return err
}

func (l *list) end() error {
	if l.table == nil {
		return nil
	}
	if l.rows == 0 {
		fmt.Fprintln(l.table, cmp.Or(l.none, l.head))
	}
	return l.table.Flush()
}

// eachPage asks for one page after the other.
func eachPage[P interface{ cursor() string }](ctx context.Context, a *adminClient, path string, query url.Values, show func(P) error) error {
	for query.Set("limit", "1000"); ; {
		var page P
		if err := a.do(ctx, http.MethodGet, path, query, nil, &page); err != nil {
			return err
		}
		if err := show(page); err != nil {
			return err
		}
		next := page.cursor()
		if next == "" {
			return nil
		}
		query.Set("cursor", next)
	}
}
