package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"
)

// runAsScenario makes the test binary be the program.
const runAsScenario = "RUN_AS_SCENARIO"

func TestMain(m *testing.M) {
	if os.Getenv(runAsScenario) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program is a running scenario.
type program struct {
	announcement
	command *exec.Cmd
}

func start(t *testing.T, arguments ...string) *program {
	t.Helper()
	command := exec.Command(os.Args[0], append(arguments, "-rate", "25", "-snapshot-interval", "200ms")...)
	command.Env = append(os.Environ(), runAsScenario+"=1")
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill(); command.Wait() })
	p := &program{command: command}
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err != nil {
		t.Fatalf("no announcement: %v", err)
	}
	if err := json.Unmarshal(line, &p.announcement); err != nil {
		t.Fatalf("announcement %q: %v", line, err)
	}
	if p.PID != command.Process.Pid || len(p.Sites) == 0 {
		t.Fatalf("announcement is %+v", p.announcement)
	}
	return p
}

func (p *program) profile(t *testing.T, name string) string {
	t.Helper()
	response, err := http.Get("http://" + p.Pprof + "/debug/pprof/" + name + "?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// goroutines counts those whose stack holds the text.
func (p *program) goroutines(t *testing.T, text string) int {
	t.Helper()
	return countBlocks(p.profile(t, "goroutine"), text)
}

func countBlocks(profile, text string) int {
	total := 0
	for block := range strings.SplitSeq(profile, "\n\n") {
		if !strings.Contains(block, text) {
			continue
		}
		for line := range strings.Lines(block) {
			var n int
			if strings.Contains(line, " @ ") && !strings.HasPrefix(line, "#") {
				if _, err := fmt.Sscanf(line, "%d @", &n); err == nil {
					total += n
				}
			}
		}
	}
	return total
}

const (
	established = "01"
	closeWait   = "08"
)

// sockets counts the client's sockets to the server that are in a state of
// proc_net_tcp(5).
func (p *program) sockets(t *testing.T, state string) int {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	address, err := net.ResolveTCPAddr("tcp", p.Target)
	if err != nil {
		t.Fatal(err)
	}
	peer := fmt.Sprintf("0100007F:%04X", address.Port)
	count := 0
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 3 && f[2] == peer && f[3] == state {
			count++
		}
	}
	return count
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

const (
	serializer = "grpcsync.(*CallbackSerializer).run"
	reader     = "transport.(*http2Client).reader"
	stream     = "grpc.newClientStreamWithParams.func"
	readLoop   = "net/http.(*persistConn).readLoop"
	writeLoop  = "net/http.(*persistConn).writeLoop"
)

// many is how far a leak has to grow in a test.
const many = 40

func TestClientPerCallLeavesFiveGoroutinesAndASocketEach(t *testing.T) {
	for _, variant := range [][]string{nil, {"-plain"}, {"-helper"}} {
		t.Run(strings.Join(variant, ""), func(t *testing.T) {
			t.Parallel()
			p := start(t, append([]string{"client_per_call"}, variant...)...)
			eventually(t, "growth", func() bool { return p.sockets(t, established) >= many })
			profile := p.profile(t, "goroutine")
			n := countBlocks(profile, reader)
			if s := countBlocks(profile, serializer); n < many || s < 3*n || s > 3*n+3 {
				t.Errorf("%d serializers for %d readers", s, n)
			}
			if p.Plain {
				return
			}
			p.expectSite(t)
		})
	}
}

// site is the first announced line.
func (p *program) site() string { return fmt.Sprintf("%s:%d", p.Sites[0].File, p.Sites[0].Line) }

// expectSite checks that labels and profile name the announced line.
func (p *program) expectSite(t *testing.T) {
	t.Helper()
	where := p.site()
	if n := countBlocks(p.profile(t, "goroutine"), fmt.Sprintf("%q:%q", "weir.site", where)); n < many {
		t.Errorf("%d goroutines carry the label of %s", n, where)
	}
	if n := countBlocks(p.profile(t, "grpc.clientconn"), where); n < many {
		t.Errorf("the profile has %d clients of %s", n, where)
	}
}

func TestUnclosedIdleClientsLeaveSerializersWithoutSockets(t *testing.T) {
	for _, variant := range []string{"", "-plain", "-keep"} {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t)
			arguments := []string{"clientconn_unclosed_idle", "-idle-timeout", "500ms", "-endpoint", a.URL}
			if variant != "" {
				arguments = append(arguments, variant)
			}
			p := start(t, arguments...)
			eventually(t, "many more serializers than readers", func() bool {
				profile := p.profile(t, "goroutine")
				return countBlocks(profile, serializer) >= 3*many+3*countBlocks(profile, reader)
			})
			// Sockets level off: at the idle timeout times the rate, and the
			// time that the idle timer takes.
			if n := p.sockets(t, established); n >= many {
				t.Errorf("%d sockets", n)
			}
			switch variant {
			case "":
				eventually(t, "clients collected without Close", func() bool { return a.collected() >= 10 })
			case "-keep":
				eventually(t, "clients in the profile", func() bool {
					return countBlocks(p.profile(t, "grpc.clientconn"), p.site()) >= many
				})
			}
		})
	}
}

