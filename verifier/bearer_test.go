package verifier_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/quash-auth/quash/verifier"
)

func TestBearerToken(t *testing.T) {
	for _, tt := range []struct {
		name   string
		auth   []string
		cookie []string
		query  string
		form   url.Values
		want   string
		err    error
	}{
		{name: "good", auth: []string{"Bearer abc.def-_~+/123=="}, want: "abc.def-_~+/123=="},
		{name: "scheme in any case", auth: []string{"bEARER abc"}, want: "abc"},
		{name: "several blanks", auth: []string{"Bearer   abc"}, want: "abc"},
		{name: "nothing", err: verifier.ErrMissing},
		{name: "empty header", auth: []string{""}, err: verifier.ErrMissing},
		{name: "Basic", auth: []string{"Basic YTpi"}, err: verifier.ErrMissing},
		{name: "DPoP", auth: []string{"DPoP abc"}, err: verifier.ErrMissing},
		{name: "a longer scheme", auth: []string{"BearerX abc"}, err: verifier.ErrMissing},
		{name: "Bearer alone", auth: []string{"Bearer"}, err: verifier.ErrRequest},
		{name: "Bearer and blanks", auth: []string{"Bearer   "}, err: verifier.ErrRequest},
		{name: "a tab", auth: []string{"Bearer\tabc"}, err: verifier.ErrRequest},
		{name: "two words", auth: []string{"Bearer abc def"}, err: verifier.ErrRequest},
		{name: "two on a line", auth: []string{"Bearer abc, Bearer def"}, err: verifier.ErrRequest},
		{name: "quotes", auth: []string{`Bearer "abc"`}, err: verifier.ErrRequest},
		{name: "padding only", auth: []string{"Bearer ==="}, err: verifier.ErrRequest},
		{name: "padding inside", auth: []string{"Bearer a=b"}, err: verifier.ErrRequest},
		{name: "not ASCII", auth: []string{"Bearer ab\u00e9"}, err: verifier.ErrRequest},
		{name: "no blank", auth: []string{"Bearer=abc"}, err: verifier.ErrRequest},
		{name: "two headers", auth: []string{"Bearer abc", "Bearer abc"}, err: verifier.ErrRequest},
		{name: "two headers of other schemes", auth: []string{"Basic YTpi", "Negotiate abc"}, err: verifier.ErrRequest},
		{name: "query only", query: "access_token=abc", err: verifier.ErrMissing},
		{name: "query too", auth: []string{"Bearer abc"}, query: "x=1&access_token=abc", err: verifier.ErrRequest},
		{name: "query too, escaped", auth: []string{"Bearer abc"}, query: "access%5ftoken=abc", err: verifier.ErrRequest},
		{name: "query of other names", auth: []string{"Bearer abc"}, query: "my_access_token=a&access_tokens&%zz", want: "abc"},
		{name: "form too", auth: []string{"Bearer abc"}, form: url.Values{"access_token": {"abc"}}, err: verifier.ErrRequest},
		{name: "form only", form: url.Values{"access_token": {"abc"}}, err: verifier.ErrMissing},
		{name: "cookie", cookie: []string{"a=b; at=abc; c=d"}, want: "abc"},
		{name: "cookie in quotes", cookie: []string{`at="abc"`}, want: "abc"},
		{name: "cookie on a second line", cookie: []string{"a=b", "at=abc"}, want: "abc"},
		{name: "cookie of another name", cookie: []string{"AT=abc; xat=abc; at"}, err: verifier.ErrMissing},
		{name: "cleared cookie", cookie: []string{"at="}, err: verifier.ErrMissing},
		{name: "cookie twice", cookie: []string{"at=abc; at=abd"}, err: verifier.ErrRequest},
		{name: "cookie and header", auth: []string{"Bearer abc"}, cookie: []string{"at=abc"}, err: verifier.ErrRequest},
		{name: "cookie and Basic", auth: []string{"Basic YTpi"}, cookie: []string{"at=abc"}, want: "abc"},
		{name: "cookie with rubbish", cookie: []string{"at=a b"}, err: verifier.ErrRequest},
		{name: "cookie and query", cookie: []string{"at=abc"}, query: "access_token=abc", err: verifier.ErrRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &http.Request{Header: http.Header{}, URL: &url.URL{RawQuery: tt.query}, PostForm: tt.form}
			if tt.auth != nil {
				r.Header["Authorization"] = tt.auth
			}
			cookie := ""
			if tt.cookie != nil {
				r.Header["Cookie"], cookie = tt.cookie, "at"
			}
			got, err := verifier.BearerToken(r, cookie)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %q, %v; want %q, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestBearerTokenIgnoresCookiesUnlessAsked(t *testing.T) {
	r := &http.Request{Header: http.Header{"Cookie": {"at=abc"}}, URL: &url.URL{}}
	if got, err := verifier.BearerToken(r, ""); !errors.Is(err, verifier.ErrMissing) {
		t.Errorf("got %q, %v; want ErrMissing", got, err)
	}
}

func TestBearerTokenAllocatesNothing(t *testing.T) {
	r := &http.Request{Header: http.Header{"Authorization": {"Bearer " + strings.Repeat("abc.", 200)}}, URL: &url.URL{RawQuery: "a=b&c=d"}}
	r.Header["Cookie"] = []string{"a=b; c=d"}
	for _, cookie := range []string{"", "at"} {
		if n := testing.AllocsPerRun(100, func() {
			if _, err := verifier.BearerToken(r, cookie); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("cookie %q: %v allocations, want 0", cookie, n)
		}
	}
}

func FuzzBearer(f *testing.F) {
	f.Add("Bearer abc", "a=b; at=abc", "access_token=x")
	f.Add("bearer  a.b.c==", "at=\"x\"", "a=%61&b")
	f.Add("Basic x", ";;=;at", "access%5Ftoken")
	f.Add("Bearer\x00", "at", "&&&")
	f.Fuzz(func(t *testing.T, auth, cookie, query string) {
		r := &http.Request{Header: http.Header{"Authorization": {auth}, "Cookie": {cookie}}, URL: &url.URL{RawQuery: query}}
		got, err := verifier.BearerToken(r, "at")
		if err != nil {
			if got != "" || !errors.Is(err, verifier.ErrMissing) && !errors.Is(err, verifier.ErrRequest) {
				t.Fatalf("got %q, %v", got, err)
			}
			return
		}
		if got == "" || strings.Trim(got, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=") != "" {
			t.Fatalf("got %q, which is not a b64token", got)
		}
		fields := strings.Fields(auth)
		inHeader := len(fields) > 0 && strings.EqualFold(fields[0], "bearer") && strings.HasSuffix(strings.TrimRight(auth, " \t"), " "+got)
		if !inHeader && !strings.Contains(cookie, got) {
			t.Fatalf("got %q from neither header %q nor cookie %q", got, auth, cookie)
		}
		if values, err := url.ParseQuery(query); err == nil && values.Has("access_token") {
			t.Fatalf("accepted although the query %q has a token as well", query)
		}
	})
}
