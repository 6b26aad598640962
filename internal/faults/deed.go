package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// deed is what a fault does to one of several, how it is undone, and how that one shows that it has hit it.
type deed[T any] struct {
	do, undo func(context.Context, *world, T) error
	felt     func(context.Context, *world, T) (string, error)
}

// on does it to everybody chosen.
func on[T any](choose func(context.Context, *world) ([]T, error), d deed[T]) begin {
	return func(ctx context.Context, w *world) (grip, error) {
		chosen, err := choose(ctx, w)
		if err != nil {
			return grip{}, err
		}
		if len(chosen) == 0 {
			return grip{}, errors.New("there is nobody to do it to")
		}
		back := func(ctx context.Context) error {
			var errs []error
			for _, one := range chosen {
				errs = append(errs, d.undo(ctx, w, one))
			}
			return errors.Join(errs...)
		}
		for _, one := range chosen {
			if err := d.do(ctx, w, one); err != nil {
				return grip{}, errors.Join(err, back(ctx))
			}
		}
		return grip{end: back, felt: func(ctx context.Context) (string, error) {
			texts, errs := make([]string, len(chosen)), make([]error, len(chosen))
			var all sync.WaitGroup
			for i, one := range chosen {
				all.Go(func() { texts[i], errs[i] = d.felt(ctx, w, one) })
			}
			all.Wait()
			return tidy(texts), errors.Join(errs...)
		}}, nil
	}
}

// tidy says once what several say.
func tidy(texts []string) string {
	count := map[string]int{}
	var each []string
	for _, t := range texts {
		if count[t]++; count[t] == 1 && t != "" {
			each = append(each, t)
		}
	}
	for i, t := range each {
		if n := count[t]; n > 1 {
			each[i] = fmt.Sprintf("%d: %s", n, t)
		}
	}
	return strings.Join(each, ", ")
}
