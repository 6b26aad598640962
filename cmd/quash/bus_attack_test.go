package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/quash-auth/quash/events"
)

// What somebody with a role's credential tries. The server must refuse each by name.
var (
	tryRevoke  = []string{"quash.v1.session-revoked.token", "quash.v1.session-revoked.session", "quash.v1.session-revoked.subject", "quash.v1.session-revoked.client", "quash.v1.session-revoked.key", "quash.v1.session-revoked.issuer"}
	tryDeeper  = []string{"quash.v1.session-revoked", "quash.v1.session-revoked.a.b", "quash.v1", "quash.v2.session-revoked.session"}
	tryLive    = []string{"quash.live.beacon", "quash.live.session-revoked.session", "quash.live.session-revoked.issuer", "quash.live.once.x", "quash.live.quash.v1.beacon"}
	tryStream  = alterations(events.StreamName)
	tryOnce    = alterations(events.OnceStream)
	tryBuckets = slices.Concat(alterations("KV_QUASH_ISSUER"), alterations("KV_QUASH_THROTTLE"))
	tryOthers  = slices.Concat(alterations("OTHER"), []string{"$JS.API.STREAM.LIST", "$JS.API.STREAM.NAMES", "$JS.API.INFO", "$JS.API.ACCOUNT.PURGE.QUASH", "$JS.API.META.LEADER.STEPDOWN", "$JS.API.SERVER.REMOVE", "$JS.API.STREAM.TEMPLATE.CREATE.x"})
	tryRead    = slices.Concat(reads(events.StreamName), reads(events.OnceStream), reads("KV_QUASH_ISSUER"), reads("KV_QUASH_THROTTLE"))
	tryKV      = []string{"$KV.QUASH_ISSUER.user", "$KV.QUASH_ISSUER.s.x", "$KV.QUASH_THROTTLE.ada", "$OBJ.x", "$KV.OTHER.x"}
	trySystem  = []string{"$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.ACCOUNT.QUASH.CONNS", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.CLAIMS.UPDATE", "$SYS.ACCOUNT.QUASH.CONNECT", "$SYS.REQ.SERVER.x.RELOAD", "$SRV.PING", "$GR.x", "$JS.ACK.QUASH.x.1.1.1.1.1", "$JS.FC.QUASH.x"}
	tryInbox   = []string{"_INBOX.x", "_INBOX_operator.x", "_INBOX_publisher.x", "_INBOX_issuer-1.x", "_INBOX_api-1.x", "_INBOX_api-2.x", "_INBOX_records.x", "_INBOX_api-1", "_R_.x"}
	// listen are subscriptions; everything that is not one's own.
	listen = []string{">", "*", "*.>", "_INBOX.>", "_INBOX_operator.>", "_INBOX_publisher.>", "_INBOX_issuer-1.>", "_INBOX_api-1.>", "_INBOX_api-2.>", "_INBOX_records.>", "_INBOX_*.>", "_INBOX_api-*.>",
		"quash.>", "quash.v1.>", "quash.v1.session-revoked.>", "quash.v1.beacon", "quash.v1.once.*", "quash.v1.whole", "$KV.>", "$KV.QUASH_ISSUER.>", "$JS.>", "$JS.API.>", "$JS.EVENT.>", "$JS.EVENT.ADVISORY.>", "$JS.ACK.>", "$SYS.>", "$SYS.ACCOUNT.>", "$SRV.>"}
)

func alterations(stream string) []string {
	var all []string
	for _, what := range []string{"CREATE", "UPDATE", "DELETE", "PURGE", "MSG.DELETE", "RESTORE", "SNAPSHOT", "LEADER.STEPDOWN", "PEER.REMOVE", "CANCEL_MOVE", "MOVE"} {
		all = append(all, "$JS.API.STREAM."+what+"."+stream)
	}
	return all
}

func reads(stream string) []string {
	var all []string
	for _, what := range []string{"STREAM.INFO.%s", "STREAM.MSG.GET.%s", "DIRECT.GET.%s", "DIRECT.GET.%s.x", "CONSUMER.CREATE.%s", "CONSUMER.CREATE.%s.thief", "CONSUMER.CREATE.%s.thief.>", "CONSUMER.DURABLE.CREATE.%s.thief",
		"CONSUMER.MSG.NEXT.%s.thief", "CONSUMER.INFO.%s.thief", "CONSUMER.DELETE.%s.thief", "CONSUMER.LIST.%s", "CONSUMER.NAMES.%s", "CONSUMER.PAUSE.%s.thief", "CONSUMER.UNPIN.%s.thief", "CONSUMER.RESET.%s.thief", "CONSUMER.LEADER.STEPDOWN.%s.thief"} {
		all = append(all, "$JS.API."+fmt.Sprintf(what, stream))
	}
	return all
}

// readerOf are what may be done to a node's reader.
func readerOf(name string) []string {
	return []string{"$JS.API.CONSUMER.CREATE.QUASH." + name, "$JS.API.CONSUMER.CREATE.QUASH." + name + ".>", "$JS.API.CONSUMER.MSG.NEXT.QUASH." + name,
		"$JS.API.CONSUMER.INFO.QUASH." + name, "$JS.API.CONSUMER.DELETE.QUASH." + name, "$JS.API.CONSUMER.DURABLE.CREATE.QUASH." + name, "$JS.API.CONSUMER.PAUSE.QUASH." + name}
}

// slotOf are what may be done to a reading slot, and what may not.
func slotOf(name string) []string {
	return append(readerOf(name), "$JS.API.CONSUMER.LEADER.STEPDOWN.QUASH."+name, "$JS.API.CONSUMER.UNPIN.QUASH."+name, "$JS.API.CONSUMER.RESET.QUASH."+name)
}

// TestDeploy_rolesRefused logs in as each role of the production configuration and tries everything
// that it must not do. The server names what it refused; the counts are in docs/attackers.md.
func TestDeploy_rolesRefused(t *testing.T) {
	s := secured(t)
	s.ensure()
	all := slices.Concat(tryRevoke, tryDeeper, tryLive, tryStream, tryOnce, tryBuckets, tryOthers, tryRead, tryKV, trySystem, tryInbox,
		readerOf("api-1"), readerOf("api-2"), readerOf("issuer-1"), slotOf("quash-slot-0"), slotOf("quash-slot-7"), slotOf("quash-slot-8"), []string{"quash.v1.beacon", "quash.v1.fleet", "quash.v1.whole", "quash.v1.once.a.b", "quash.v1.once.a", "quash.v1.once"})
	total := 0
	for _, role := range []struct {
		role, name string
		may        *regexp.Regexp // of what is in the lists; written by hand, not taken from the configuration
	}{
		{"verifier", "api-1", regexp.MustCompile(`^(quash\.v1\.(beacon|whole|once\.a)|\$JS\.API\.STREAM\.INFO\.QUASH(_ONCE)?|\$JS\.API\.STREAM\.MSG\.GET\.QUASH_ONCE|` +
			`\$JS\.API\.CONSUMER\.((CREATE|MSG\.NEXT|INFO|DELETE)\.QUASH\.api-1|(CREATE|MSG\.NEXT|DELETE)\.QUASH\.quash-slot-[0-7])|sub _INBOX_api-1\.>)$`)},
		{"issuer", "issuer-1", regexp.MustCompile(`^(quash\.v1\.(beacon|session-revoked\.[a-z]+)|\$JS\.API\.(STREAM\.INFO|DIRECT\.GET)\.QUASH|` +
			`\$JS\.API\.CONSUMER\.(CREATE|MSG\.NEXT|INFO|DELETE)\.QUASH\.issuer-1|sub (_INBOX_issuer-1\.>|quash\.v1\.whole))$`)},
		{"publisher", "publisher", regexp.MustCompile(`^(quash\.v1\.(fleet|session-revoked\.[a-z]+)|\$JS\.API\.(STREAM\.INFO|DIRECT\.GET)\.QUASH|sub _INBOX_publisher\.>)$`)},
		{"records", "records", regexp.MustCompile(`^(\$KV\.QUASH_(ISSUER|THROTTLE)\..+|\$JS\.API\.STREAM\.(CREATE|INFO|MSG\.GET)\.KV_QUASH_(ISSUER|THROTTLE)|\$JS\.API\.DIRECT\.GET\.KV_QUASH_(ISSUER(\.x)?|THROTTLE\.x)|` +
			`\$JS\.API\.CONSUMER\.(CREATE\.KV_QUASH_ISSUER\.thief(\.>)?|(INFO|DELETE)\.KV_QUASH_ISSUER\.thief)|sub _INBOX_records\.>)$`)},
		{"operator", "operator", regexp.MustCompile(`^(quash\.v1\.(fleet|session-revoked\.[a-z]+)|\$JS\.API\..+|sub _INBOX_operator\.>)$`)},
	} {
		t.Run(role.role, func(t *testing.T) {
			refused := make(chan string, 1024)
			nc := s.connect(role.role, role.name)
			defer nc.Close()
			nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
				if !errors.Is(err, nats.ErrPermissionViolation) {
					t.Errorf("the server says %v", err)
				}
				if m := regexp.MustCompile(`(?i)for (publish|subscription) to "([^"]+)"`).FindStringSubmatch(err.Error()); m != nil {
					refused <- map[string]string{"publish": "", "subscription": "sub "}[strings.ToLower(m[1])] + m[2]
				}
			})
			tried := 0
			want := map[string]bool{}
			for _, subject := range all {
				if role.may.MatchString(subject) {
					continue // what is allowed is used by TestDeploy_production
				}
				if err := nc.PublishRequest(subject, nc.NewInbox(), []byte("{}")); err != nil {
					t.Fatal(err)
				}
				want[subject] = true
			}
			for _, subject := range listen {
				if role.may.MatchString("sub " + subject) {
					continue
				}
				if _, err := nc.SubscribeSync(subject); err != nil {
					t.Fatal(err)
				}
				want["sub "+subject] = true
			}
			tried = len(want)
			timeout := time.After(patience)
			for len(want) > 0 {
				select {
				case what := <-refused:
					if !want[what] {
						t.Errorf("refused without having been tried, or twice: %s", what)
					}
					delete(want, what)
				case <-timeout:
					var left []string
					for w := range want {
						left = append(left, w)
					}
					slices.Sort(left)
					t.Fatalf("not refused:\n%s", strings.Join(left, "\n"))
				}
			}
			total += tried
			t.Logf("%s: %d tried, %d refused", role.role, tried, tried)
		})
	}
	t.Logf("all roles: %d tried and refused", total)

	// Nobody gets in without a user, without TLS, or with a password.
	for name, c := range map[string]events.ConnectConfig{
		"no user": {URL: s.url, CAFile: s.key("ca.crt")}, "a password": {URL: s.url, CAFile: s.key("ca.crt"), User: "operator", Password: "p-operator"},
		"no trust": {URL: s.url, NKeyFile: s.key("operator.operator.nk")},
	} {
		for {
			nc, err := events.Connect(c)
			if err != nil {
				break
			}
			in := nc.IsConnected()
			nc.Close()
			if in { // else the server had no time to say anything
				t.Errorf("%s: let in", name)
				break
			}
		}
	}
	// Nothing of it had any effect: the streams are as they were made.
	if out, err := quashCommand(append([]string{"stream", "check"}, s.user("operator", "operator")...)...).CombinedOutput(); err != nil {
		t.Errorf("stream check: %v: %s", err, out)
	}
}
