package issuer

import (
	"context"
	"net/http"
)

// errands are what a request leaves to do when its client has the answer. They run in the request's own goroutine, so that
// a server that waits for its requests waits for them.
type errands []func(context.Context)

type errandsKey struct{}

// later runs f after the answer, or at once if there is no request.
func later(ctx context.Context, f func(context.Context)) {
	if es, ok := ctx.Value(errandsKey{}).(*errands); ok {
		*es = append(*es, f)
		return
	}
	f(ctx)
}

func (i *Issuer) runErrands(w http.ResponseWriter, ctx context.Context, es errands) {
	if len(es) == 0 {
		return
	}
	_ = http.NewResponseController(w).Flush() // if it cannot, the client waits a little longer
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), i.cfg.Timeout)
	defer cancel()
	for _, f := range es {
		f(ctx)
	}
}