func TestStreamsThatNobodyEndsShareOneSocket(t *testing.T) {
	for _, variant := range [][]string{nil, {"-plain"}} {
		t.Run(strings.Join(variant, ""), func(t *testing.T) {
			t.Parallel()
			p := start(t, append([]string{"stream_not_cancelled"}, variant...)...)
			eventually(t, "open streams", func() bool { return p.goroutines(t, stream) >= many })
			if n := p.sockets(t, established); n != 1 {
				t.Errorf("%d sockets", n)
			}
		})
	}
}

func TestDuplicatedDescriptorsHoldSocketsOfClosedClients(t *testing.T) {
	t.Parallel()
	p := start(t, "fd_dup")
	eventually(t, "sockets", func() bool { return p.sockets(t, established) >= many })
	profile := p.profile(t, "goroutine")
	if n := countBlocks(profile, serializer) + countBlocks(profile, reader); n > 10 {
		t.Errorf("%d goroutines of clients, though all are closed", n)
	}
}

func TestPeerClosedConnectionsStayInCloseWait(t *testing.T) {
	t.Parallel()
	p := start(t, "peer_closed_app_holds")
	before := p.goroutines(t, "")
	eventually(t, "CLOSE_WAIT", func() bool { return p.sockets(t, closeWait) >= many })
	if after := p.goroutines(t, ""); after > before+10 {
		t.Errorf("goroutines grew from %d to %d", before, after)
	}
}

func TestTransportPerRequestLeavesTwoGoroutinesAndASocketEach(t *testing.T) {
	t.Parallel()
	p := start(t, "transport_per_request")
	eventually(t, "growth", func() bool { return p.sockets(t, established) >= many })
	profile := p.profile(t, "goroutine")
	if r, w := countBlocks(profile, readLoop), countBlocks(profile, writeLoop); r < many || w < many {
		t.Errorf("%d readLoops and %d writeLoops", r, w)
	}
}

func TestUnclosedBodiesHoldTheirConnections(t *testing.T) {
	t.Parallel()
	p := start(t, "http_body_unclosed")
	eventually(t, "growth", func() bool { return p.sockets(t, established) >= many })
	profile := p.profile(t, "goroutine")
	if r, w := countBlocks(profile, readLoop), countBlocks(profile, writeLoop); r < many || w < many {
		t.Errorf("%d readLoops and %d writeLoops", r, w)
	}
}

func TestPoolWarmsUpToFiftyAndStays(t *testing.T) {
	t.Parallel()
	p := start(t, "pool_warmup")
	eventually(t, "50 sockets", func() bool { return p.sockets(t, established) == poolSize })
	for range 20 {
		time.Sleep(50 * time.Millisecond)
		if n := p.sockets(t, established); n != poolSize {
			t.Fatalf("%d sockets after the warm-up", n)
		}
	}
}

func TestChurnLeavesNothingOpen(t *testing.T) {
	for _, variant := range [][]string{nil, {"-plain"}} {
		t.Run(strings.Join(variant, ""), func(t *testing.T) {
			t.Parallel()
			a := newAgent(t)
			p := start(t, append([]string{"connect_close_churn", "-endpoint", a.URL}, variant...)...)
			if p.Plain {
				eventually(t, "TIME_WAIT", func() bool { return p.sockets(t, "06") >= many })
			} else {
				eventually(t, "ends", func() bool { return a.count("grpc.connection.end") >= many })
			}
			if n := p.sockets(t, established); n > 5 {
				t.Errorf("%d sockets open", n)
			}
		})
	}
}

