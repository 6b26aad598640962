package refresh_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/quash-auth/quash/verifier/refresh"
)

// A session is revoked: the client tries one refresh, and learns that it is signed out.
func ExampleTransport() {
	revoked := false
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer old" || revoked {
			w.Header().Set("WWW-Authenticate", `Bearer realm="api", error="invalid_token", error_description="The access token expired"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, "42 orders")
	}))
	defer api.Close()
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if revoked {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"invalid_grant"}`)
			return
		}
		fmt.Fprint(w, `{"access_token":"new","token_type":"Bearer","expires_in":600,"refresh_token":"second"}`)
	}))
	defer issuer.Close()

	transport, err := refresh.New(refresh.Config{
		Origins:  []string{api.URL},
		TokenURL: issuer.URL,
		ClientID: "shop-app",
		Tokens:   refresh.Tokens{Access: "old", Refresh: "first"}, // as stored at login
		Save:     func(refresh.Tokens) error { return nil },       // store them where the login did
		Base:     api.Client().Transport,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer transport.Wait()
	client := &http.Client{Transport: transport}

	resp, err := client.Get(api.URL) // the token has expired: renewed without anybody noticing
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Printf("%d %s\n", resp.StatusCode, body)

	revoked = true
	_, err = client.Get(api.URL)
	fmt.Println("signed out:", errors.Is(err, refresh.ErrSignedOut))
	// Output:
	// 200 42 orders
	// signed out: true
}
