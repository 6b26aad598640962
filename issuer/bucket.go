package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// bucket is a JetStream key-value bucket with what the issuer needs beyond the stock client: a lifetime for each
// record, several records written all or nothing, and reads that go to the leader when there are replicas (a follower
// may answer with yesterday's record). Every write that decides something is a compare-and-set.
type bucket struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	kv     jetstream.KeyValue
	prefix string // "$KV.NAME."
	direct string // where several records can be asked for at once; empty: nowhere

	patience *atomic.Int64 // ns: of a caller who has no deadline
}

// bucketConfig: lossy buckets hold what may be lost and forget after maxAge.
type bucketConfig struct {
	name, description string
	replicas          int
	lossy             bool
	maxAge            time.Duration
}

func openBucket(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, c bucketConfig) (*bucket, error) {
	want := jetstream.StreamConfig{
		Name:               "KV_" + c.name,
		Description:        c.description,
		Subjects:           []string{"$KV." + c.name + ".>"},
		MaxMsgsPerSubject:  1,
		MaxMsgs:            -1,
		MaxBytes:           -1,
		MaxMsgSize:         64 << 10,
		MaxAge:             c.maxAge,
		Replicas:           c.replicas,
		Discard:            jetstream.DiscardNew,
		Duplicates:         2 * time.Minute,
		DenyDelete:         true,
		AllowMsgTTL:        true,
		AllowAtomicPublish: true,
		AllowDirect:        c.replicas == 1,
	}
	if c.lossy {
		want.Discard, want.AllowAtomicPublish = jetstream.DiscardOld, false
	}
	stream, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another replica was first, with its own settings
			stream, err = js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", c.name, unavailable(err))
	}
	got := stream.CachedInfo().Config
	if got.MaxMsgsPerSubject != 1 || !got.AllowMsgTTL || got.Discard != want.Discard || !c.lossy && (!got.AllowAtomicPublish || got.MaxAge != 0) ||
		got.AllowRollup || got.Replicas > 1 && got.AllowDirect {
		return nil, fmt.Errorf("%w: Bucket: %s exists and is not a bucket of a quash issuer", ErrConfig, c.name)
	}
	kv, err := js.KeyValue(ctx, c.name)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", c.name, unavailable(err))
	}
	b := &bucket{nc: nc, js: js, stream: stream, kv: kv, prefix: "$KV." + c.name + ".", patience: new(atomic.Int64)}
	b.patience.Store(int64(patience))
	if got.AllowDirect && !c.lossy {
		b.direct = "$JS.API.DIRECT.GET." + want.Name
		err = b.tryMany(ctx)
	}
	return b, err
}

// record is one stored value. A revision of 0 means that the key was never written or is long gone; a deleted key has a
// revision and no value.
type record struct {
	key      string
	value    []byte
	revision uint64
}

func (r record) exists() bool { return r.value != nil }

func (b *bucket) get(ctx context.Context, key string) (record, error) {
	if err := b.connected(); err != nil {
		return record{}, err
	}
	m, err := b.stream.GetLastMsgForSubject(ctx, b.prefix+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return record{key: key}, nil
	}
	if err != nil {
		return record{}, fmt.Errorf("read %s: %w", keyKind(key), unavailable(err))
	}
	return stored(key, m.Sequence, m.Header, m.Data)
}

// getAll reads several keys at once, in their order.
func (b *bucket) getAll(ctx context.Context, keys ...string) ([]record, error) {
	if b.direct == "" {
		return b.getEach(ctx, keys)
	}
	out := make([]record, 0, len(keys))
	for run := range slices.Chunk(keys, readsAtOnce) {
		rs, err := b.getMany(ctx, run)
		if err != nil {
			return nil, err
		}
		out = append(out, rs...)
	}
	return out, nil
}

// getEach asks the leader for each of the keys, all at the same time.
func (b *bucket) getEach(ctx context.Context, keys []string) ([]record, error) {
	out := make([]record, len(keys))
	errs := make([]error, len(keys))
	var all sync.WaitGroup
	for n, key := range keys {
		all.Go(func() { out[n], errs[n] = b.get(ctx, key) })
	}
	all.Wait()
	return out, errors.Join(errs...)
}

// write is one record to be stored if its key's revision is still the one given (anyRevision: whatever it is). A nil value
// deletes.
type write struct {
	key      string
	value    []byte
	revision uint64
	life     time.Duration // 0: for ever
}

const (
	anyRevision = ^uint64(0)
	tombstone   = time.Minute // how long a deleted key keeps its revision
	patience    = 5 * time.Second
)

func (b *bucket) message(w write) *nats.Msg {
	m := &nats.Msg{Subject: b.prefix + w.key, Data: w.value, Header: nats.Header{}}
	if w.revision != anyRevision {
		m.Header["Nats-Expected-Last-Subject-Sequence"] = []string{strconv.FormatUint(w.revision, 10)}
	}
	if w.value == nil {
		m.Header["KV-Operation"] = []string{"DEL"}
		w.life = tombstone
	}
	if w.life > 0 {
		seconds := max(int64((w.life+time.Second-1)/time.Second), 1)
		m.Header["Nats-TTL"] = []string{strconv.FormatInt(seconds, 10) + "s"}
	}
	return m
}

