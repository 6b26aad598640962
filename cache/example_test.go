package cache_test

import (
	"fmt"
	"log"
	"time"

	"github.com/quash-auth/quash/cache"
)

// A token is checked in two steps: hash its keys once, check as often as you like.
func Example() {
	d, err := cache.New(cache.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()

	token := d.Ref(cache.Claims{
		Issuer: "https://login.example.com", ID: "t-1", Session: "s-1", Subject: "alice",
		IssuedAt: time.Now().Unix(), HasIssuedAt: true,
	})
	fmt.Println(d.Check(&token).Revoked)

	err = d.Apply([]cache.Statement{{
		Scope: cache.Session, Issuer: "https://login.example.com", Key: "s-1",
		Until: time.Now().Add(time.Hour).Unix(), Sequence: 7,
	}})
	if err != nil {
		log.Fatal(err)
	}
	v := d.Check(&token)
	fmt.Println(v.Revoked, v.Scope, v.Sequence)
	// Output:
	// false
	// true session 7
}

// "Log alice out everywhere" with a generation: a login of the same second is accepted.
func ExampleDenylist_Apply() {
	d, err := cache.New(cache.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()

	now := time.Now().Unix()
	err = d.Apply([]cache.Statement{{
		Scope: cache.Subject, Issuer: "i", Key: "alice", Before: now, Gen: 3, Until: now + 3600, Sequence: 1,
	}})
	if err != nil {
		log.Fatal(err)
	}
	old := d.Ref(cache.Claims{Issuer: "i", Subject: "alice", IssuedAt: now, HasIssuedAt: true, Gen: 2, HasGen: true})
	fresh := d.Ref(cache.Claims{Issuer: "i", Subject: "alice", IssuedAt: now, HasIssuedAt: true, Gen: 3, HasGen: true})
	fmt.Println(d.Check(&old).Revoked, d.Check(&fresh).Revoked)
	// Output: true false
}

// Lookup explains why a token is refused.
func ExampleDenylist_Lookup() {
	d, err := cache.New(cache.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()

	weak := cache.Statement{Scope: cache.Client, Issuer: "i", Key: "app", Before: 100, Until: 4_000_000_000, Sequence: 2}
	strong := cache.Statement{Scope: cache.Client, Issuer: "i", Key: "app", Before: 200, Until: 3_000_000_000, Sequence: 1}
	if err := d.Apply([]cache.Statement{strong, weak}); err != nil { // in any order
		log.Fatal(err)
	}
	e, ok := d.Lookup(cache.Client, "i", "app")
	fmt.Println(ok, e.Before, e.Until, e.Sequence)
	// Output: true 200 4000000000 1
}

// A memo never takes one token for another.
func ExampleMemo() {
	m, err := cache.NewMemo[string](cache.MemoConfig{MaxBytes: 16 << 20})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	m.Put("header.payload.signature", "alice", 64)
	_, ok := m.Get("header.payload.Signature")
	fmt.Println(ok)
	// Output: false
}
