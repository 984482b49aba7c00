// Package weir stands in for the companion module: the same import path and the same two marks on a client, a pprof
// label and an entry in the custom profile, without the event sender. It exists so that recorded profiles hold the
// frames a service with the real module has.
package weir

import (
	"context"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strings"

	"google.golang.org/grpc"
)

var clients = pprof.NewProfile("grpc.clientconn")

// NewClient makes a client whose goroutines carry the labels weir.site and weir.target.
func NewClient(target string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	var client *grpc.ClientConn
	var err error
	labels := pprof.Labels("weir.site", site(), "weir.target", target)
	pprof.Do(context.Background(), labels, func(context.Context) {
		client, err = grpc.NewClient(target, options...)
	})
	if err == nil {
		clients.Add(client, 2) // the stack begins with the caller
	}
	return client, err
}

func site() string {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		frame, more := frames.Next()
		if !strings.Contains(frame.Function, "/grpcutil.") || !more {
			return fmt.Sprintf("%s:%d", frame.File, frame.Line)
		}
	}
}
