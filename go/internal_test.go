package weir

import (
	"context"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats"
)

func TestDialHelpersAreKnownByTheirPackage(t *testing.T) {
	for function, want := range map[string]bool{
		"example.com/shop/internal/grpcutil.Dial":         true,
		"example.com/shop/grpcx.(*Pool).Get":              true,
		"example.com/grpcclient.New.func1":                true,
		"rpcutil.Dial":                                    true,
		"example.com/grpcutil/orders.Dial":                false,
		"example.com/shop/orders.(*grpcutil).Dial":        false,
		"example.com/mygrpcutil.Dial":                     false,
		"github.com/weir-agent/weir/examples/leaky.dial":  false,
		"example.com/shop/grpcutil%2ev2.Dial":             false,
		"google.golang.org/grpc/internal/grpcutil.Encode": true,
	} {
		if got := isDialHelper(function); got != want {
			t.Errorf("isDialHelper(%q) = %v", function, got)
		}
	}
}

func TestIgnoredNamesAreWholeNamesOrPrefixes(t *testing.T) {
	for _, c := range []struct {
		function, name string
		want           bool
	}{
		{"a.com/b.Dial", "a.com/b.Dial", true},
		{"a.com/b.Dial.func1", "a.com/b.Dial", true},
		{"a.com/b.Dial[...]", "a.com/b.Dial", true},
		{"a.com/b.Dialer", "a.com/b.Dial", false},
		{"a.com/b.Dial", "a.com/b.", true},
		{"a.com/b.(*T).Dial", "a.com/b.(*T).", true},
		{"a.com/b/c.Dial", "a.com/b/", true},
		{"a.com/b.Dial", "a.com/b/", false},
		{"a.com/b.Dial", "", false},
		{"a.com/b.Dial", "Dial", false},
	} {
		if got := isIgnored(c.function, []string{c.name}); got != c.want {
			t.Errorf("isIgnored(%q, %q) = %v", c.function, c.name, got)
		}
	}
}

