package grpcauth_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/internal/leaks"
	"github.com/quash-auth/quash/verifier"
	"github.com/quash-auth/quash/verifier/grpcauth"
	"github.com/quash-auth/quash/verifier/verifiertest"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// chat is a stream in both directions with the shape of generated code: it returns what Recv returns.
var chat = grpc.ServiceDesc{
	ServiceName: "test.Chat", HandlerType: (*any)(nil),
	Streams: []grpc.StreamDesc{{StreamName: "Talk", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, stream grpc.ServerStream) error {
			for {
				m := new(emptypb.Empty)
				if err := stream.RecvMsg(m); err != nil {
					return err
				}
				if err := stream.SendMsg(m); err != nil {
					return err
				}
			}
		}}},
}

// dial starts a server with the health service and the chat behind the interceptors of c.
func dial(t *testing.T, v *verifier.Verifier, c grpcauth.Config) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer(grpc.UnaryInterceptor(c.Unary(v)), grpc.StreamInterceptor(c.Stream(v)))
	healthpb.RegisterHealthServer(server, health.NewServer())
	server.RegisterService(&chat, nil)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(listener); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		serving.Wait()
	})
	return conn
}

func with(t *testing.T, tokens ...string) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // nothing that works waits for it
	t.Cleanup(cancel)
	for _, token := range tokens {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", token)
	}
	return ctx
}

func TestUnary(t *testing.T) {
	iss := verifiertest.New(t)
	iss.Revoke(events.Revocation{Scope: events.Session, Key: "gone"})
	scoped := grpcauth.Config{Scope: func(method string) []string {
		if strings.HasSuffix(method, "/Check") {
			return []string{"health"}
		}
		return nil
	}}
	for _, tt := range []struct {
		name   string
		config grpcauth.Config
		tokens []string
		stale  bool
		want   codes.Code
		text   string
	}{
		{"good", grpcauth.Config{}, []string{"Bearer " + iss.Mint()}, false, codes.OK, ""},
		{"none", grpcauth.Config{}, nil, false, codes.Unauthenticated, "an access token is needed"},
		{"another scheme", grpcauth.Config{}, []string{"Basic YTpi"}, false, codes.Unauthenticated, "an access token is needed"},
		{"two", grpcauth.Config{}, []string{"Bearer a", "Bearer b"}, false, codes.Unauthenticated, "exactly one"},
		{"rubbish", grpcauth.Config{}, []string{"Bearer abc"}, false, codes.Unauthenticated, "invalid"},
		{"expired", grpcauth.Config{}, []string{"Bearer " + iss.Mint(verifiertest.Life(-time.Minute), verifiertest.Age(time.Hour/2))}, false, codes.Unauthenticated, "expired"},
		{"revoked", grpcauth.Config{}, []string{"Bearer " + iss.Mint(verifiertest.Session("gone"))}, false, codes.Unauthenticated, "the access token was revoked"},
		{"too little scope", scoped, []string{"Bearer " + iss.Mint(verifiertest.Scope("other"))}, false, codes.PermissionDenied, "scope"},
		{"enough scope", scoped, []string{"Bearer " + iss.Mint(verifiertest.Scope("other", "health"))}, false, codes.OK, ""},
		{"stale", grpcauth.Config{}, []string{"Bearer " + iss.Mint()}, true, codes.Unavailable, "may still be good"},
		{"stale and allowed", grpcauth.Config{MaxStaleness: time.Second, OnStale: verifier.Allow}, []string{"Bearer " + iss.Mint()}, true, codes.OK, ""},
		{"public", grpcauth.Config{Public: func(string) bool { return true }}, nil, false, codes.OK, ""},
		{"wrong config", grpcauth.Config{OnStale: verifier.Allow}, []string{"Bearer " + iss.Mint()}, false, codes.Internal, "mistake"},
		{"negative bound", grpcauth.Config{MaxStaleness: -1}, []string{"Bearer " + iss.Mint()}, false, codes.Internal, "mistake"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var told []error
			tt.config.OnError = func(_ context.Context, _ string, err error) { told = append(told, err) }
			client := healthpb.NewHealthClient(dial(t, iss.Verifier(), tt.config))
			iss.SetStale(tt.stale)
			defer iss.SetStale(false)
			_, err := client.Check(with(t, tt.tokens...), &healthpb.HealthCheckRequest{})
			if got := status.Convert(err); got.Code() != tt.want || !strings.Contains(got.Message(), tt.text) {
				t.Errorf("got %v %q, want %v %q", got.Code(), got.Message(), tt.want, tt.text)
			}
			if (len(told) == 1) != (tt.want != codes.OK) {
				t.Errorf("OnError was told %v", told)
			}
		})
	}
}

