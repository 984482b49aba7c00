// Package grpcutil is a dial helper as many services have one: the site of its
// clients is the line that called it.
package grpcutil

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	weir "github.com/weir-agent/weir/go"
)

// Dial makes a client without transport security.
func Dial(target string, opts ...grpc.DialOption) (*weir.ClientConn, error) {
	opts = append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return weir.NewClient(target, opts...)
}
