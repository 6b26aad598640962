// Package grpcauth protects gRPC servers with a verifier: the token is taken from the metadata key
// "authorization", as in HTTP, and the error table of HTTP has this form:
//
//	no token, a broken one, or one that is refused    Unauthenticated
//	too little scope                                  PermissionDenied
//	the verifier cannot judge (stale, no keys)        Unavailable
//	a mistake of the configuration                    Internal
//
// A client renews its token on Unauthenticated, and only waits on Unavailable. The reason of a revocation is never
// told to the bearer.
package grpcauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/quash-auth/quash/verifier"
)

// Config says how calls are protected. The zero value demands a token for every method and nothing more.
type Config struct {
	// Scope returns the scope values a method needs, all of them; the name is full, "/package.Service/Method".
	// Nil: none. It is called for each call and must be safe for concurrent use.
	Scope func(fullMethod string) []string
	// Public reports whether a method is open to calls without a token, which are then let through with none in
	// their context even if they carry one. Nil: no method is.
	Public func(fullMethod string) bool
	// MaxStaleness replaces the verifier's bound for these calls. Zero: the verifier's bound and policy.
	MaxStaleness time.Duration
	// OnStale is the policy that goes with MaxStaleness, and must be left alone without it.
	OnStale verifier.StalePolicy
	// OnError is told of every refusal, and of every stream that is ended. Nil: nobody is told.
	OnError func(ctx context.Context, fullMethod string, err error)
}

// UnaryInterceptor demands an accepted token for every unary call, and puts it into the context (verifier.FromContext).
func UnaryInterceptor(v *verifier.Verifier) grpc.UnaryServerInterceptor { return Config{}.Unary(v) }

// StreamInterceptor does the same for streams. The stream's context is one of Verifier.Watch: it ends when the token is
// revoked or expires, and the call fails; see Config.Stream.
func StreamInterceptor(v *verifier.Verifier) grpc.StreamServerInterceptor { return Config{}.Stream(v) }

// Unary is UnaryInterceptor with a configuration. A configuration that is wrong lets nothing through.
func (c Config) Unary(v *verifier.Verifier) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if c.open(info.FullMethod) {
			return handler(ctx, req)
		}
		token, err := c.admit(ctx, v, info.FullMethod)
		if err != nil {
			return nil, c.refuse(ctx, info.FullMethod, err)
		}
		return handler(verifier.NewContext(ctx, token), req)
	}
}

func (c Config) open(method string) bool { return c.Public != nil && c.Public(method) }

// admit returns the token of a call that may pass.
func (c Config) admit(ctx context.Context, v *verifier.Verifier, method string) (*verifier.Token, error) {
	switch {
	case v == nil:
		return nil, fmt.Errorf("the interceptor has no verifier: %w", verifier.ErrConfig)
	case c.MaxStaleness < 0, c.OnStale > verifier.Allow, c.OnStale != verifier.Deny && c.MaxStaleness == 0:
		return nil, fmt.Errorf("Config.MaxStaleness and OnStale do not fit: %w", verifier.ErrConfig)
	}
	md, _ := metadata.FromIncomingContext(ctx)
	raw, err := verifier.BearerToken(&http.Request{Header: http.Header{"Authorization": md["authorization"]}}, "")
	if err != nil {
		return nil, err
	}
	token, err := v.VerifyWithin(ctx, raw, c.rule())
	if err != nil || c.Scope == nil {
		return token, err
	}
	for _, s := range c.Scope(method) {
		if !token.HasScope(s) {
			return nil, fmt.Errorf("%w: %s", verifier.ErrScope, s)
		}
	}
	return token, nil
}

// rule is the freshness rule of these calls; without MaxStaleness it is not set, and the verifier's counts.
func (c Config) rule() verifier.FreshnessRule {
	return verifier.FreshnessRule{MaxStaleness: c.MaxStaleness, OnStale: c.OnStale, Set: c.MaxStaleness > 0}
}

func (c Config) refuse(ctx context.Context, method string, err error) error {
	if c.OnError != nil {
		c.OnError(ctx, method, err)
	}
	return statusOf(err)
}

// statusOf is the one table from errors to codes. The first line that fits decides; what is our own fault comes first.
// The texts are fixed: nothing of the token, and not the reason of a revocation.
func statusOf(err error) error {
	is := func(target error) bool { return errors.Is(err, target) }
	switch {
	case is(verifier.ErrConfig):
		return status.Error(codes.Internal, "the server cannot check tokens because of a mistake of its own")
	case is(verifier.ErrStale):
		return status.Error(codes.Unavailable, "tokens cannot be judged at the moment; the token may still be good")
	case is(verifier.ErrScope):
		return status.Error(codes.PermissionDenied, "the access token does not have the scope this method needs")
	case is(verifier.ErrMissing):
		return status.Error(codes.Unauthenticated, "an access token is needed")
	case is(verifier.ErrRequest):
		return status.Error(codes.Unauthenticated, "exactly one access token in one authorization entry is needed")
	case is(verifier.ErrRevoked):
		return status.Error(codes.Unauthenticated, "the access token was revoked")
	case is(verifier.ErrUsed):
		return status.Error(codes.Unauthenticated, "the access token was already used")
	case is(verifier.ErrExpired):
		return status.Error(codes.Unauthenticated, "the access token expired")
	case is(verifier.ErrInvalid):
		return status.Error(codes.Unauthenticated, "the access token is invalid")
	case is(context.Canceled), is(context.DeadlineExceeded):
		return status.Error(codes.Unavailable, "there was no time to judge the token")
	default:
		return status.Error(codes.Internal, "the server cannot check tokens because of a mistake of its own")
	}
}
