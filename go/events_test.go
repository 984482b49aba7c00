package weir_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/stats"

	weir "github.com/weir-agent/weir/go"
)

func TestLifeOfAClientIsReportedFromBothEnds(t *testing.T) {
	weir.ForgetSites()
	a := newAgent(t)
	a.start(t)
	target := serve(t, weir.ServerOption())
	call := &firstCall{begun: make(chan struct{})}
	_, file, line, _ := runtime.Caller(0)
	conn, err := weir.NewClient(target, insecureOption(), grpc.WithStatsHandler(call), grpc.WithContextDialer(call.dial))
	if err != nil {
		t.Fatal(err)
	}
	check(t, conn)
	check(t, conn)
	conn.Close()

	var created, begun []record
	eventually(t, "created and both begins", func() bool {
		created = withTarget(a.events("grpc.client.created"), target)
		begun = nil
		for _, r := range a.events("grpc.connection.begin") {
			if "127.0.0.1:"+strconv.Itoa(port(r, "network.local.port")) == target ||
				"127.0.0.1:"+strconv.Itoa(port(r, "network.peer.port")) == target {
				begun = append(begun, r)
			}
		}
		return len(created) == 1 && len(begun) == 2
	})
	c := created[0].attr
	if c["code.file.path"] != file || c["code.line.number"] != int64(line+1) {
		t.Errorf("site is %v:%v, want %s:%d", c["code.file.path"], c["code.line.number"], file, line+1)
	}
	if got, _ := c["code.function.name"].(string); !strings.HasSuffix(got, ".TestLifeOfAClientIsReportedFromBothEnds") {
		t.Errorf("function is %q", got)
	}
	if stack, _ := c["code.stacktrace"].(string); !strings.Contains(stack, "TestLifeOfAClientIsReportedFromBothEnds\n\t"+file+":"+strconv.Itoa(line+1)) {
		t.Errorf("stack is %q", stack)
	}
	client, server := begun[0], begun[1]
	if client.attr["connection.side"] != "client" {
		client, server = server, client
	}
	for key, want := range map[string]any{
		"connection.side": "client", "network.transport": "tcp", "network.type": "ipv4",
		"network.local.address": "127.0.0.1", "network.peer.address": "127.0.0.1",
		"grpc.client.id": c["grpc.client.id"], "grpc.target": target,
		"code.file.path": file, "code.line.number": int64(line + 1),
		"network.local.port": server.attr["network.peer.port"], "network.peer.port": server.attr["network.local.port"],
	} {
		if client.attr[key] != want {
			t.Errorf("%s of the client side is %v, want %v", key, client.attr[key], want)
		}
	}
	if d, ok := client.attr["connection.setup.duration"].(float64); !ok || d <= 0 {
		t.Errorf("the first call waited %v for the connection", client.attr["connection.setup.duration"])
	}
	if _, told := server.attr["connection.setup.duration"]; told {
		t.Error("a server's connection has nobody who waited for it")
	}
	if server.attr["connection.side"] != "server" || server.attr["grpc.client.id"] != nil {
		t.Errorf("server side is %v", server.attr)
	}

	for _, side := range []record{client, server} {
		end := awaitEnd(t, a, side)
		if end["connection.rpcs"] != int64(2) || end["connection.side"] != side.attr["connection.side"] {
			t.Errorf("end is %v, want 2 rpcs on the %v side", end, side.attr["connection.side"])
		}
		if d, ok := end["connection.duration"].(float64); !ok || d <= 0 {
			t.Errorf("duration is %v", end["connection.duration"])
		}
	}
	closed := awaitClosed(t, a, created[0])
	if closed["grpc.client.rpcs"] != int64(2) || closed["grpc.client.close"] != "close" {
		t.Errorf("closed is %v", closed)
	}
}

// firstCall lets connections be made once a call has begun, which then waits.
type firstCall struct {
	begun chan struct{}
	once  sync.Once
}