func TestTokenInContext(t *testing.T) {
	iss := verifiertest.New(t)
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+iss.Mint(verifiertest.Subject("alice"))))
	got, err := grpcauth.UnaryInterceptor(iss.Verifier())(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/a/b"}, func(ctx context.Context, _ any) (any, error) {
		token, ok := verifier.FromContext(ctx)
		if !ok {
			return nil, errors.New("no token")
		}
		return token.Subject, nil
	})
	if got != "alice" || err != nil {
		t.Errorf("got %v, %v; want alice", got, err)
	}
	_, err = grpcauth.UnaryInterceptor(nil)(ctx, nil, &grpc.UnaryServerInfo{}, nil)
	if status.Code(err) != codes.Internal {
		t.Errorf("without a verifier: got %v, want Internal", err)
	}
}

// watch opens a server stream of the health service, whose handler waits for its context.
func watch(t *testing.T, conn *grpc.ClientConn, token string) healthpb.Health_WatchClient {
	t.Helper()
	stream, err := healthpb.NewHealthClient(conn).Watch(with(t, token), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func TestPeerBug23_StreamEndsOnRevocation(t *testing.T) {
	iss := verifiertest.New(t)
	conn := dial(t, iss.Verifier(), grpcauth.Config{})
	stream := watch(t, conn, "Bearer "+iss.Mint(verifiertest.Session("phone")))
	other := watch(t, conn, "Bearer "+iss.Mint(verifiertest.Session("laptop")))
	for _, s := range []healthpb.Health_WatchClient{stream, other} {
		if m, err := s.Recv(); err != nil || m.Status != healthpb.HealthCheckResponse_SERVING {
			t.Fatalf("got %v, %v", m, err)
		}
	}
	// A stream in both directions: its handler sits in Recv, which gRPC alone would not wake.
	talk, err := conn.NewStream(with(t, "Bearer "+iss.Mint(verifiertest.Session("phone"))), &chat.Streams[0], "/test.Chat/Talk")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := errors.Join(talk.SendMsg(&emptypb.Empty{}), talk.RecvMsg(&emptypb.Empty{})); err != nil {
			t.Fatal(err)
		}
	}
	iss.Revoke(events.Revocation{Scope: events.Session, Key: "phone"})
	for name, err := range map[string]error{"server stream": second(stream.Recv()), "two-way stream": talk.RecvMsg(&emptypb.Empty{})} {
		if got := status.Convert(err); got.Code() != codes.Unauthenticated || got.Message() != "the access token was revoked" {
			t.Errorf("%s: got %v, want Unauthenticated", name, err)
		}
	}
	// The other session's stream lives until its client leaves.
	if err := other.CloseSend(); err != nil {
		t.Error(err)
	}
	if other.Context().Err() != nil {
		t.Error("another session's stream has ended too")
	}
}

func second(_ any, err error) error { return err }

func TestStreamRefusals(t *testing.T) {
	iss := verifiertest.New(t)
	conn := dial(t, iss.Verifier(), grpcauth.Config{})
	for name, tt := range map[string]struct {
		token string
		want  codes.Code
	}{"none": {"", codes.Unauthenticated}, "rubbish": {"Bearer abc", codes.Unauthenticated}} {
		if err := second(watch(t, conn, tt.token).Recv()); status.Code(err) != tt.want {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
	}
	iss.SetStale(true)
	if err := second(watch(t, conn, "Bearer "+iss.Mint()).Recv()); status.Code(err) != codes.Unavailable {
		t.Errorf("stale: got %v, want Unavailable", err)
	}
	iss.SetStale(false)
	// A two-way stream that its client ends is not a refusal.
	talk, err := conn.NewStream(with(t, "Bearer "+iss.Mint()), &chat.Streams[0], "/test.Chat/Talk")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(talk.SendMsg(&emptypb.Empty{}), talk.RecvMsg(&emptypb.Empty{}), talk.CloseSend()); err != nil {
		t.Fatal(err)
	}
	if err := talk.RecvMsg(&emptypb.Empty{}); status.Code(err) == codes.Unauthenticated {
		t.Errorf("a stream its client ended: got %v", err)
	}
}

func TestStreamEndsWhenTheViewIsTooOldOrTheTokenExpires(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*verifiertest.Issuer)
		want codes.Code
	}{
		{"stale", func(iss *verifiertest.Issuer) { iss.SetStale(true) }, codes.Unavailable},
		{"expired", func(iss *verifiertest.Issuer) { iss.Advance(time.Hour) }, codes.Unauthenticated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			iss := verifiertest.New(t)
			stream := watch(t, dial(t, iss.Verifier(), grpcauth.Config{}), "Bearer "+iss.Mint())
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
			tt.do(iss)
			if err := second(stream.Recv()); status.Code(err) != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}
