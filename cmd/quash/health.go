package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// healthCmd is "quash health": images without a shell have no curl.
type healthCmd struct {
	URL string `arg:"" optional:"" default:"http://127.0.0.1:8080/readyz" help:"What to ask (${default})."`
}

func (c *healthCmd) Run(p *program) error {
	if err := httpURL("URL", c.URL); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	a, err := newClient("", 1).get(ctx, c.URL, "")
	if err != nil {
		return fmt.Errorf("not ready: %w: start it, or name the address where it listens: quash health http://HOST:PORT/readyz", err)
	}
	if a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
		return fmt.Errorf("%s answered %d, as no issuer and no API node does: name its /readyz, like http://127.0.0.1:8080/readyz", c.URL, a.status)
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("not ready: %s answered %d: %s", c.URL, a.status, plain(a.text()))
	}
	_, err = fmt.Fprintln(p.stdout, "ready")
	return err
}
