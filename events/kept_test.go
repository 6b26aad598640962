package events

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestKept(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []string
		want   time.Duration
	}{
		{nil, 0}, {[]string{"3600"}, time.Hour}, {[]string{"1h"}, time.Hour}, {[]string{"1999ms"}, time.Second}, {[]string{"never"}, 0},
		{[]string{"-1"}, 0}, {[]string{"-1s"}, 0}, {[]string{"0"}, 0}, {[]string{"99999999999999999999"}, 0}, {[]string{"1", "3600"}, 0},
	} {
		if got := kept(nats.Header{"Nats-TTL": c.values}); got != c.want {
			t.Errorf("%q: got %v, want %v", c.values, got, c.want)
		}
	}
}