func TestEnvironmentFillsTheConfig(t *testing.T) {
	env := map[string]string{
		"OTEL_RESOURCE_ATTRIBUTES": "service.name=checkout, zone = a%2Cb ,",
		"WEIR_ENDPOINT":            "https://agent:4327/base/",
		"WEIR_SNAPSHOT_INTERVAL":   "2.5",
		"WEIR_IGNORE_FUNCTIONS":    "a.B, c.D",
	}
	s, err := Config{}.resolve(func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	if s.serviceName != "checkout" || s.attributes["zone"] != "a,b" || s.logsURL != "https://agent:4327/base/v1/logs" ||
		s.snapshotInterval != 2500*time.Millisecond || len(s.ignore) != 2 || s.ignore[1] != "c.D" ||
		s.bufferSize != 8192 || s.timeout != 5*time.Second {
		t.Errorf("settings are %+v", s)
	}
	env["OTEL_SERVICE_NAME"] = "orders"
	s, _ = Config{SnapshotInterval: time.Second}.resolve(func(k string) string { return env[k] })
	if s.serviceName != "orders" || s.snapshotInterval != time.Second {
		t.Errorf("settings are %+v", s)
	}
	for _, bad := range []map[string]string{
		{"OTEL_RESOURCE_ATTRIBUTES": "novalue"},
		{"OTEL_RESOURCE_ATTRIBUTES": "a=%zz"},
		{"WEIR_SNAPSHOT_INTERVAL": "soon"},
		{"WEIR_SNAPSHOT_INTERVAL": "NaN"},
		{"WEIR_SNAPSHOT_INTERVAL": "0"},
		{"WEIR_ENDPOINT": "http://"},
	} {
		if _, err := (Config{}).resolve(func(k string) string { return bad[k] }); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
	s, _ = Config{}.resolve(func(string) string { return "" })
	if s.serviceName != "unknown_service:"+executableName() || s.logsURL != "http://127.0.0.1:4327/v1/logs" ||
		s.snapshotInterval != 10*time.Second {
		t.Errorf("defaults are %+v", s)
	}
}

func TestPartialSuccessIsReadAndGarbageIsNot(t *testing.T) {
	if n, message := rejected([]byte{0x0a, 0x06, 0x08, 0x05, 0x12, 0x02, 'n', 'o'}); n != 5 || message != "no" {
		t.Errorf("rejected = %d %q", n, message)
	}
	for _, garbage := range [][]byte{nil, {0xff}, {0x0a, 0x20, 0x08}, []byte("<html></html>")} {
		if n, _ := rejected(garbage); n != 0 {
			t.Errorf("rejected(%q) = %d", garbage, n)
		}
	}
}

func TestLabelsHoldInsideAndTheCallersComeBack(t *testing.T) {
	inner := pprof.WithLabels(context.Background(), pprof.Labels("inner", "one"))
	for name, with := range map[string]func(context.Context, func()){"same goroutine": withLabels, "own goroutine": withLabelsApart} {
		pprof.Do(context.Background(), pprof.Labels("outer", "two"), func(context.Context) {
			var inside, child string
			with(inner, func() {
				inside = goroutineText(t)
				done := make(chan struct{})
				go func() { child = goroutineText(t); close(done) }()
				<-done
			})
			if !strings.Contains(inside, `"inner":"one"`) || !strings.Contains(child, `"inner":"one"`) {
				t.Errorf("%s: labels do not hold inside", name)
			}
			if after := goroutineText(t); strings.Contains(after, `"inner":"one"`) || !strings.Contains(after, `"outer":"two"`) {
				t.Errorf("%s: labels afterwards:\n%s", name, after)
			}
			defer func() {
				if p := recover(); p != "oops" {
					t.Errorf("%s: recovered %v", name, p)
				}
				if after := goroutineText(t); !strings.Contains(after, `"outer":"two"`) {
					t.Errorf("%s: labels after a panic:\n%s", name, after)
				}
			}()
			with(inner, func() { panic("oops") })
		})
	}
}

// goroutineText is what the goroutine profile says of the calling goroutine.
func goroutineText(t *testing.T) string {
	var b strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		t.Error(err)
	}
	for block := range strings.SplitSeq(b.String(), "\n\n") {
		if strings.Contains(block, "go.goroutineText+") {
			return block
		}
	}
	return ""
}

// TestNothingHappensWhenDisabled runs itself in a process with WEIR_DISABLED.
func TestNothingHappensWhenDisabled(t *testing.T) {
	if !disabled {
		command := exec.Command(os.Args[0], "-test.run=^TestNothingHappensWhenDisabled$")
		command.Env = append(os.Environ(), "WEIR_DISABLED=true")
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
	before := runtime.NumGoroutine()
	conn, err := NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()), DialOption())
	if err != nil {
		t.Fatal(err)
	}
	grpc.NewServer(ServerOption()).Stop()
	if err := Start(Config{}); err != nil {
		t.Error(err)
	}
	if process.lastClient.Load() != 0 || census.Count() != 0 || life.reporter != nil {
		t.Error("something was recorded")
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// call is one RPC as grpc reports it to a handler.
func call(h stats.Handler, ctx context.Context, header *stats.OutHeader, tag *stats.RPCTagInfo, begin, in, out, end stats.RPCStats) {
	ctx = h.TagRPC(ctx, tag)
	h.HandleRPC(ctx, begin)
	if header != nil {
		h.HandleRPC(ctx, header)
	}
	h.HandleRPC(ctx, out)
	h.HandleRPC(ctx, in)
	h.HandleRPC(ctx, end)
}

// handlerCalls returns a function that reports one call to the handler of a
// client, and one for a server; each on one connection. Contexts of calls are
// made beforehand, as grpc makes them anyway.
func handlerCalls() (client, server func(ctx context.Context), r *registry) {
	r = newRegistry()
	info := &stats.ConnTagInfo{
		LocalAddr:  &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1},
		RemoteAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2},
	}
	ch := &clientHandler{registry: r, client: r.newClient("target", &site{}, nil, false)}
	ch.HandleConn(ch.TagConn(context.Background(), info), &stats.ConnBegin{Client: true})
	sh := &serverHandler{registry: r}
	serverCtx := sh.TagConn(context.Background(), info)
	sh.HandleConn(serverCtx, &stats.ConnBegin{})
	header := &stats.OutHeader{Client: true, LocalAddr: info.LocalAddr, RemoteAddr: info.RemoteAddr}
	tag := &stats.RPCTagInfo{FullMethodName: "/a/b"}
	now := time.Now()
	begin, end := &stats.Begin{BeginTime: now}, &stats.End{EndTime: now}
	in, out := &stats.InPayload{RecvTime: now}, &stats.OutPayload{SentTime: now}
	return func(ctx context.Context) { call(ch, ctx, header, tag, begin, in, out, end) },
		func(context.Context) { call(sh, serverCtx, nil, tag, begin, in, out, end) }, r
}

// contexts are cancellable, each with its own Done channel.
func contexts(t testing.TB, n int) []context.Context {
	list := make([]context.Context, n)
	for i := range list {
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		ctx.Done()
		list[i] = ctx
	}
	return list
}

func TestACallAllocatesNothing(t *testing.T) {
	client, server, r := handlerCalls()
	list := contexts(t, 1000)
	i := 0
	next := func() context.Context { i++; return list[i%len(list)] }
	for range 2000 {
		client(next())
	}
	if n := testing.AllocsPerRun(5000, func() { client(next()) }); n != 0 {
		t.Errorf("client: %v allocations per call", n)
	}
	if n := testing.AllocsPerRun(5000, func() { server(nil) }); n != 0 {
		t.Errorf("server: %v allocations per call", n)
	}
	for _, c := range r.conns {
		if c.rpcs.Load() < 5000 || c.open.Load() != 0 {
			t.Errorf("%v connection: %d calls, %d open", c.side, c.rpcs.Load(), c.open.Load())
		}
	}
}

func BenchmarkHandlerClientCall(b *testing.B) {
	client, _, _ := handlerCalls()
	list := contexts(b, 1000)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		client(list[i%len(list)])
	}
}

func BenchmarkHandlerServerCall(b *testing.B) {
	_, server, _ := handlerCalls()
	b.ReportAllocs()
	for range b.N {
		server(nil)
	}
}

func BenchmarkHandlerClientCallParallel(b *testing.B) {
	client, _, _ := handlerCalls()
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		for p.Next() {
			client(ctx)
		}
	})
}