func (c *firstCall) dial(ctx context.Context, address string) (net.Conn, error) {
	select {
	case <-c.begun:
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *firstCall) HandleRPC(_ context.Context, event stats.RPCStats) {
	if _, ok := event.(*stats.Begin); ok {
		c.once.Do(func() { close(c.begun) })
	}
}

func (c *firstCall) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (c *firstCall) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (c *firstCall) HandleConn(context.Context, stats.ConnStats)                       {}

func port(r record, key string) int {
	p, _ := r.attr[key].(int64)
	return int(p)
}

func awaitEnd(t *testing.T, a *agent, begin record) map[string]any {
	t.Helper()
	return awaitOne(t, a, "grpc.connection.end", "connection.id", begin)
}

func awaitClosed(t *testing.T, a *agent, created record) map[string]any {
	t.Helper()
	return awaitOne(t, a, "grpc.client.closed", "grpc.client.id", created)
}

func awaitOne(t *testing.T, a *agent, event, id string, of record) map[string]any {
	t.Helper()
	var found []record
	eventually(t, event, func() bool {
		found = nil
		for _, r := range a.events(event) {
			if r.attr[id] == of.attr[id] {
				found = append(found, r)
			}
		}
		return len(found) > 0
	})
	if len(found) != 1 {
		t.Errorf("%d records %s for one id", len(found), event)
	}
	return found[0].attr
}

func TestConnectionThatNoCallWaitedForHasNoSetup(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	target := serve(t)
	conn, err := weir.NewClient(target, insecureOption())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Connect()
	var begun []record
	eventually(t, "the connection", func() bool {
		begun = withTarget(a.events("grpc.connection.begin"), target)
		return len(begun) == 1
	})
	if d, told := begun[0].attr["connection.setup.duration"]; told {
		t.Errorf("setup took %v", d)
	}
}

func TestCallThatGaveUpDoesNotCountAsWaiting(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := listener.Addr().String()
	listener.Close()
	conn, err := weir.NewClient(target, insecureOption())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true)); err == nil {
		t.Fatal("a call without a server succeeded")
	}
	if listener, err = net.Listen("tcp", target); err != nil {
		t.Skipf("somebody took the port: %v", err)
	}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	go server.Serve(listener)
	defer server.Stop()
	conn.ResetConnectBackoff()
	conn.Connect()
	var begun []record
	eventually(t, "the connection", func() bool {
		begun = withTarget(a.events("grpc.connection.begin"), target)
		return len(begun) == 1
	})
	if d, told := begun[0].attr["connection.setup.duration"]; told {
		t.Errorf("setup took %v, though nobody waited", d)
	}
}

func TestCloseIsReportedOnceHoweverOftenItIsCalled(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	conn := dial(t, "passthrough:///close-twice")
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := conn.Close(); err != grpc.ErrClientConnClosing { //nolint:staticcheck // the error grpc returns
		t.Errorf("second Close returned %v", err)
	}
	conn.Close()
	created := awaitCreated(t, a, "passthrough:///close-twice")
	awaitClosed(t, a, created)
	a.freshSnapshot(t)
	awaitClosed(t, a, created)
}

func awaitCreated(t *testing.T, a *agent, target string) record {
	t.Helper()
	var found []record
	eventually(t, "created", func() bool {
		found = withTarget(a.events("grpc.client.created"), target)
		return len(found) == 1
	})
	return found[0]
}

func TestClosingTheInnerClientConnCountsAsClose(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	conn := dial(t, "passthrough:///inner")
	conn.ClientConn.Close()
	closed := awaitClosed(t, a, awaitCreated(t, a, "passthrough:///inner"))
	if closed["grpc.client.close"] != "close" {
		t.Errorf("closed is %v", closed)
	}
}

func TestClientCollectedWithoutCloseIsReported(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	makeAndForget(t)
	created := awaitCreated(t, a, "passthrough:///forgotten")
	var closed map[string]any
	eventually(t, "collected", func() bool {
		runtime.GC()
		for _, r := range a.events("grpc.client.closed") {
			if r.attr["grpc.client.id"] == created.attr["grpc.client.id"] {
				closed = r.attr
			}
		}
		return closed != nil
	})
	if closed["grpc.client.close"] != "collected" {
		t.Errorf("closed is %v", closed)
	}
}

//go:noinline
func makeAndForget(t *testing.T) {
	if _, err := weir.NewClient("passthrough:///forgotten", insecureOption()); err != nil {
		t.Fatal(err)
	}
}

