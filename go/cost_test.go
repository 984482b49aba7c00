package weir_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	weir "github.com/weir-agent/weir/go"
)

// The cost of the module for a whole unary RPC over loopback, with both ends in
// this process: compare Plain and Weir.

func BenchmarkUnaryCallPlain(b *testing.B) {
	target := serve(b)
	conn, err := grpc.NewClient(target, insecureOption())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	benchmarkCalls(b, conn)
}

func BenchmarkUnaryCallWeir(b *testing.B) {
	newAgent(b).start(b)
	target := serve(b, weir.ServerOption())
	benchmarkCalls(b, dial(b, target))
}

func benchmarkCalls(b *testing.B, conn grpc.ClientConnInterface) {
	check(b, conn)
	client := healthpb.NewHealthClient(conn)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Check(context.Background(), &healthpb.HealthCheckRequest{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewClientAndClosePlain(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		conn, err := grpc.NewClient("passthrough:///cost", insecureOption())
		if err != nil {
			b.Fatal(err)
		}
		conn.Close()
	}
}

func BenchmarkNewClientAndCloseWeir(b *testing.B) {
	newAgent(b).start(b)
	b.ReportAllocs()
	for b.Loop() {
		conn, err := weir.NewClient("passthrough:///cost", insecureOption())
		if err != nil {
			b.Fatal(err)
		}
		conn.Close()
	}
}
