package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/quash-auth/quash/internal/strictjson"
)

func TestObjectHandsOutMembersInOrder(t *testing.T) {
	t.Parallel()
	var got []string
	err := strictjson.Object([]byte(" {\t\"a\" : 1 ,\r\n\"\\u00e9\\ud83d\\udc0e\\n\":{ \"x\":[] } , \"\":\"q\\\"\"} \n"), func(name string, value []byte) error {
		got = append(got, name+"="+string(value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a=1", "é🐎\n={ \"x\":[] }", `="q\""`}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestObjectStopsAtTheCallersError(t *testing.T) {
	t.Parallel()
	stop, n := errors.New("stop"), 0
	err := strictjson.Object([]byte(`{"a":1,"b":2}`), func(string, []byte) error { n++; return stop })
	if err != stop || n != 1 {
		t.Errorf("got %v after %d calls, want the callback's error after 1", err, n)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	nest := func(n int) string { return strings.Repeat(`{"a":`, n-1) + `{}` + strings.Repeat("}", n-1) }
	if err := strictjson.Valid([]byte(nest(strictjson.MaxDepth))); err != nil {
		t.Errorf("%d objects deep: %v", strictjson.MaxDepth, err)
	}
	for text, want := range map[string]error{
		``: strictjson.ErrSyntax, `{`: strictjson.ErrSyntax, `{"a"`: strictjson.ErrSyntax, `{"a":`: strictjson.ErrSyntax, `{"a":1`: strictjson.ErrSyntax,
		`{"a":1,}`: strictjson.ErrSyntax, `{,}`: strictjson.ErrSyntax, `{a:1}`: strictjson.ErrSyntax, `{'a':1}`: strictjson.ErrSyntax, `{"a" 1}`: strictjson.ErrSyntax,
		`{"a":1}x`: strictjson.ErrSyntax, `{"a":1}{}`: strictjson.ErrSyntax, "\ufeff{}": strictjson.ErrSyntax, `{"a":1 "b":2}`: strictjson.ErrSyntax,
		`{"a":[1,]}`: strictjson.ErrSyntax, `{"a":[}`: strictjson.ErrSyntax, `{"a":[1 2]}`: strictjson.ErrSyntax, `{"a":[1`: strictjson.ErrSyntax,
		`{"a":01}`: strictjson.ErrSyntax, `{"a":+1}`: strictjson.ErrSyntax, `{"a":.5}`: strictjson.ErrSyntax, `{"a":1.}`: strictjson.ErrSyntax, `{"a":1e}`: strictjson.ErrSyntax, `{"a":-}`: strictjson.ErrSyntax, `{"a":0x1}`: strictjson.ErrSyntax,
		`{"a":NaN}`: strictjson.ErrSyntax, `{"a":True}`: strictjson.ErrSyntax, `{"a":nul}`: strictjson.ErrSyntax, `{"a":tru`: strictjson.ErrSyntax,
		`{"a":"` + "\x00" + `"}`: strictjson.ErrSyntax, `{"a":"` + "\t" + `"}`: strictjson.ErrSyntax, `{"a":"\x41"}`: strictjson.ErrSyntax, `{"a":"\u12"}`: strictjson.ErrSyntax, `{"a":"\`: strictjson.ErrSyntax, `{"a":"abc`: strictjson.ErrSyntax,
		`{"a":"\ud800"}`: strictjson.ErrSyntax, `{"a":"\ud800\u0041"}`: strictjson.ErrSyntax, `{"a":"\udc00\ud800"}`: strictjson.ErrSyntax,
		"{\"a\":\"\xff\"}": strictjson.ErrSyntax, "{\"\xc3\":1}": strictjson.ErrSyntax, "{\"a\":\"\xed\xa0\x80\"}": strictjson.ErrSyntax, "{\"a\":\"\xc0\x80\"}": strictjson.ErrSyntax,
		`{"a":1,"a":2}`: strictjson.ErrDuplicate, `{"a":1,"\u0061":2}`: strictjson.ErrDuplicate, `{"x":{"y":[{"b":1,"b":1}]}}`: strictjson.ErrDuplicate, `{"":1,"":2}`: strictjson.ErrDuplicate,
		nest(33): strictjson.ErrDepth, `{"a":` + strings.Repeat("[", 33): strictjson.ErrDepth, `{"a":` + strings.Repeat("[", 1<<20): strictjson.ErrDepth,
		`[]`: strictjson.ErrType, `"a"`: strictjson.ErrType, `null`: strictjson.ErrType,
	} {
		called := false
		err := strictjson.Object([]byte(text), func(string, []byte) error { called = true; return nil })
		var detail *strictjson.Error
		if !errors.Is(err, want) || !errors.As(err, &detail) {
			t.Errorf("%.40q: got %v, want an *Error that wraps %v", text, err, want)
		}
		if called {
			t.Errorf("%.40q: a member of a bad document was handed out", text)
		}
	}
}

// A name must be found again however many others there are, and other spellings
// of a name are other names.
func TestDuplicatesAmongMany(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 20, 31, 32, 33, 64, 65, 1000} {
		var b strings.Builder
		b.WriteString(`{"JTI":0,"Jti":0,"jti ":0`)
		for i := range n {
			fmt.Fprintf(&b, `,"m%d":{"m0":1}`, i)
		}
		if err := strictjson.Valid([]byte(b.String() + `,"jti":1}`)); err != nil {
			t.Errorf("%d members: %v", n, err)
		}
		for _, dup := range []string{`"m0"`, fmt.Sprintf(`"m%d"`, n-1), `"\u006d0"`, `"JTI"`} {
			if err := strictjson.Valid([]byte(b.String() + `,` + dup + `:1}`)); !errors.Is(err, strictjson.ErrDuplicate) {
				t.Errorf("%d members and %s again: got %v, want ErrDuplicate", n, dup, err)
			}
		}
	}
}

func TestNumericDate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		`0`: 0, `-0`: 0, `1700000000`: 1700000000, ` 1700000000 `: 1700000000, `1700000000.0`: 1700000000, `1700000000.999999999999`: 1700000000,
		`1.7e9`: 1700000000, `1.7E+9`: 1700000000, `17000000005e-1`: 1700000000, `0.5`: 0, `-0.5`: -1, `-1.0`: -1, `-1.5`: -2, `-15e-1`: -2, `5e-400`: 0, `-5e-400`: -1,
		`0e999999999999`: 0, `0.000e+999999`: 0, `253402300799`: 253402300799, `253402300799.5`: 253402300799, `-62135596800`: -62135596800, `0.0000000017e18`: 1700000000,
	} {
		if got, err := strictjson.NumericDate([]byte(text)); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]error{
		`253402300800`: strictjson.ErrRange, `1700000000000`: strictjson.ErrRange, `-62135596801`: strictjson.ErrRange, `1e400`: strictjson.ErrRange, `-1e400`: strictjson.ErrRange, `1e999999999999`: strictjson.ErrRange,
		`99999999999999999999999`: strictjson.ErrRange, strings.Repeat("9", 10000): strictjson.ErrRange, `9223372036854775808`: strictjson.ErrRange,
		`"1700000000"`: strictjson.ErrType, `null`: strictjson.ErrType, `true`: strictjson.ErrType, ``: strictjson.ErrType, `01`: strictjson.ErrSyntax, `1 2`: strictjson.ErrSyntax, `1.`: strictjson.ErrSyntax, `-`: strictjson.ErrSyntax, `1e5x`: strictjson.ErrSyntax,
	} {
		if got, err := strictjson.NumericDate([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%.40s: got %d, %v, want %v", text, got, err, want)
		}
	}
}

func TestIntegers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{`0`: 0, `-1`: -1, `9223372036854775807`: 1<<63 - 1, `-9223372036854775808`: -1 << 63, ` 12`: 12} {
		if got, err := strictjson.Int64([]byte(text)); err != nil || got != want {
			t.Errorf("Int64(%s): got %d, %v", text, got, err)
		}
	}
	for text, want := range map[string]error{`1.0`: strictjson.ErrType, `1e3`: strictjson.ErrType, `"1"`: strictjson.ErrType, `null`: strictjson.ErrType, ``: strictjson.ErrType, `007`: strictjson.ErrSyntax, `1,`: strictjson.ErrSyntax, `9223372036854775808`: strictjson.ErrRange} {
		if _, err := strictjson.Int64([]byte(text)); !errors.Is(err, want) {
			t.Errorf("Int64(%s): got %v, want %v", text, err, want)
		}
	}
	if got, err := strictjson.Uint64([]byte(`18446744073709551615`)); err != nil || got != 1<<64-1 {
		t.Errorf("Uint64: got %d, %v", got, err)
	}
	for _, text := range []string{`-1`, `18446744073709551616`, `-0`} {
		if got, err := strictjson.Uint64([]byte(text)); !errors.Is(err, strictjson.ErrRange) {
			t.Errorf("Uint64(%s): got %d, %v, want ErrRange", text, got, err)
		}
	}
}

func TestStringsAndBools(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{`"a"`: {"a"}, `[]`: {}, `["a"]`: {"a"}, ` [ "a" , "\u0062\/\b\f\n\r\t\\\"" ] `: {"a", "b/\b\f\n\r\t\\\""}} {
		if got, err := strictjson.Strings([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Strings(%s): got %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{``, `1`, `null`, `{}`, `["a",1]`, `["a",null]`, `[["a"]]`, `["a"`, `["a",]`, `"a" "b"`, `["a"]x`} {
		if got, err := strictjson.Strings([]byte(text)); err == nil {
			t.Errorf("Strings(%s): got %q, want an error", text, got)
		}
	}
	for text, want := range map[string]bool{`true`: true, ` false `: false} {
		if got, err := strictjson.Bool([]byte(text)); err != nil || got != want {
			t.Errorf("Bool(%s): got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{``, `1`, `"true"`, `null`, `TRUE`} {
		if _, err := strictjson.Bool([]byte(text)); !errors.Is(err, strictjson.ErrType) {
			t.Errorf("Bool(%s): got %v, want ErrType", text, err)
		}
	}
}

func TestAppendStringIsReadBack(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for r := rune(0); r < 0x300; r++ {
		all.WriteRune(r)
	}
	all.WriteString("\u2028🐎")
	for _, s := range []string{"", "plain", all.String()} {
		data := strictjson.AppendString(nil, s)
		if got, err := strictjson.String(data); err != nil || got != s {
			t.Errorf("got %q, %v, want %q", got, err, s)
		}
		var std string
		if err := json.Unmarshal(data, &std); err != nil || std != s {
			t.Errorf("encoding/json: got %q, %v, want %q", std, err, s)
		}
	}
}

func TestMembersDoesNotAllocate(t *testing.T) { // not parallel: it counts allocations
	data := []byte(`{"v":1,"iss":"https://issuer.example","aud":["a","b"],"act":{"sub":"x"},"exp":1700000000}`)
	var buf [8]strictjson.Member
	if n := testing.AllocsPerRun(100, func() {
		if _, err := strictjson.Members(data, buf[:0]); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

// FuzzObject compares with encoding/json: whatever we accept it accepts and reads
// the same; what only we refuse is one of the things we mean to refuse.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1}`, `{"a":[1,-2.5e+3,"x",true,false,null,{"b":{}}]}`, `{"a":1,"a":2}`, `{"\u0061\ud83d\udc0e":"\\\"\/\b\f\n\r\t"}`, `[1,[2]]`, ` "x" `, `1e400`, `{"é":"` + "\xff" + `"}`, `{"0":"\ud800"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := strictjson.Any(data)
		if err != nil {
			if errors.Is(err, strictjson.ErrSyntax) && json.Valid(data) && utf8.Valid(data) && !bytes.Contains(bytes.ToLower(data), []byte(`\ud`)) {
				t.Fatalf("refused %q: %v", data, err)
			}
			return
		}
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		var want any
		if err := d.Decode(&want); err != nil {
			t.Fatalf("accepted %q, encoding/json says %v", data, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %#v, want %#v", data, got, want)
		}
		n := 0
		err = strictjson.Object(data, func(name string, value []byte) error {
			n++
			if strictjson.Valid(value) != nil {
				t.Fatalf("value of %q is not a value: %q", name, value)
			}
			return nil
		})
		if object, ok := want.(map[string]any); ok != (err == nil) || ok && n != len(object) {
			t.Fatalf("%q: Object: %v, %d members", data, err, n)
		}
	})
}

func FuzzNumericDate(f *testing.F) {
	for _, seed := range []string{`0`, `1700000000.5`, `-1.5e3`, `1e-7`, `9e99`, `x`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, err := strictjson.NumericDate(raw)
		if err != nil {
			return
		}
		var v float64
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatalf("accepted %q, encoding/json says %v", raw, err)
		}
		if diff := v - float64(n); diff < -0.001 || diff > 1.001 {
			t.Fatalf("%q: got %d, encoding/json reads %v", raw, n, v)
		}
	})
}

func BenchmarkMembers(b *testing.B) {
	data := []byte(`{"iss":"https://issuer.example","exp":1795260735,"aud":"https://api.example","sub":"user-42","client_id":"mobile-app","iat":1795257015,"jti":"b6c3a1d2-7f6e-4f7a-9a53-1f2b3c4d5e6f","sid":"s-8f14e45f","gen":7,"auth_time":1795257000,"scope":"orders:read orders:write"}`)
	b.Run("strictjson", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		var buf [16]strictjson.Member
		for b.Loop() {
			if _, err := strictjson.Members(data, buf[:0]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("json.Valid", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if !json.Valid(data) {
				b.Fatal("not valid")
			}
		}
	})
}