func TestClientInUseIsNotCollected(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	target := serve(t)
	// Only the inner one is kept, and garbage collection runs between its uses.
	inner := dialInner(t, target)
	defer inner.Close()
	for range 3 {
		runtime.GC()
		check(t, inner)
	}
	created := awaitCreated(t, a, target)
	s := a.freshSnapshot(t)
	for _, g := range s.kind("g") {
		if g["id"] == created.attr["grpc.client.id"] {
			return
		}
	}
	t.Errorf("client %v is not in the snapshot", created.attr["grpc.client.id"])
}

//go:noinline
func dialInner(t *testing.T, target string) *grpc.ClientConn {
	conn, err := weir.NewClient(target, insecureOption())
	if err != nil {
		t.Fatal(err)
	}
	return conn.ClientConn
}

func TestDialOptionReportsConnectionsWithoutClient(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	target := serve(t)
	conn, err := grpc.NewClient(target, insecureOption(), weir.DialOption())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	check(t, conn)
	s := a.freshSnapshot(t)
	for _, c := range s.kind("c") {
		if c["p"] == target {
			if c["g"] != int64(0) || c["r"] != int64(1) {
				t.Errorf("entry is %v", c)
			}
			return
		}
	}
	t.Error("connection is not in the snapshot")
}

func TestTwoHandlersOnOneClientCountOnce(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	target := serve(t, weir.ServerOption(), weir.ServerOption())
	conn := dial(t, target, weir.DialOption())
	before := a.freshSnapshot(t)
	check(t, conn)
	after := a.freshSnapshot(t)
	for _, total := range []string{"client.rpcs", "server.rpcs"} {
		if n := after.attr[total].(int64) - before.attr[total].(int64); n != 1 {
			t.Errorf("%s grew by %d for one call", total, n)
		}
	}
	var own []map[string]any
	for _, e := range append(after.kind("c"), after.kind("s")...) {
		if e["p"] == target || e["l"] == target {
			own = append(own, e)
		}
	}
	if len(own) != 2 {
		t.Fatalf("%d connections, want one from each end: %v", len(own), own)
	}
	for _, e := range own {
		if e["r"] != int64(1) || e["o"] != int64(0) {
			t.Errorf("entry is %v", e)
		}
		if e["k"] == "c" && e["g"] == int64(0) {
			t.Errorf("connection lost its client: %v", e)
		}
	}
}

func TestServeHTTPDoesNotMakeConnectionsOfCalls(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	grpcServer := grpc.NewServer(weir.ServerOption())
	healthpb.RegisterHealthServer(grpcServer, health.NewServer())
	server := httptest.NewUnstartedServer(grpcServer)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	before := a.freshSnapshot(t)
	conn := dial(t, server.Listener.Addr().String())
	for range 3 {
		check(t, conn)
	}
	after := a.freshSnapshot(t)
	if n := after.attr["connection.opened"].(int64) - before.attr["connection.opened"].(int64); n != 1 {
		t.Errorf("%d connections opened, want the client's alone", n)
	}
	if n := after.attr["server.rpcs"].(int64) - before.attr["server.rpcs"].(int64); n != 3 {
		t.Errorf("%d calls served, want 3", n)
	}
}

func TestUnixSocketsAreReported(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, listener, weir.ServerOption())
	for _, opts := range [][]grpc.DialOption{nil, {weir.WithSocketCookie()}} {
		conn := dial(t, "unix://"+path, opts...)
		check(t, conn)
		conn.Close()
	}
	var begun []record
	eventually(t, "client begins", func() bool {
		begun = withTarget(a.events("grpc.connection.begin"), "unix://"+path)
		return len(begun) == 2
	})
	for _, r := range begun {
		if r.attr["network.transport"] != "unix" || r.attr["network.peer.address"] != path || r.attr["network.peer.port"] != nil {
			t.Errorf("begin is %v", r.attr)
		}
	}
}

func TestFailingNewClientLeavesNothing(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	before := a.freshSnapshot(t)
	if _, err := weir.NewClient("no-credentials"); err == nil {
		t.Fatal("grpc accepted a client without credentials")
	}
	after := a.freshSnapshot(t)
	if before.attr["client.opened"] != after.attr["client.opened"] {
		t.Error("a client that was never made was counted")
	}
}

func TestConnectionsThatNeverServeAreEnded(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	conn := dial(t, listener.Addr().String())
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	conn.Close()
	s := a.freshSnapshot(t)
	for _, c := range s.kind("c") {
		if c["p"] == listener.Addr().String() {
			t.Errorf("still open: %v", c)
		}
	}
}
