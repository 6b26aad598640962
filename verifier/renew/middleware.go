package renew

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quash-auth/quash/verifier"
)

// Middleware goes inside the verifier's: v.Middleware(config)(renewer.Middleware(handler)). It only ever adds headers: a
// renewal that fails or takes longer than Wait changes nothing about the request.
//
// Renewed are tokens of sessions (sid) that came in the Authorization header. One-time tokens and tokens without sid or iat
// never are, nor is one that has expired and is accepted for the leeway only. Upgraded connections are left alone.
func (r *Renewer) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if access, expires := r.next(req); access != "" {
			w = announce(w, req, access, expires)
		}
		next.ServeHTTP(w, req)
	})
}

// next returns the token to announce, or nothing.
func (r *Renewer) next(req *http.Request) (access string, expires int64) {
	t, ok := verifier.FromContext(req.Context())
	now := r.c.Now()
	if !ok || !r.due(t, now) || len(req.Header["Upgrade"]) > 0 {
		return "", 0
	}
	raw, err := verifier.BearerToken(req, "")
	if err != nil {
		return "", 0 // it came in a cookie
	}
	x := r.exchange(t, raw, now)
	if x == nil {
		return "", 0
	}
	select {
	case <-x.done: // ready: no timer needed
	default:
		limit := time.NewTimer(r.c.Wait)
		defer limit.Stop()
		select {
		case <-x.done:
		case <-limit.C:
			r.late.Add(1)
			return "", 0
		case <-req.Context().Done():
			return "", 0
		}
	}
	left := int64(x.expires.Sub(r.c.Now()) / time.Second)
	if x.access == "" || left <= 0 {
		return "", 0
	}
	return x.access, left
}

func (r *Renewer) due(t *verifier.Token, now time.Time) bool {
	if t.Issuer != r.c.Issuer || t.Once || t.Session == "" || t.ID == "" || t.IssuedAt.IsZero() || !now.Before(t.Expires) {
		return false
	}
	life := t.Expires.Sub(t.IssuedAt)
	early := life / 3
	if r.c.Early > 0 {
		early = min(r.c.Early, life/2)
	}
	return t.Expires.Sub(now) < early
}

// writer keeps an answer that carries a token out of caches, whatever the handler says.
type writer struct {
	http.ResponseWriter
	begun bool
}

func announce(w http.ResponseWriter, req *http.Request, access string, expires int64) *writer {
	h := w.Header()
	h.Set(HeaderToken, access)
	h.Set(HeaderExpires, strconv.FormatInt(expires, 10))
	if req.Header.Get("Origin") != "" {
		h.Add("Access-Control-Expose-Headers", HeaderToken+", "+HeaderExpires)
	}
	return &writer{ResponseWriter: w}
}

func (w *writer) WriteHeader(status int) {
	if !w.begun && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.begin()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(b []byte) (int, error) {
	if !w.begun {
		w.begin()
	}
	return w.ResponseWriter.Write(b)
}

func (w *writer) begin() {
	w.begun = true
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if !slices.ContainsFunc(h["Vary"], func(v string) bool { return strings.Contains(strings.ToLower(v), "authorization") || v == "*" }) {
		h.Add("Vary", "Authorization")
	}
}

// Flush is for handlers that stream.
func (w *writer) Flush() {
	if !w.begun {
		w.begin()
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush() // without one nothing was promised
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
