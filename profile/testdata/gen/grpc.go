package main

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

const (
	serializerRun = "grpcsync.(*CallbackSerializer).run"
	clientReader  = "transport.(*http2Client).reader"
	serverReader  = "transport.(*http2Server).HandleStreams"
)

// kept makes clients reachable: the usual leak is a map or a slice that only grows.
var kept []*grpc.ClientConn

func plaintext() grpc.DialOption {
	return grpc.WithTransportCredentials(insecure.NewCredentials())
}

// startServer serves the health service, whose Watch is a stream without an end.
func startServer() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	go server.Serve(listener)
	return listener.Addr().String()
}

func call(client *grpc.ClientConn) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := healthpb.NewHealthClient(client).Check(ctx, &healthpb.HealthCheckRequest{})
	check(err)
}

func watch(client *grpc.ClientConn, streams int) {
	for range streams {
		ctx, cancel := context.WithCancel(context.Background())
		_ = cancel // never called: the leak
		stream, err := healthpb.NewHealthClient(client).Watch(ctx, &healthpb.HealthCheckRequest{})
		check(err)
		_, err = stream.Recv()
		check(err)
	}
}
