package verifier_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
	"github.com/quash-auth/quash/verifier/verifiertest"
)

// A service makes one Verifier, runs it for as long as it lives, and asks Ready before it takes traffic.
func ExampleNew() {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()

	// The connection is made when the server is there; until then nothing is accepted. (No server has port 1.)
	nc, err := events.Connect(events.ConnectConfig{URL: "nats://127.0.0.1:1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	v, err := verifier.New(verifier.Config{
		NATS: nc,
		Issuers: []verifier.Issuer{{
			Issuer:   "http://127.0.0.1:1",
			Audience: []string{"https://api.example.com"},
			JWKSURL:  "http://127.0.0.1:1/.well-known/jwks.json",
		}},
		MaxStaleness: 30 * time.Second,
		OnStale:      verifier.Deny,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("ready:", v.Ready() == nil)
	fmt.Println("run:", v.Run(ctx)) // usually an actor of oklog/run, or a goroutine that main waits for
	// Output:
	// ready: false
	// run: <nil>
}

func ExampleNew_mistake() {
	_, err := verifier.New(verifier.Config{
		Feed:    newFeed(time.Now),
		Issuers: []verifier.Issuer{{Issuer: "https://id.example.com", JWKSURL: "https://id.example.com/jwks"}},
	})
	fmt.Println(errors.Is(err, verifier.ErrConfig), err)
	// Output: true verifier: wrong configuration: Issuers[0].Audience is empty: without it tokens for any other API would be accepted
}

func ExampleVerifier_Verify() {
	script := new(verifiertest.Script)
	defer script.Close()
	issuer := verifiertest.New(script)
	v := issuer.Verifier()

	token, err := v.Verify(context.Background(), issuer.Mint(verifiertest.Subject("alice"), verifiertest.Scope("orders:read")))
	fmt.Println(token.Subject, token.HasScope("orders:read"), token.HasScope("orders:write"), err)

	_, err = v.Verify(context.Background(), "not a token")
	switch {
	case errors.Is(err, verifier.ErrStale):
		fmt.Println("503: we cannot judge now")
	case errors.Is(err, verifier.ErrInvalid):
		fmt.Println("401:", err)
	}
	// Output:
	// alice true false <nil>
	// 401: verifier: invalid token: malformed: not three segments
}

// A stream to a client ends when its token does.
func ExampleVerifier_Watch() {
	script := new(verifiertest.Script)
	defer script.Close()
	issuer := verifiertest.New(script)
	v := issuer.Verifier()
	token, err := v.Verify(context.Background(), issuer.Mint(verifiertest.Session("s-17")))
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx, cancel := v.Watch(context.Background(), token)
	defer cancel()
	issuer.Revoke(events.Revocation{Scope: events.Session, Key: "s-17"})
	<-ctx.Done()
	fmt.Println(errors.Is(context.Cause(ctx), verifier.ErrRevoked))
	// Output: true
}

// A service that already verifies its tokens asks the denylist alone.
func ExampleVerifier_Revoked() {
	script := new(verifiertest.Script)
	defer script.Close()
	issuer := verifiertest.New(script)
	claims := verifier.Claims{Issuer: verifiertest.IssuerURL, ID: "t-1", Session: "s-17", Subject: "alice", IssuedAt: time.Now()}

	fmt.Println(issuer.Verifier().Revoked(claims))
	issuer.Revoke(events.Revocation{Scope: events.Session, Key: "s-17"})
	fmt.Println(issuer.Verifier().Revoked(claims))
	// Output:
	// <nil>
	// verifier: invalid token: revoked by session, statement 1
}

// A link of a mail works once, at whichever node it arrives first. Where there is an http.Handler, HTTPConfig.OneTime does this.
func ExampleVerifier_Redeem() {
	script := new(verifiertest.Script)
	defer script.Close()
	issuer := verifiertest.New(script)
	v := issuer.Verifier()
	link := issuer.Mint(verifiertest.Once(), verifiertest.Subject("alice"), verifiertest.Scope("password:reset")) // Issuer.MintOnce, or POST /admin/one-time

	_, err := v.Verify(context.Background(), link) // it opens nothing else
	fmt.Println("as an access token:", err)

	for range 2 {
		token, err := v.Redeem(context.Background(), link)
		switch {
		case err == nil && token.HasScope("password:reset"):
			fmt.Println("a new password for", token.Subject)
		case errors.Is(err, verifier.ErrUsed):
			fmt.Println("401:", err)
		case errors.Is(err, verifier.ErrStale):
			fmt.Println("503: NATS did not answer, try again")
		}
	}
	// Output:
	// as an access token: verifier: invalid token: a one-time token, or one where it belongs: it is good for one request, which only Redeem and HTTPConfig.OneTime accept
	// a new password for alice
	// 401: verifier: invalid token: a one-time token that was used
}
