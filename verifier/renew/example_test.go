package renew_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/quash-auth/quash/verifier"
	"github.com/quash-auth/quash/verifier/renew"
	"github.com/quash-auth/quash/verifier/verifiertest"
)

// An API renews for clients that can not. Whoever calls with a token that is nearly used up finds the next one in the answer.
func ExampleRenewer_Middleware() {
	script := new(verifiertest.Script)
	defer script.Close()
	test := verifiertest.New(script)
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { // quash issuer does this
		fmt.Fprintf(w, `{"access_token":%q,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":300}`, test.Mint())
	}))
	defer issuer.Close()

	v := test.Verifier() // from verifier.New
	renewer, err := renew.New(v, renew.Config{
		TokenURL:     issuer.URL + "/token",
		ClientID:     "orders-api", // with the grant token-exchange, and this API's audience in introspects
		ClientSecret: "from a file or the environment",
		Wait:         10 * time.Second, // leave it out: half a second is the default
		Now:          test.Now,         // leave it out
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer renewer.Close()
	orders := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "42 orders") })
	api := v.Middleware(verifier.HTTPConfig{})(renewer.Middleware(orders)) // in this order: only a good token is renewed

	call := func(token string) {
		r := httptest.NewRequest(http.MethodGet, "/orders", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		fmt.Printf("%s, a new token: %t, good for %q s\n", w.Body, w.Header().Get(renew.HeaderToken) != "", w.Header().Get(renew.HeaderExpires))
	}
	call(test.Mint())                                                                // fresh
	call(test.Mint(verifiertest.Age(4*time.Minute), verifiertest.Life(time.Minute))) // a fifth of its life is left
	// Output:
	// 42 orders, a new token: false, good for "" s
	// 42 orders, a new token: true, good for "300" s
}
