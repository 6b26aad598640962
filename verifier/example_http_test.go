package verifier_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/quash-auth/quash/events"
	"github.com/quash-auth/quash/verifier"
	"github.com/quash-auth/quash/verifier/verifiertest"
)

// A service protects its handlers. The verifier of a real service comes from verifier.New and runs in the background.
func ExampleVerifier_Middleware() {
	script := new(verifiertest.Script)
	defer script.Close()
	issuer := verifiertest.New(script)
	v := issuer.Verifier()

	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := verifier.FromContext(r.Context())
		fmt.Fprintf(w, "orders of %s", token.Subject)
	})
	mux := http.NewServeMux()
	mux.Handle("GET /orders", v.Middleware(verifier.HTTPConfig{})(orders))
	mux.Handle("POST /orders", v.Middleware(verifier.HTTPConfig{Scope: []string{"orders:write"}})(orders))
	mux.Handle("GET /readyz", v.ReadyHandler())

	call := func(method, token string) {
		r := httptest.NewRequest(method, "/orders", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code == http.StatusOK {
			fmt.Println(w.Code, w.Body)
			return
		}
		fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	}
	token := issuer.Mint(verifiertest.Subject("alice"), verifiertest.Session("phone"))
	call("GET", token)
	call("POST", token)
	issuer.Revoke(events.Revocation{Scope: events.Session, Key: "phone"})
	call("GET", token)
	// Output:
	// 200 orders of alice
	// 403 Bearer realm="api", error="insufficient_scope", scope="orders:write"
	// 401 Bearer realm="api", error="invalid_token", error_description="The access token was revoked"
}

// Handlers use the same table for checks of their own.
func ExampleWriteError() {
	w := httptest.NewRecorder()
	verifier.WriteError(w, verifier.ErrScope, verifier.HTTPConfig{Realm: "shop", Scope: []string{"refunds"}})
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	fmt.Print(w.Body)
	// Output:
	// 403 Bearer realm="shop", error="insufficient_scope", scope="refunds"
	// {"type":"about:blank","title":"Forbidden","status":403,"detail":"The access token does not have the scope this resource needs"}
}
