package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	weir "github.com/weir-agent/weir/go"
	"github.com/weir-agent/weir/tests/scenarios/programs/internal/grpcutil"
)

func clientPerCall(ctx context.Context, w *world) error {
	security := grpc.WithTransportCredentials(insecure.NewCredentials())
	return w.each(ctx, func(n int) (err error) {
		var conn client
		switch {
		case w.wrapper && n%4 == 3:
			conn, err = w.dial()
		case w.wrapper:
			conn, err = w.dial()
		case w.plain:
			w.nextLine("grpc.NewClient")
			conn, err = grpc.NewClient(w.target, security)
		case w.helper:
			w.nextLine("call of a dial helper")
			conn, err = grpcutil.Dial(w.target)
		default:
			w.nextLine("weir.NewClient")
			conn, err = weir.NewClient(w.target, security)
		}
		if err != nil {
			return err
		}
		return call(conn)
	})
}

func clientConnUnclosedIdle(ctx context.Context, w *world) error {
	security := grpc.WithTransportCredentials(insecure.NewCredentials())
	idle := grpc.WithIdleTimeout(w.idleTimeout)
	var kept []client
	return w.each(ctx, func(int) (err error) {
		var conn client
		if w.plain {
			w.nextLine("grpc.NewClient")
			conn, err = grpc.NewClient(w.target, security, idle)
		} else {
			w.nextLine("weir.NewClient")
			conn, err = weir.NewClient(w.target, security, idle)
		}
		if err != nil {
			return err
		}
		if w.keep {
			kept = append(kept, conn)
		}
		return call(conn)
	})
}

func streamNotCancelled(ctx context.Context, w *world) error {
	conn, err := w.dial()
	if err != nil {
		return err
	}
	w.sites = nil // the client is not the mistake
	return w.each(ctx, func(int) error {
		// A context that can end, but that nobody ends.
		forever, end := context.WithCancel(context.Background())
		_ = end
		w.nextLine("Watch")
		stream, err := healthpb.NewHealthClient(conn).Watch(forever, &healthpb.HealthCheckRequest{})
		if err != nil {
			return err
		}
		_, err = stream.Recv()
		return err
	})
}

func peerClosedAppHolds(ctx context.Context, w *world) error {
	var held []net.Conn
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	return w.each(ctx, func(int) error {
		w.nextLine("net.Dial")
		conn, err := net.Dial("tcp", w.target)
		if err != nil {
			return err
		}
		// Kept, because the finalizer of a dropped one would close it.
		held = append(held, conn)
		if _, err := conn.Write([]byte("hello\n")); err != nil {
			return err
		}
		// The peer answers and closes; the end of file is read and ignored.
		_, err = io.ReadAll(conn)
		return err
	})
}

func transportPerRequest(ctx context.Context, w *world) error {
	return w.each(ctx, func(int) error {
		w.nextLine("http.Transport")
		client := &http.Client{Transport: &http.Transport{MaxIdleConns: 10}}
		w.nextLine("http.Client.Get")
		response, err := client.Get("http://" + w.target + "/")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return err
	})
}

func descriptorDup(ctx context.Context, w *world) error {
	security := grpc.WithTransportCredentials(insecure.NewCredentials())
	var lock sync.Mutex
	var kept []*os.File
	defer func() {
		for _, f := range kept {
			f.Close()
		}
	}()
	dial := func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		// A second descriptor of the same socket, as one passes to a child process; it outlives conn.
		file, err := conn.(*net.TCPConn).File()
		if err != nil {
			return nil, err
		}
		lock.Lock()
		defer lock.Unlock()
		kept = append(kept, file)
		return conn, nil
	}
	return w.each(ctx, func(int) error {
		w.nextLine("weir.NewClient")
		conn, err := weir.NewClient(w.target, security, grpc.WithContextDialer(dial))
		if err != nil {
			return err
		}
		defer conn.Close()
		return call(conn)
	})
}

func httpBodyUnclosed(ctx context.Context, w *world) error {
	return w.each(ctx, func(int) error {
		w.nextLine("http.Get")
		response, err := http.Get("http://" + w.target + "/")
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("the server answered %s", response.Status)
		}
		return nil
	})
}
