package weir

import (
	"context"
	"runtime"
	"runtime/pprof"
	"sync"
	"weak"

	"google.golang.org/grpc"
)

// ClientConn is a grpc.ClientConn whose life is reported. Generated stubs take
// it where they take a grpc.ClientConnInterface. Close it with its own Close.
type ClientConn struct {
	*grpc.ClientConn

	once    sync.Once
	record  *clientRecord // nil when reporting is disabled
	cleanup runtime.Cleanup
}

// NewClient is grpc.NewClient, reported: same target, same options, same errors.
// The line that calls it is the site of the client; see [IgnoreFunctions] for
// functions that dial on behalf of others.
//
// While grpc.NewClient runs, the goroutine carries the pprof labels weir.site
// (file:line) and weir.target, which the goroutines of the client inherit.
func NewClient(target string, opts ...grpc.DialOption) (*ClientConn, error) {
	if !ensureStarted() {
		conn, err := grpc.NewClient(target, opts...)
		if err != nil {
			return nil, err
		}
		return &ClientConn{ClientConn: conn}, nil
	}
	site, stack, first := callSites.caller()
	record := process.newClient(target, site, stack, first)
	handler := &clientHandler{registry: process, client: record}
	// First, so that a DialOption among opts finds the connections taken.
	opts = append([]grpc.DialOption{grpc.WithStatsHandler(handler)}, opts...)

	var conn *grpc.ClientConn
	var err error
	labels := pprof.WithLabels(context.Background(),
		pprof.Labels("weir.site", site.label(), "weir.target", target))
	withLabels(labels, func() { conn, err = grpc.NewClient(target, opts...) })
	if err != nil {
		return nil, err
	}

	record.conn = weak.Make(conn)
	census.Add(clientKey(record.id), 2) // the stack begins with the caller
	process.clientOpened(record)
	c := &ClientConn{ClientConn: conn, record: record}
	// On the inner ClientConn, because a caller may keep only that one.
	c.cleanup = runtime.AddCleanup(conn, collected, record)
	return c, nil
}

// collected runs when a ClientConn was garbage collected without Close. Its
// goroutines stay for ever.
func collected(record *clientRecord) { process.clientGone(record, true) }

// Close closes the client as grpc.ClientConn.Close does and reports it. A second
// call returns grpc's error for a closed client and reports nothing.
func (c *ClientConn) Close() error {
	err := c.ClientConn.Close()
	c.once.Do(func() {
		if c.record != nil {
			c.cleanup.Stop()
			process.clientGone(c.record, false)
		}
	})
	return err
}

// DialOption reports the connections of clients that cannot be made with
// [NewClient]. Their connections have no client id and no site, and a client
// that is never closed is not seen once its connections are idle.
func DialOption() grpc.DialOption {
	if !ensureStarted() {
		return grpc.EmptyDialOption{}
	}
	return grpc.WithStatsHandler(&clientHandler{registry: process})
}

// ServerOption reports the connections of a server.
func ServerOption() grpc.ServerOption {
	if !ensureStarted() {
		return grpc.EmptyServerOption{}
	}
	return grpc.StatsHandler(&serverHandler{registry: process})
}
