package grpcauth_test

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier/grpcauth"
	"github.com/quash-auth/quash/verifier/verifiertest"
)

func ExampleUnaryInterceptor() {
	script := new(verifiertest.Script)
	defer script.Close()
	issuer := verifiertest.New(script)

	server := grpc.NewServer(
		grpc.UnaryInterceptor(grpcauth.UnaryInterceptor(issuer.Verifier())),
		grpc.StreamInterceptor(grpcauth.StreamInterceptor(issuer.Verifier())),
	)
	healthpb.RegisterHealthServer(server, health.NewServer()) // any service
	listener := bufconn.Listen(1 << 16)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() { server.Stop(); <-served }()

	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	call := func(token string) {
		ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+token)
		_, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
		fmt.Println(status.Code(err))
	}
	phone, laptop := issuer.Mint(verifiertest.Session("phone")), issuer.Mint(verifiertest.Session("laptop"))
	call(phone)
	issuer.Revoke(events.Revocation{Scope: events.Session, Key: "phone"})
	call(phone)
	issuer.SetStale(true)
	call(laptop)
	// Output:
	// OK
	// Unauthenticated
	// Unavailable
}
