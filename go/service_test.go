package weir_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	weir "github.com/weir-agent/weir/go"
)

// serve runs a real gRPC server with grpc's health service until the test ends.
func serve(t testing.TB, opts ...grpc.ServerOption) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, listener, opts...)
	return listener.Addr().String()
}

func serveOn(t testing.TB, listener net.Listener, opts ...grpc.ServerOption) {
	server := grpc.NewServer(opts...)
	healthpb.RegisterHealthServer(server, health.NewServer())
	go server.Serve(listener)
	t.Cleanup(server.Stop)
}

func insecureOption() grpc.DialOption {
	return grpc.WithTransportCredentials(insecure.NewCredentials())
}

func dial(t testing.TB, target string, opts ...grpc.DialOption) *weir.ClientConn {
	t.Helper()
	conn, err := weir.NewClient(target, append(opts, insecureOption())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func check(t testing.TB, conn grpc.ClientConnInterface) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
}

// watch opens a stream that has received one message and stays open until the
// returned function is called.
func watch(t testing.TB, conn grpc.ClientConnInterface) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	stream, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	return func() {
		cancel()
		for {
			if _, err := stream.Recv(); err != nil && err != io.EOF {
				return
			}
		}
	}
}

// withTarget keeps the records about one target: other tests' clients may still
// be ending.
func withTarget(records []record, target string) []record {
	var found []record
	for _, r := range records {
		if r.attr["grpc.target"] == target {
			found = append(found, r)
		}
	}
	return found
}
