//go:build grpc160

package main

import (
	"context"
	"runtime/pprof"

	"google.golang.org/grpc"
)

func init() {
	shapes["grpc160"] = shapeGrpc160
}

func dialOld(target string) *grpc.ClientConn {
	client, err := grpc.Dial(target, plaintext()) // site: old
	check(err)
	return client
}

// 20 labelled clients and 3 streams on the last, with a release of grpc that has the older names.
func shapeGrpc160() {
	target := startServer()
	pprof.Do(context.Background(), pprof.Labels("weir.target", target), func(context.Context) {
		for range 20 {
			client := dialOld(target)
			kept = append(kept, client)
			call(client)
		}
	})
	watch(kept[19], 3)
	settle(clientReader, 20)
	settle(serverReader, 20)
	dump("goroutine", "grpc160.goroutine")
}
