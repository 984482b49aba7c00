// Package grpcutil is a dial helper of the kind that services have: its own lines are never the site.
package grpcutil

import (
	weir "github.com/weir-agent/weir/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Dial makes a client without transport security.
func Dial(target string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	return weir.NewClient(target, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
}
