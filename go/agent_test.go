package weir_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	weir "github.com/weir-agent/weir/go"
)

// record is a decoded LogRecord.
type record struct {
	event    string
	at       uint64
	observed uint64
	attr     map[string]any
	body     []any
	resource map[string]any
	scope    map[string]any
	scopeID  string
}

// agent is an OTLP/HTTP receiver that keeps what it gets.
type agent struct {
	*httptest.Server
	mu      sync.Mutex
	records []record
	// answer, if set, decides about a request; 200 means keep the records.
	answer func(*http.Request) int
}

func newAgent(t testing.TB) *agent {
	a := &agent{}
	a.Server = httptest.NewServer(http.HandlerFunc(a.receive))
	t.Cleanup(a.Server.Close)
	return a
}

func (a *agent) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	a.mu.Lock()
	answer := a.answer
	a.mu.Unlock()
	if answer != nil {
		if code := answer(r); code != http.StatusOK {
			w.WriteHeader(code)
			return
		}
	}
	if r.URL.Path != "/v1/logs" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	records := decodeRequest(body)
	a.mu.Lock()
	a.records = append(a.records, records...)
	a.mu.Unlock()
}

func (a *agent) setAnswer(f func(*http.Request) int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = f
}

func (a *agent) all() []record {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]record(nil), a.records...)
}

func (a *agent) events(name string) []record {
	var found []record
	for _, r := range a.all() {
		if r.event == name {
			found = append(found, r)
		}
	}
	return found
}

// start reports to the agent until the test ends.
func (a *agent) start(t testing.TB, change ...func(*weir.Config)) {
	t.Helper()
	start(t, a.URL, change...)
}

func start(t testing.TB, endpoint string, change ...func(*weir.Config)) {
	t.Helper()
	c := weir.Config{ServiceName: "test", Endpoint: endpoint, SnapshotInterval: 100 * time.Millisecond}
	for _, f := range change {
		f(&c)
	}
	if err := weir.Start(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		weir.Stop(ctx)
	})
}

// eventually waits until f is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

// state is a complete snapshot: the entries of all its parts.
type state struct {
	id      int64
	attr    map[string]any
	entries []map[string]any
	parts   int
}

func (s state) kind(k string) []map[string]any {
	var found []map[string]any
	for _, e := range s.entries {
		if e["k"] == k {
			found = append(found, e)
		}
	}
	return found
}

// snapshots are the complete ones, oldest first.
func (a *agent) snapshots() []state {
	var complete []state
	open := make(map[int64]*state)
	for _, r := range a.events("grpc.snapshot") {
		id := r.attr["snapshot.id"].(int64)
		s := open[id]
		if s == nil {
			s = &state{id: id, attr: r.attr}
			open[id] = s
		}
		s.parts++
		for _, e := range r.body {
			s.entries = append(s.entries, e.(map[string]any))
		}
		if int64(s.parts) == r.attr["snapshot.parts"].(int64) {
			complete = append(complete, *s)
		}
	}
	return complete
}

func (a *agent) lastSnapshot() (state, bool) {
	all := a.snapshots()
	if len(all) == 0 {
		return state{}, false
	}
	return all[len(all)-1], true
}

// freshSnapshot waits for one that was begun after the call.
func (a *agent) freshSnapshot(t testing.TB) state {
	t.Helper()
	before := len(a.snapshots())
	eventually(t, "two more snapshots", func() bool { return len(a.snapshots()) >= before+2 })
	s, _ := a.lastSnapshot()
	return s
}

// fields walks a message; f gets each field's number, its bytes, or its number.
func fields(b []byte, f func(n protowire.Number, content []byte, v uint64)) {
	for len(b) > 0 {
		n, wire, size := protowire.ConsumeTag(b)
		if size < 0 {
			panic(fmt.Sprintf("malformed message: %v", protowire.ParseError(size)))
		}
		b = b[size:]
		var content []byte
		var v uint64
		switch wire {
		case protowire.BytesType:
			content, size = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			v, size = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v, size = protowire.ConsumeFixed64(b)
		default:
			panic(fmt.Sprintf("unexpected wire type %d", wire))
		}
		if size < 0 {
			panic(fmt.Sprintf("malformed field: %v", protowire.ParseError(size)))
		}
		b = b[size:]
		f(n, content, v)
	}
}

func decodeRequest(b []byte) []record {
	var records []record
	fields(b, func(n protowire.Number, resourceLogs []byte, _ uint64) {
		resource := map[string]any{}
		fields(resourceLogs, func(n protowire.Number, c []byte, _ uint64) {
			switch n {
			case 1:
				fields(c, func(n protowire.Number, c []byte, _ uint64) { decodeKeyValue(c, resource) })
			case 2:
				records = append(records, decodeScopeLogs(c)...)
			}
		})
		for i := range records {
			records[i].resource = resource
		}
	})
	return records
}

func decodeScopeLogs(b []byte) []record {
	var records []record
	scope := map[string]any{}
	var name string
	fields(b, func(n protowire.Number, c []byte, _ uint64) {
		switch n {
		case 1:
			fields(c, func(n protowire.Number, c []byte, _ uint64) {
				switch n {
				case 1:
					name = string(c)
				case 3:
					decodeKeyValue(c, scope)
				}
			})
		case 2:
			records = append(records, decodeRecord(c))
		}
	})
	for i := range records {
		records[i].scope, records[i].scopeID = scope, name
	}
	return records
}

func decodeRecord(b []byte) record {
	r := record{attr: map[string]any{}}
	fields(b, func(n protowire.Number, c []byte, v uint64) {
		switch n {
		case 1:
			r.at = v
		case 5:
			r.body = decodeValue(c).([]any)
		case 6:
			decodeKeyValue(c, r.attr)
		case 11:
			r.observed = v
		case 12:
			r.event = string(c)
		}
	})
	return r
}

func decodeKeyValue(b []byte, into map[string]any) {
	var key string
	var value any
	fields(b, func(n protowire.Number, c []byte, _ uint64) {
		switch n {
		case 1:
			key = string(c)
		case 2:
			value = decodeValue(c)
		}
	})
	into[key] = value
}

func decodeValue(b []byte) any {
	var value any
	fields(b, func(n protowire.Number, c []byte, v uint64) {
		switch n {
		case 1:
			value = string(c)
		case 2:
			value = v != 0
		case 3:
			value = int64(v)
		case 4:
			value = math.Float64frombits(v)
		case 5:
			items := []any{}
			fields(c, func(_ protowire.Number, c []byte, _ uint64) { items = append(items, decodeValue(c)) })
			value = items
		case 6:
			list := map[string]any{}
			fields(c, func(_ protowire.Number, c []byte, _ uint64) { decodeKeyValue(c, list) })
			value = list
		}
	})
	return value
}
