package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// demoPatience is what one request of the demo waits in all. It is ten times what our issuer asks for.
const demoPatience = 20 * time.Second

// waits asks again where the answer is 503 with Retry-After, as a client should, and keeps note of it. Nil asks once.
type waits struct {
	most time.Duration // waited for one request in all
	away func()        // called before each wait, if not nil

	mu    sync.Mutex
	notes []string
}

// ask tries until the answer is another one than "not now". An error: the patience ended, or the answer does not say for how
// long it holds.
func (w *waits) ask(ctx context.Context, what string, try func() (answer, error)) (answer, error) {
	if w == nil {
		return try()
	}
	var waited time.Duration
	for times := 1; ; times++ {
		a, err := try()
		if err != nil || a.status != http.StatusServiceUnavailable {
			if waited > 0 {
				w.note("%s answered 503 %s: asked again, after %v in all", what, often(times-1), waited)
			}
			return a, err
		}
		pause, ok := a.retryAfter()
		switch {
		case !ok:
			return a, fmt.Errorf("%s answered 503 and does not say when to ask again (no Retry-After): %s", what, a.text())
		case waited+pause > w.most:
			return a, fmt.Errorf("%s answered 503 %s and asks to wait %v more, longer than the %v that the demo waits: %s", what, often(times), pause, w.most, a.text())
		}
		if w.away != nil {
			w.away()
		}
		if err := sleepUntil(ctx, time.Now().Add(pause)); err != nil {
			return a, fmt.Errorf("%s answered 503 %s: %w", what, often(times), err)
		}
		waited += pause
	}
}

func often(times int) string {
	if times == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", times)
}

func (w *waits) note(format string, a ...any) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, fmt.Sprintf(format, a...))
}

// take gives what was waited for since the last take.
func (w *waits) take() []string {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	notes := w.notes
	w.notes = nil
	return notes
}

// retryAfter is how long a 503 asks to wait, a tenth of a second at least; false if it does not say.
func (a answer) retryAfter() (time.Duration, bool) {
	s, err := strconv.ParseUint(a.header.Get("Retry-After"), 10, 31)
	return max(time.Duration(s)*time.Second, 100*time.Millisecond), err == nil
}
