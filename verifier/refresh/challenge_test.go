package refresh_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/quash-auth/quash/verifier/refresh"
)

func TestChallenges(t *testing.T) {
	type params = map[string]string
	for _, tt := range []struct {
		lines []string
		want  []refresh.Challenge
	}{
		{nil, nil},
		{[]string{""}, nil},
		{[]string{`Bearer`}, []refresh.Challenge{{Scheme: "Bearer"}}},
		{[]string{`Bearer realm="a", error="invalid_token", error_description="x, y=z"`},
			[]refresh.Challenge{{Scheme: "Bearer", Params: params{"realm": "a", "error": "invalid_token", "error_description": "x, y=z"}}}},
		{[]string{`bearer ERROR=invalid_token,realm = "q\"uo\\te"`},
			[]refresh.Challenge{{Scheme: "bearer", Params: params{"error": "invalid_token", "realm": `q"uo\te`}}}},
		{[]string{`Negotiate, Basic realm="b", charset="UTF-8", Bearer error="x"`, `DPoP algs="ES256 RS256"`},
			[]refresh.Challenge{{Scheme: "Negotiate"}, {Scheme: "Basic", Params: params{"realm": "b", "charset": "UTF-8"}},
				{Scheme: "Bearer", Params: params{"error": "x"}}, {Scheme: "DPoP", Params: params{"algs": "ES256 RS256"}}}},
		{[]string{`Negotiate YII/+~==, Bearer error="x"`},
			[]refresh.Challenge{{Scheme: "Negotiate", Token68: "YII/+~=="}, {Scheme: "Bearer", Params: params{"error": "x"}}}},
		{[]string{`, ,Bearer , , a=1, ,`}, []refresh.Challenge{{Scheme: "Bearer", Params: params{"a": "1"}}}},
		{[]string{`Bearer realm="a" error="no commas"`}, []refresh.Challenge{{Scheme: "Bearer", Params: params{"realm": "a", "error": "no commas"}}}},
		{[]string{`Bearer a=1, a=2`}, []refresh.Challenge{{Scheme: "Bearer", Params: params{"a": "1"}}}},
		{[]string{`Bearer realm="error=\"invalid_token\""`}, []refresh.Challenge{{Scheme: "Bearer", Params: params{"realm": `error="invalid_token"`}}}},
		{[]string{`Bearer realm="not closed, error="invalid_token"`}, []refresh.Challenge{{Scheme: "Bearer", Params: params{"realm": "not closed, error="}}}},
		{[]string{`error="invalid_token"`}, nil},
		{[]string{`"quoted", Bearer error=x`}, []refresh.Challenge{{Scheme: "Bearer", Params: params{"error": "x"}}}},
		{[]string{"Bearer \xff\x00, Basic realm=x"}, []refresh.Challenge{{Scheme: "Bearer"}, {Scheme: "Basic", Params: params{"realm": "x"}}}},
	} {
		got := refresh.Challenges(http.Header{"Www-Authenticate": tt.lines})
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q:\n got %+v\nwant %+v", tt.lines, got, tt.want)
		}
	}
}

func FuzzChallenges(f *testing.F) {
	f.Add(`Bearer realm="api", error="invalid_token"`)
	f.Add(`Negotiate YII==, Basic realm="b" Bearer error = x`)
	f.Add(`Bearer realm="\`)
	f.Add(strings.Repeat("a,", 100))
	f.Fuzz(func(t *testing.T, line string) {
		list := refresh.Challenges(http.Header{"Www-Authenticate": {line}})
		if len(list) > 32 {
			t.Fatalf("%d challenges of one answer", len(list))
		}
		for _, c := range list {
			if c.Scheme == "" || !strings.Contains(line, c.Scheme) || !strings.Contains(line, c.Token68) {
				t.Errorf("%q: got %+v, which is not in it", line, c)
			}
			for name := range c.Params {
				if name == "" || name != strings.ToLower(name) || len(name) > len(line) {
					t.Errorf("%q: got a parameter named %q", line, name)
				}
			}
		}
		// What we read we read again from its plain form.
		for _, c := range list {
			var b strings.Builder
			b.WriteString(c.Scheme)
			sep := " "
			for name, value := range c.Params {
				b.WriteString(sep + name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`)
				sep = ", "
			}
			again := refresh.Challenges(http.Header{"Www-Authenticate": {b.String()}})
			if len(again) != 1 || again[0].Scheme != c.Scheme || !reflect.DeepEqual(again[0].Params, c.Params) {
				t.Errorf("%q from %q: got %+v, want %+v", b.String(), line, again, c)
			}
		}
	})
}
