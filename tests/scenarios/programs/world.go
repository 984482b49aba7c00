package main

import (
	"context"
	"io"
	"runtime"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	weir "github.com/weir-agent/weir/go"
)

// site is a line that a verdict may name.
type site struct {
	What     string `json:"what"` // what that line does
	File     string `json:"file"`
	Line     int    `json:"line"`
	Function string `json:"function"`
}

// client is a gRPC client, with or without the module.
type client interface {
	grpc.ClientConnInterface
	io.Closer
}

// world is what a scenario works with.
type world struct {
	options
	target   string
	sites    []site
	announce func()
}

// nextLine notes the line after the call as one that a verdict may name.
func (w *world) nextLine(what string) {
	pc, file, line, _ := runtime.Caller(1)
	here := site{What: what, File: file, Line: line + 1, Function: runtime.FuncForPC(pc).Name()}
	if !slices.Contains(w.sites, here) {
		w.sites = append(w.sites, here)
	}
}

// each calls f at the rate of the scenario until ctx ends, and announces the
// scenario once the first call has shown where its sites are.
func (w *world) each(ctx context.Context, f func(n int) error) error {
	ticker := time.NewTicker(time.Duration(float64(time.Second) / w.rate))
	defer ticker.Stop()
	for n := 0; ; n++ {
		if err := f(n); err != nil {
			return err
		}
		if n == 0 {
			w.announce()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// dial makes a client; scenarios whose site is this one share it.
func (w *world) dial(opts ...grpc.DialOption) (client, error) {
	opts = append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if w.plain {
		w.nextLine("grpc.NewClient")
		return grpc.NewClient(w.target, opts...)
	}
	w.nextLine("weir.NewClient")
	return weir.NewClient(w.target, opts...)
}

// call makes one RPC.
func call(conn grpc.ClientConnInterface) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

// traffic makes an RPC on each of the clients.
func traffic(clients []client) error {
	for _, c := range clients {
		if err := call(c); err != nil {
			return err
		}
	}
	return nil
}

func closeAll(clients []client) {
	for _, c := range clients {
		c.Close()
	}
}
