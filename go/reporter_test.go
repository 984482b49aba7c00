package weir_test

import (
	"bytes"
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	weir "github.com/weir-agent/weir/go"
)

func TestAbsentAgentHoldsNothingUp(t *testing.T) {
	var failures atomic.Int64
	start(t, "http://"+freeAddress(t), func(c *weir.Config) {
		c.OnError = func(error) { failures.Add(1) }
	})
	target := serve(t, weir.ServerOption())
	for range 50 {
		conn := dial(t, target)
		check(t, conn)
		conn.Close()
	}
	eventually(t, "several attempts", func() bool { return failures.Load() >= 2 })
}

func TestSlowAgentHoldsNothingUp(t *testing.T) {
	a := newAgent(t)
	asked := make(chan struct{}, 100)
	release := make(chan struct{})
	a.setAnswer(func(r *http.Request) int {
		asked <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return http.StatusOK
	})
	a.start(t)
	<-asked
	target := serve(t)
	for range 50 {
		conn := dial(t, target)
		check(t, conn)
		conn.Close()
	}
	if n := len(a.all()); n != 0 {
		t.Fatalf("%d records arrived at an agent that had not answered", n)
	}
	close(release)
	eventually(t, "all closed", func() bool {
		s, ok := a.lastSnapshot()
		return ok && len(withTarget(a.events("grpc.client.created"), target)) == 50 &&
			s.attr["client.opened"].(int64) >= 50
	})
}

func TestAgentThatDiesAndReturnsGetsTheTruthAtOnce(t *testing.T) {
	a := newAgent(t)
	// The interval is so long that only the return can cause a snapshot.
	a.start(t, func(c *weir.Config) { c.SnapshotInterval = time.Hour })
	target := serve(t)
	check(t, dial(t, target))
	eventually(t, "the first snapshot", func() bool { return len(a.snapshots()) == 1 })

	var refused atomic.Int64
	a.setAnswer(func(*http.Request) int {
		refused.Add(1)
		return http.StatusServiceUnavailable
	})
	check(t, dial(t, target))
	eventually(t, "a refusal", func() bool { return refused.Load() > 0 })
	a.setAnswer(nil)
	eventually(t, "events kept over the outage", func() bool {
		return len(withTarget(a.events("grpc.connection.begin"), target)) == 2
	})
	eventually(t, "a snapshot after the outage", func() bool {
		s, _ := a.lastSnapshot()
		open := 0
		for _, g := range s.kind("g") {
			if g["t"] == target {
				open++
			}
		}
		return open == 2
	})
}

func TestEventsBeyondTheBufferAreCounted(t *testing.T) {
	a := newAgent(t)
	hold, held := make(chan struct{}), make(chan struct{}, 100)
	a.setAnswer(func(*http.Request) int {
		held <- struct{}{}
		<-hold
		return http.StatusOK
	})
	a.start(t, func(c *weir.Config) { c.BufferSize = 10 })
	<-held // nothing is taken from the buffer any more
	for range 30 {
		dial(t, "passthrough:///overflow")
	}
	close(hold)
	eventually(t, "a snapshot that counts", func() bool {
		all := a.snapshots()
		if len(all) < 2 {
			return false
		}
		first, last := all[0].attr, all[len(all)-1].attr
		return last["events.dropped"].(int64)-first["events.dropped"].(int64) == 20
	})
	if n := len(withTarget(a.events("grpc.client.created"), "passthrough:///overflow")); n != 10 {
		t.Errorf("%d events arrived, want those that fitted", n)
	}
	s, _ := a.lastSnapshot()
	open := 0
	for _, g := range s.kind("g") {
		if g["t"] == "passthrough:///overflow" {
			open++
		}
	}
	if open != 30 {
		t.Errorf("snapshot lists %d of 30", open)
	}
}

