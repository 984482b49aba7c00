package weir_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	weir "github.com/weir-agent/weir/go"
)

func TestSnapshotCountsCallsOnEachConnection(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	target := serve(t, weir.ServerOption())
	conn := dial(t, target)
	check(t, conn)
	endOne := watch(t, conn)
	endTwo := watch(t, conn)

	expect := func(what string, calls, open int64) (active int64) {
		t.Helper()
		eventually(t, what, func() bool {
			s, ok := a.lastSnapshot()
			if !ok {
				return false
			}
			seen := 0
			for _, e := range s.entries {
				if e["p"] == target || e["l"] == target || e["t"] == target {
					seen++
					active = e["a"].(int64)
					if e["r"] != calls || e["o"] != open || active < e["b"].(int64) {
						return false
					}
				}
			}
			return seen == 3
		})
		return active
	}
	first := expect("3 calls of which 2 are open", 3, 2)
	endOne()
	second := expect("one stream ended", 3, 1)
	if second <= first {
		t.Errorf("last activity %d did not move from %d", second, first)
	}
	endTwo()
	expect("all ended", 3, 0)
}

func TestCallsThatGetNoConnectionAreOpenOnTheirClientOnly(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	target := freeAddress(t)
	conn := dial(t, target)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
	}()
	expect := func(what string, calls, open int64) {
		t.Helper()
		eventually(t, what, func() bool {
			s, _ := a.lastSnapshot()
			for _, e := range s.entries {
				if e["t"] == target {
					return e["r"] == calls && e["o"] == open
				}
			}
			return false
		})
	}
	expect("a waiting call", 1, 1)
	cancel()
	<-done
	expect("a cancelled call", 1, 0)
	if _, err := healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{}); err == nil {
		t.Fatal("a call to nobody succeeded")
	}
	expect("a failed call", 2, 0)
}

func TestSnapshotLinksConnectionsToClientsAndSites(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	target := serve(t)
	check(t, dial(t, target))
	s := a.freshSnapshot(t)
	for _, g := range s.kind("g") {
		if g["t"] != target {
			continue
		}
		if g["m"] != "github.com/weir-agent/weir/go_test.dial" || g["n"].(int64) == 0 || g["f"] == "" {
			t.Errorf("site of the client is %v", g)
		}
		for _, c := range s.kind("c") {
			if c["g"] == g["id"] && c["p"] == target {
				return
			}
		}
	}
	t.Errorf("no connection of a client to %s in %v", target, s.entries)
}

func TestSnapshotsEqualTheTruthUnderChurn(t *testing.T) {
	a := newAgent(t)
	a.start(t, func(c *weir.Config) { c.BufferSize = 100_000 })
	target := serve(t)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			var open []*weir.ClientConn
			for range 150 {
				conn := dial(t, target)
				if rand.N(4) == 0 {
					check(t, conn)
				}
				if open = append(open, conn); len(open) > 10 {
					open[0].Close()
					open = open[1:]
				}
			}
			for _, conn := range open {
				conn.Close()
			}
		})
	}
	workers.Wait()
	final := a.freshSnapshot(t)

	// Replaying the events up to a snapshot must give exactly what it states.
	// Events of clients that were open before the agent saw anything come in by
	// the first snapshot.
	truth := map[string]map[int64]bool{"g": {}, "c": {}}
	seen, checked := map[int64]int{}, 0
	first := true
	entries := map[int64][]map[string]any{}
	for _, r := range a.all() {
		switch r.event {
		case "grpc.client.created":
			truth["g"][r.attr["grpc.client.id"].(int64)] = true
		case "grpc.client.closed":
			delete(truth["g"], r.attr["grpc.client.id"].(int64))
		case "grpc.connection.begin":
			if r.attr["connection.side"] == "client" {
				truth["c"][r.attr["connection.id"].(int64)] = true
			}
		case "grpc.connection.end":
			delete(truth["c"], r.attr["connection.id"].(int64))
		case "grpc.snapshot":
			id := r.attr["snapshot.id"].(int64)
			seen[id]++
			for _, e := range r.body {
				entries[id] = append(entries[id], e.(map[string]any))
			}
			if int64(seen[id]) < r.attr["snapshot.parts"].(int64) {
				continue
			}
			checked++
			stated := map[string]map[int64]bool{"g": {}, "c": {}}
			for _, e := range entries[id] {
				if k := e["k"].(string); stated[k] != nil {
					stated[k][e["id"].(int64)] = true
				}
			}
			if open := r.attr["client.opened"].(int64) - r.attr["client.closed"].(int64); open != int64(len(stated["g"])) {
				t.Errorf("snapshot %d: opened-closed is %d, but %d listed", id, open, len(stated["g"]))
			}
			if first {
				truth, first = stated, false
			}
			if a, b := fmt.Sprint(stated), fmt.Sprint(truth); a != b {
				t.Errorf("snapshot %d states\n%s\nbut the events say\n%s", id, a, b)
			}
		}
	}
	if checked < 2 {
		t.Errorf("only %d snapshots checked", checked)
	}
	if final.attr["events.dropped"] != a.snapshots()[0].attr["events.dropped"] {
		t.Errorf("dropped events in a buffer that was large enough")
	}
}

func TestLargeSnapshotComesInParts(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	for i := range 1203 {
		dial(t, fmt.Sprintf("passthrough:///part-%d", i))
	}
	s := a.freshSnapshot(t)
	if s.parts < 3 {
		t.Errorf("%d parts for %d entries", s.parts, len(s.entries))
	}
	for _, r := range a.events("grpc.snapshot") {
		if len(r.body) > 500 {
			t.Errorf("%d entries in one part", len(r.body))
		}
	}
	found := map[any]bool{}
	for _, g := range s.kind("g") {
		found[g["t"]] = true
	}
	for i := range 1203 {
		if !found[fmt.Sprintf("passthrough:///part-%d", i)] {
			t.Fatalf("client %d is missing", i)
		}
	}
	if interval := s.attr["snapshot.interval"]; interval != (100 * time.Millisecond).Seconds() {
		t.Errorf("interval is %v", interval)
	}
}

func TestSnapshotsStateOpenStreamsByTheLineThatOpenedThem(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	target := serve(t)
	conn := dial(t, target)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client := healthpb.NewHealthClient(conn)
	_, file, line, _ := runtime.Caller(0)
	for range 3 {
		stream, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	check(t, conn) // a unary call is no stream
	stated := func() []any {
		last, _ := a.lastSnapshot()
		for _, e := range last.entries {
			if e["k"] == "g" && e["t"] == target {
				streams, _ := e["st"].([]any)
				return streams
			}
		}
		return nil
	}
	eventually(t, "three streams of one line", func() bool {
		streams := stated()
		if len(streams) != 1 {
			return false
		}
		s := streams[0].(map[string]any)
		return s["f"] == file && s["n"] == int64(line+2) && s["o"] == int64(3) && strings.HasSuffix(s["m"].(string), "OpenedThem")
	})
	cancel()
	eventually(t, "no stream", func() bool {
		last, ok := a.lastSnapshot()
		return ok && len(last.entries) > 0 && stated() == nil
	})
}
