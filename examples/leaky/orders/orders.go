// Package orders is the gRPC service of the example. It is written in the shape
// of generated code, so that the example builds without protoc; the messages are
// protobuf's own well-known types.
package orders

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const getOrder = "/shop.v1.Orders/GetOrder"

// Client is the client of the service shop.v1.Orders.
type Client interface {
	// GetOrder returns the order with that number.
	GetOrder(ctx context.Context, number *wrapperspb.Int64Value, opts ...grpc.CallOption) (*structpb.Struct, error)
}

// NewClient makes a stub that calls over conn.
func NewClient(conn grpc.ClientConnInterface) Client { return &client{conn} }

type client struct{ conn grpc.ClientConnInterface }

func (c *client) GetOrder(ctx context.Context, number *wrapperspb.Int64Value, opts ...grpc.CallOption) (*structpb.Struct, error) {
	order := new(structpb.Struct)
	if err := c.conn.Invoke(ctx, getOrder, number, order, opts...); err != nil {
		return nil, err
	}
	return order, nil
}

// Server is what an implementation of shop.v1.Orders offers.
type Server interface {
	// GetOrder returns the order with that number.
	GetOrder(ctx context.Context, number *wrapperspb.Int64Value) (*structpb.Struct, error)
}

// Register adds the service to a gRPC server.
func Register(s grpc.ServiceRegistrar, srv Server) { s.RegisterService(&serviceDesc, srv) }

var serviceDesc = grpc.ServiceDesc{
	ServiceName: "shop.v1.Orders",
	HandlerType: (*Server)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "GetOrder", Handler: handleGetOrder}},
}

func handleGetOrder(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	number := new(wrapperspb.Int64Value)
	if err := decode(number); err != nil {
		return nil, err
	}
	if intercept == nil {
		return srv.(Server).GetOrder(ctx, number)
	}
	info := &grpc.UnaryServerInfo{Server: srv, FullMethod: getOrder}
	return intercept(ctx, number, info, func(ctx context.Context, request any) (any, error) {
		return srv.(Server).GetOrder(ctx, request.(*wrapperspb.Int64Value))
	})
}