func TestRefusedEventsAreDroppedCountedAndNamed(t *testing.T) {
	a := newAgent(t)
	a.setAnswer(func(*http.Request) int { return http.StatusBadRequest })
	failed := make(chan error, 100)
	a.start(t, func(c *weir.Config) {
		c.OnError = func(err error) {
			select {
			case failed <- err:
			default:
			}
		}
	})
	dial(t, "passthrough:///refused")
	if err := <-failed; !strings.Contains(err.Error(), "400") || !strings.Contains(err.Error(), a.URL) {
		t.Errorf("error is %v", err)
	}
	<-failed
	a.setAnswer(nil)
	eventually(t, "a count", func() bool {
		s, ok := a.lastSnapshot()
		return ok && s.attr["events.dropped"].(int64) > 0
	})
}

func TestStopSendsWhatWaitsAndLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		a := newAgent(t)
		if err := weir.Start(weir.Config{Endpoint: a.URL, SnapshotInterval: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if err := weir.Start(weir.Config{}); !errors.Is(err, weir.ErrStarted) {
			t.Errorf("second Start returned %v", err)
		}
		dial(t, "passthrough:///stopping").Close()
		if err := weir.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if len(withTarget(a.events("grpc.client.created"), "passthrough:///stopping")) != 1 || len(a.snapshots()) == 0 {
			t.Errorf("Stop did not send what waited: %v", a.all())
		}
		for i, s := range a.snapshots() {
			if last := s.attr["snapshot.last"] == true; last != (i == len(a.snapshots())-1) {
				t.Errorf("snapshot %d of %d: snapshot.last is %v", i+1, len(a.snapshots()), s.attr["snapshot.last"])
			}
		}
		a.Server.Close()
	}
	eventually(t, "all goroutines ended", func() bool { return runtime.NumGoroutine() <= before })
}

func TestStopWaitsNoLongerThanItsContext(t *testing.T) {
	a := newAgent(t)
	a.setAnswer(func(r *http.Request) int {
		<-r.Context().Done()
		return http.StatusOK
	})
	if err := weir.Start(weir.Config{Endpoint: a.URL, Timeout: time.Hour}); err != nil {
		t.Fatal(err)
	}
	dial(t, "passthrough:///slow-stop")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := weir.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stop returned %v", err)
	}
}

func TestStartRefusesWhatCannotWork(t *testing.T) {
	for _, c := range []struct {
		config weir.Config
		says   string
	}{
		{weir.Config{Endpoint: "127.0.0.1:4327"}, "http://127.0.0.1:4327"},
		{weir.Config{Endpoint: "ftp://host"}, "ftp://host"},
		{weir.Config{SnapshotInterval: time.Millisecond}, "at least 100ms"},
		{weir.Config{BufferSize: -1}, "BufferSize is -1"},
		{weir.Config{Timeout: -1}, "Timeout"},
	} {
		if err := weir.Start(c.config); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("Start(%+v) returned %v, want mention of %q", c.config, err, c.says)
			weir.Stop(context.Background())
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestPanicOfOnErrorEndsReportingAndNotTheHost(t *testing.T) {
	var logged bytes.Buffer
	log.SetOutput(&logged)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	var calls atomic.Int64
	start(t, "http://"+freeAddress(t), func(c *weir.Config) {
		c.OnError = func(error) {
			calls.Add(1)
			panic("a mistake of the host")
		}
	})
	target := serve(t)
	check(t, dial(t, target))
	eventually(t, "the callback", func() bool { return calls.Load() == 1 })
	check(t, dial(t, target))

	err := weir.Stop(context.Background())
	if err == nil || !strings.Contains(err.Error(), "a mistake of the host") {
		t.Fatalf("Stop returned %v", err)
	}
	if n := strings.Count(logged.String(), "connections are no longer reported"); n != 1 || calls.Load() != 1 {
		t.Fatalf("told %d times after %d calls: %s", n, calls.Load(), logged.String())
	}

	// Another Start reports again, and says what was lost.
	a := newAgent(t)
	a.start(t)
	if dropped := a.freshSnapshot(t).attr["events.dropped"].(int64); dropped == 0 {
		t.Fatal("nothing was counted as dropped")
	}
}
