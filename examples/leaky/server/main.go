// Command leaky-server answers the orders that leaky-client asks for.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weir-agent/weir/examples/leaky/orders"
	weir "github.com/weir-agent/weir/go"
)

func main() {
	listen := flag.String("listen", cmp.Or(os.Getenv("LEAKY_SERVER_LISTEN"), "127.0.0.1:50051"),
		"`address` to serve gRPC on (LEAKY_SERVER_LISTEN)")
	interval := flag.Duration("snapshot-interval", 2*time.Second, "time between two snapshots to the agent")
	flag.Parse()
	log.SetFlags(0)
	log.SetPrefix("leaky-server: ")
	if err := run(*listen, *interval); err != nil {
		log.Fatal(err)
	}
}

func run(address string, interval time.Duration) error {
	name := cmp.Or(os.Getenv("OTEL_SERVICE_NAME"), "orders")
	if err := weir.Start(weir.Config{ServiceName: name, SnapshotInterval: interval}); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%w; choose another address with -listen", err)
	}
	server := grpc.NewServer(weir.ServerOption())
	orders.Register(server, shop{})

	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	context.AfterFunc(stop, server.Stop)
	log.Printf("ready, pid %d, gRPC on %s", os.Getpid(), listener.Addr())
	if err := server.Serve(weir.Listener(listener)); err != nil {
		return err
	}
	ctx, done := context.WithTimeout(context.Background(), time.Second)
	defer done()
	// The agent may be gone already; that is no failure of the server.
	_ = weir.Stop(ctx)
	return nil
}

type shop struct{}

func (shop) GetOrder(_ context.Context, number *wrapperspb.Int64Value) (*structpb.Struct, error) {
	order, err := structpb.NewStruct(map[string]any{
		"number": float64(number.GetValue()),
		"item":   "chair",
		"pieces": float64(1 + number.GetValue()%4),
	})
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return order, nil
}
