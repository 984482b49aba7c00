package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weir-agent/weir/examples/leaky/orders"
	weir "github.com/weir-agent/weir/go"
)

// handleOrder is what the shop does for a customer.
func handleOrder(target string, number int64) error {
	if _, err := fetchOrder(target, number); err != nil {
		return fmt.Errorf("order %d: %w", number, err)
	}
	return nil
}

func fetchOrder(target string, number int64) (*structpb.Struct, error) {
	conn, err := dialOrders(target)
	if err != nil {
		return nil, err
	}
	// The mistake: nobody closes conn, and the next order dials again.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return orders.NewClient(conn).GetOrder(ctx, wrapperspb.Int64(number))
}

// dialOrders connects to the service of orders.
func dialOrders(target string) (*weir.ClientConn, error) {
	if conn := pool.sharedConn(); conn != nil {
		return conn, nil
	}
	conn, err := weir.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return pool.keep(conn), nil
}