// put stores one record and returns its new revision; ErrConflict if somebody else was first.
func (b *bucket) put(ctx context.Context, w write) (uint64, error) {
	return b.send(ctx, b.message(w))
}

// commit stores all records or none and returns the revision of the first.
func (b *bucket) commit(ctx context.Context, ws ...write) (uint64, error) {
	if len(ws) == 1 {
		return b.put(ctx, ws[0])
	}
	if err := b.connected(); err != nil {
		return 0, err
	}
	id := token(16)
	last := len(ws) - 1
	for n, w := range ws {
		m := b.message(w)
		m.Header["Nats-Batch-Id"] = []string{id}
		m.Header["Nats-Batch-Sequence"] = []string{strconv.Itoa(n + 1)}
		if n < last {
			if err := b.nc.PublishMsg(m); err != nil {
				return 0, fmt.Errorf("write %s: %w", keyKind(w.key), unavailable(err))
			}
			continue
		}
		m.Header["Nats-Batch-Commit"] = []string{"1"}
		sequence, err := b.send(ctx, m)
		if err != nil {
			return 0, err
		}
		return sequence - uint64(last), nil // a batch is stored in one piece
	}
	return 0, nil
}

// The server's codes for a lost compare-and-set: wrong last sequence, and the same while another write of the key is under way.
const (
	codeWrongSequence         = 10071
	codeWrongSequenceConstant = 10164
)

// send: after an error the write may be stored nevertheless.
func (b *bucket) send(ctx context.Context, m *nats.Msg) (uint64, error) {
	if err := b.connected(); err != nil {
		return 0, err
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	answer, err := b.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return 0, fmt.Errorf("write: %w", unavailable(err))
	}
	var ack struct {
		Sequence uint64              `json:"seq"`
		Error    *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return 0, fmt.Errorf("write: read the server's answer: %w", unavailable(err))
	}
	if ack.Error != nil {
		if ack.Error.ErrorCode == codeWrongSequence || ack.Error.ErrorCode == codeWrongSequenceConstant {
			return 0, ErrConflict
		}
		return 0, fmt.Errorf("write: %w", unavailable(ack.Error))
	}
	if ack.Sequence == 0 {
		return 0, fmt.Errorf("write: %w: the server's answer is no acknowledgement", ErrUnavailable)
	}
	return ack.Sequence, nil
}

// bounded: an answer that was lost is never sent again.
func (b *bucket) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, is := ctx.Deadline(); is {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Duration(b.patience.Load()))
}

// connected refuses early: while the connection is down the client library would keep a write and send it after we
// have answered that it failed.
func (b *bucket) connected() error {
	if !b.nc.IsConnected() {
		return fmt.Errorf("%w: not connected to NATS", ErrUnavailable)
	}
	return nil
}

// keys lists the keys that match a pattern of the bucket, deleted ones included.
func (b *bucket) keys(ctx context.Context, pattern string) ([]string, error) {
	if err := b.connected(); err != nil {
		return nil, err
	}
	info, err := b.stream.Info(ctx, jetstream.WithSubjectFilter(b.prefix+pattern))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", pattern, unavailable(err))
	}
	keys := make([]string, 0, len(info.State.Subjects))
	for s := range info.State.Subjects {
		keys = append(keys, s[len(b.prefix):])
	}
	return keys, nil
}

// each streams the living records that match a pattern, in the order in which they were written.
func (b *bucket) each(ctx context.Context, pattern string, f func(record) bool) error {
	return b.eachAfter(ctx, pattern, 0, func(r record, _ uint64) bool { return f(r) })
}

// eachAfter begins behind a revision and says how many keys follow, deleted ones included.
func (b *bucket) eachAfter(ctx context.Context, pattern string, revision uint64, f func(r record, follow uint64) bool) error {
	if err := b.connected(); err != nil {
		return err
	}
	w, err := b.kv.Watch(ctx, pattern, jetstream.IgnoreDeletes(), jetstream.ResumeFromRevision(revision+1))
	if err != nil {
		return fmt.Errorf("list %s: %w", keyKind(pattern), unavailable(err))
	}
	defer func() {
		_ = w.Stop()            // the connection may be gone; nothing to do about it
		for range w.Updates() { // its sender must not wait for a reader for ever
		}
	}()
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return fmt.Errorf("list %s: %w: connection lost", keyKind(pattern), ErrUnavailable)
			}
			if e == nil || !f(record{key: e.Key(), value: e.Value(), revision: e.Revision()}, e.Delta()) {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("list %s: %w", keyKind(pattern), unavailable(ctx.Err()))
		}
	}
}

// unavailable marks an error as one to retry.
func unavailable(err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// keyKind keeps keys, which hold names and session identifiers, out of error texts.
func keyKind(key string) string {
	switch key[0] {
	case 'u', 'n':
		return "user"
	case 's', 'x':
		return "session"
	case 'm', 'e':
		return "mark"
	case 'k':
		return "client"
	case 'a':
		return "code"
	}
	return "record"
}