func TestBurstsIdleOut(t *testing.T) {
	t.Parallel()
	p := start(t, "burst_idle", "-idle-timeout", "300ms")
	for range 2 {
		eventually(t, "a burst", func() bool { return p.sockets(t, established) == burstSize })
		eventually(t, "idle", func() bool { return p.sockets(t, established) == 0 })
	}
	if n := p.goroutines(t, serializer); n < 3*burstSize || n > 3*burstSize+3 {
		t.Errorf("%d serializers for %d clients", n, burstSize)
	}
}

func TestGenerationsOverlapAndTheOldOneGoes(t *testing.T) {
	t.Parallel()
	p := start(t, "deploy_overlap")
	for range 2 {
		eventually(t, "two generations", func() bool { return p.sockets(t, established) == 2*generationSize })
		eventually(t, "one generation", func() bool { return p.sockets(t, established) == generationSize })
	}
}

func TestLostEventsAreMissingButSnapshotsTellTheTruth(t *testing.T) {
	for _, variant := range [][]string{nil, {"-drop-snapshots"}} {
		t.Run(strings.Join(variant, ""), func(t *testing.T) {
			t.Parallel()
			a := newAgent(t)
			p := start(t, append([]string{"events_lost", "-endpoint", a.URL}, variant...)...)
			eventually(t, "missing ends", func() bool {
				return a.count("grpc.connection.begin")-a.count("grpc.connection.end") >= many
			})
			if n := p.sockets(t, established); n > 5 {
				t.Errorf("%d sockets open", n)
			}
			if variant != nil {
				if n := a.count("grpc.snapshot"); n != 0 {
					t.Errorf("%d snapshots came through", n)
				}
				return
			}
			eventually(t, "a snapshot that disagrees with the events", func() bool {
				opened, closed := a.lastTotals()
				return opened >= 2*many && opened-closed <= 5
			})
		})
	}
}

func TestServerDiesWithItsParent(t *testing.T) {
	t.Parallel()
	p := start(t, "pool_warmup")
	if err := p.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.command.Wait()
	eventually(t, "the server is gone", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.ServerPID))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

func TestDurationEndsTheProgram(t *testing.T) {
	t.Parallel()
	p := start(t, "pool_warmup", "-duration", "300ms")
	if err := p.command.Wait(); err != nil {
		t.Errorf("ended with %v", err)
	}
}

// agent is an OTLP receiver that decodes with the official messages.
type agent struct {
	*httptest.Server
	mu      sync.Mutex
	records []*logs.LogRecord
}

func newAgent(t *testing.T) *agent {
	a := &agent{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		request := new(collogs.ExportLogsServiceRequest)
		if err == nil {
			err = proto.Unmarshal(body, request)
		}
		if err != nil {
			t.Errorf("request: %v", err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, resource := range request.ResourceLogs {
			for _, scope := range resource.ScopeLogs {
				a.records = append(a.records, scope.LogRecords...)
			}
		}
	}))
	t.Cleanup(a.Server.Close)
	return a
}

func (a *agent) count(event string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, r := range a.records {
		if r.EventName == event {
			n++
		}
	}
	return n
}

// collected counts the clients that were garbage collected without Close.
func (a *agent) collected() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, r := range a.records {
		for _, attribute := range r.Attributes {
			if attribute.Key == "grpc.client.close" && attribute.Value.GetStringValue() == "collected" {
				n++
			}
		}
	}
	return n
}

func (a *agent) lastTotals() (opened, closed int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.records {
		if r.EventName == "grpc.snapshot" {
			opened, closed = number(r.Attributes, "connection.opened"), number(r.Attributes, "connection.closed")
		}
	}
	return opened, closed
}

func number(attributes []*common.KeyValue, key string) int64 {
	for _, a := range attributes {
		if a.Key == key {
			return a.Value.GetIntValue()
		}
	}
	return -1
}
