//go:build linux

package weir_test

import (
	"context"
	"net"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	weir "github.com/weir-agent/weir/go"
)

// recorder keeps the cookies of the connections it hands out, read on its own.
type recorder struct {
	net.Listener
	mu      sync.Mutex
	cookies map[int64]bool
}

func (r *recorder) Accept() (net.Conn, error) {
	c, err := r.Listener.Accept()
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.cookies[cookie(c)] = true
	}
	return c, err
}

func cookie(c net.Conn) int64 {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return -1
	}
	var value uint64
	raw.Control(func(fd uintptr) {
		value, err = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE)
	})
	if err != nil {
		return -1
	}
	return int64(value)
}

func TestCookieOfTheSocketIsReportedWhereAskedFor(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seen := &recorder{Listener: listener, cookies: map[int64]bool{}}
	serveOn(t, weir.Listener(seen), weir.ServerOption())
	target := listener.Addr().String()
	check(t, dial(t, target, weir.WithSocketCookie()))
	check(t, dial(t, target))

	s := a.freshSnapshot(t)
	servers, with, without := 0, 0, 0
	seen.mu.Lock()
	defer seen.mu.Unlock()
	for _, e := range s.entries {
		switch {
		case e["k"] == "s" && e["l"] == target:
			servers++
			if c, _ := e["c"].(int64); !seen.cookies[c] {
				t.Errorf("cookie %d of the server side is not one of %v", c, seen.cookies)
			}
		case e["k"] == "c" && e["p"] == target && e["c"] == nil:
			without++
		case e["k"] == "c" && e["p"] == target:
			with++
			if seen.cookies[e["c"].(int64)] {
				t.Error("the client's socket has the cookie of the server's")
			}
		}
	}
	if servers != 2 || with != 1 || without != 1 {
		t.Errorf("%d server sides, %d clients with and %d without cookie", servers, with, without)
	}
}

func TestCookieOfTheClientIsTheKernels(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	target := serve(t)
	// A dialer given later wins, so this one can look at the same socket.
	var own int64
	look := grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		c, err := weir.DialWithCookie(ctx, address)
		if err == nil {
			own = cookie(c)
		}
		return c, err
	})
	check(t, dial(t, target, look))
	s := a.freshSnapshot(t)
	for _, e := range s.kind("c") {
		if e["p"] == target && e["c"] == own && own > 0 {
			return
		}
	}
	t.Errorf("no connection with cookie %d in %v", own, s.entries)
}
