package events_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quash-auth/quash/events"
)

// The golden files are only ever added to: what was once published must be
// readable for ever.
func TestGoldenFiles(t *testing.T) {
	t.Parallel()
	want := statements()
	files, err := filepath.Glob("testdata/v1/*.json")
	if err != nil || len(files) != len(want) {
		t.Fatalf("golden files: got %d (%v), want %d", len(files), err, len(want))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			golden, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := events.Decode(golden)
			if err != nil {
				t.Fatalf("decode: %v", err)
			}
			if got != want[name] {
				t.Errorf("decoded:\n got %+v\nwant %+v", got, want[name])
			}
			data, err := events.Encode(want[name])
			if err != nil {
				t.Fatalf("encode: %v", err)
			}
			if string(data) != string(golden) {
				t.Errorf("encoded:\n got %s\nwant %s", data, golden)
			}
		})
	}
}

func TestDecodeIgnoresUnknownMembers(t *testing.T) {
	t.Parallel()
	const text = `{ "zone":{"a":[1,2,{"v":9}]},"v":1,"id":"1","iss":"i","scope":"token","key":"k","until":1800000000,"by":"robot","x":null,"y":1.5e3,"z":true }`
	r, err := events.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if r.ID != "1" || r.Scope != events.Token || r.Key != "k" || r.By != "robot" {
		t.Errorf("got %+v", r)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	const rest = `"id":"1","iss":"i","scope":"token","key":"k","until":1800000000,"by":"user"`
	if _, err := events.Decode([]byte(`{"v":1,` + rest + `}`)); err != nil {
		t.Fatalf("the base of this test: %v", err)
	}
	for name, text := range map[string]string{
		"empty":                 ``,
		"not an object":         `[]`,
		"beacon":                `{}`,
		"newer version":         `{"v":2,` + rest + `}`,
		"no version":            `{` + rest + `}`,
		"version as text":       `{"v":"1",` + rest + `}`,
		"fractional version":    `{"v":1.0,` + rest + `}`,
		"unknown scope":         `{"v":1,` + strings.Replace(rest, `"token"`, `"device"`, 1) + `}`,
		"scope in capitals":     `{"v":1,` + strings.Replace(rest, `"token"`, `"Token"`, 1) + `}`,
		"folded name ISS":       `{"v":1,` + strings.Replace(rest, `"iss"`, `"ISS"`, 1) + `}`,
		"folded name Key":       `{"v":1,` + strings.Replace(rest, `"key"`, `"Key"`, 1) + `}`,
		"duplicate key":         `{"v":1,` + rest + `,"key":"other"}`,
		"duplicate, escaped":    `{"v":1,` + rest + `,"\u006bey":"other"}`,
		"duplicate inside":      `{"v":1,` + rest + `,"x":{"a":1,"a":2}}`,
		"trailing text":         `{"v":1,` + rest + `} {}`,
		"trailing comma":        `{"v":1,` + rest + `,}`,
		"no issuer":             `{"v":1,` + strings.Replace(rest, `"iss":"i",`, ``, 1) + `}`,
		"issuer null":           `{"v":1,` + strings.Replace(rest, `"iss":"i"`, `"iss":null`, 1) + `}`,
		"empty key":             `{"v":1,` + strings.Replace(rest, `"key":"k"`, `"key":""`, 1) + `}`,
		"numeric key":           `{"v":1,` + strings.Replace(rest, `"key":"k"`, `"key":7`, 1) + `}`,
		"long key":              `{"v":1,` + strings.Replace(rest, `"k"`, `"`+strings.Repeat("k", 513)+`"`, 1) + `}`,
		"no until":              `{"v":1,` + strings.Replace(rest, `"until":1800000000,`, ``, 1) + `}`,
		"until as text":         `{"v":1,` + strings.Replace(rest, `1800000000`, `"1800000000"`, 1) + `}`,
		"until in milliseconds": `{"v":1,` + strings.Replace(rest, `1800000000`, `1800000000000`, 1) + `}`,
		"until with fraction":   `{"v":1,` + strings.Replace(rest, `1800000000`, `1800000000.5`, 1) + `}`,
		"before for a token":    `{"v":1,` + rest + `,"before":1700000000}`,
		"client without before": `{"v":1,` + strings.Replace(rest, `"token"`, `"client"`, 1) + `}`,
		"gen for a token":       `{"v":1,` + rest + `,"gen":1}`,
		"negative gen":          `{"v":1,` + strings.Replace(rest, `"token"`, `"subject"`, 1) + `,"before":1,"gen":-1}`,
		"gen too large":         `{"v":1,` + strings.Replace(rest, `"token"`, `"subject"`, 1) + `,"before":1,"gen":18446744073709551616}`,
		"not UTF-8":             `{"v":1,` + rest + `,"reason":"` + "\xff" + `"}`,
		"lone surrogate":        `{"v":1,` + rest + `,"reason":"\ud800"}`,
		"control character":     `{"v":1,` + rest + `,"reason":"` + "\n" + `"}`,
		"too deep":              `{"v":1,` + rest + `,"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := events.Decode([]byte(text)); !errors.Is(err, events.ErrUndecodable) {
				t.Errorf("got %+v, %v, want ErrUndecodable", r, err)
			}
		})
	}
}

// A payload beyond the limit is refused before anything of it is looked at.
func TestPeerBug19_OversizedPayloadIsRefusedBeforeDecoding(t *testing.T) { // not parallel: it counts allocations
	huge := []byte(`{"v":1,"id":"1","iss":"i","scope":"token","key":"k","until":1800000000,"by":"user","x":"` + strings.Repeat("a", 64<<20) + `"}`)
	allocated := testing.AllocsPerRun(10, func() {
		if _, err := events.Decode(huge); !errors.Is(err, events.ErrUndecodable) {
			t.Fatalf("got %v, want ErrUndecodable", err)
		}
	})
	if allocated > 10 {
		t.Errorf("refusing %d bytes took %v allocations, want only those of the error", len(huge), allocated)
	}
	if _, err := events.FromSET(huge); !errors.Is(err, events.ErrUndecodable) {
		t.Errorf("FromSET: got %v, want ErrUndecodable", err)
	}
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	t.Parallel()
	for name, r := range statements() {
		r.Until = r.Until.AddDate(9000, 0, 0)
		if _, err := events.Encode(r); !errors.Is(err, events.ErrInvalid) {
			t.Errorf("%s with until in the year 11026: got %v, want ErrInvalid", name, err)
		}
	}
}

func TestEncodedStatementsFitTheStream(t *testing.T) {
	t.Parallel()
	r := statements()["all-fields"]
	r.ID, r.Issuer, r.Key = strings.Repeat("i", events.MaxID), strings.Repeat("\x01", events.MaxKey), strings.Repeat("\x01", events.MaxKey)
	r.Actor, r.Reason, r.Txn = strings.Repeat("\x01", events.MaxText), strings.Repeat("\x01", events.MaxText), strings.Repeat("\x01", events.MaxText)
	data, err := events.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > events.MaxEvent-512 { // headers count too
		t.Errorf("the longest statement takes %d bytes, the stream %d", len(data), events.MaxEvent)
	}
	if got, err := events.Decode(data); err != nil || got != r {
		t.Errorf("round trip: got %+v, %v", got, err)
	}
}
