package main

import (
	"context"
	"net"
	"runtime/pprof"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weir-agent/weir/examples/leaky/orders"
)

type chairs struct{}

func (chairs) GetOrder(context.Context, *wrapperspb.Int64Value) (*structpb.Struct, error) {
	return structpb.NewStruct(map[string]any{"item": "chair"})
}

func TestOrdersLeakUntilTheProgramIsMended(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	orders.Register(server, chairs{})
	go server.Serve(listener)
	defer server.Stop()

	order := func(times int) int {
		for n := range times {
			if err := handleOrder(listener.Addr().String(), int64(n)); err != nil {
				t.Fatal(err)
			}
		}
		return pprof.Lookup("grpc.clientconn").Count()
	}
	if open := order(5); open != 5 {
		t.Errorf("%d clients open after 5 orders", open)
	}
	if closed := pool.mend(); closed != 4 {
		t.Errorf("mending closed %d of 5", closed)
	}
	if open := order(5); open != 1 {
		t.Errorf("%d clients open once mended", open)
	}
	if closed := pool.mend(); closed != 0 {
		t.Errorf("mending again closed %d", closed)
	}
	pool.shared.Close()
	if open := pprof.Lookup("grpc.clientconn").Count(); open != 0 {
		t.Errorf("%d clients open at the end", open)
	}
}
