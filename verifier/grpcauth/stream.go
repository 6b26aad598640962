package grpcauth

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	"github.com/quash-auth/quash/verifier"
)

// Stream is StreamInterceptor with a configuration. A configuration that is wrong lets nothing through.
//
// When the token is revoked or expires, or the view of the revocations is too old, the stream's context ends with that
// cause, and RecvMsg and SendMsg fail. A handler that waits in Recv is woken; the message it waited with must not be used any more, as after every
// error. A handler that waits for something else must watch its context. Whatever the handler returns
// then, the client sees Unauthenticated, or Unavailable if it is the view that is too old.
func (c Config) Stream(v *verifier.Verifier) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if c.open(info.FullMethod) {
			return handler(srv, stream)
		}
		ctx := stream.Context()
		token, err := c.admit(ctx, v, info.FullMethod)
		if err != nil {
			return c.refuse(ctx, info.FullMethod, err)
		}
		watched, cancel := v.WatchWithin(verifier.NewContext(ctx, token), token, c.rule())
		defer cancel()
		s := &watchedStream{ServerStream: stream, ctx: watched, many: info.IsClientStream}
		err = handler(srv, s)
		if cause := s.ended(); cause != nil {
			return c.refuse(ctx, info.FullMethod, cause)
		}
		return err
	}
}

// watchedStream is a stream that fails when its token does. Like every server stream it lives as
// long as one call, and so does the context in it.
type watchedStream struct {
	grpc.ServerStream
	ctx  context.Context
	many bool // the client may send more than one message
}

func (s *watchedStream) Context() context.Context { return s.ctx }

// ended returns why the token stopped being good, or nil.
func (s *watchedStream) ended() error {
	if s.ctx.Err() == nil {
		return nil
	}
	cause := context.Cause(s.ctx)
	if s.ServerStream.Context().Err() != nil && !errors.Is(cause, verifier.ErrInvalid) {
		return nil // the call itself ended
	}
	return cause
}

func (s *watchedStream) SendMsg(m any) error {
	if err := s.ended(); err != nil {
		return statusOf(err)
	}
	return s.ServerStream.SendMsg(m)
}

func (s *watchedStream) RecvMsg(m any) error {
	if err := s.ended(); err != nil {
		return statusOf(err)
	}
	if !s.many {
		return s.ServerStream.RecvMsg(m) // there already: the call began with it
	}
	received := make(chan error, 1)
	// gRPC can only be woken by the end of the call. So when the token fails first, this goroutine is left to
	// the call: it ends as soon as the handler has returned, which is what the error makes it do.
	go func() { received <- s.ServerStream.RecvMsg(m) }()
	select {
	case err := <-received:
		return err
	case <-s.ctx.Done():
	}
	if err := s.ended(); err != nil {
		return statusOf(err)
	}
	return <-received // the call itself ended, and RecvMsg says how
}
