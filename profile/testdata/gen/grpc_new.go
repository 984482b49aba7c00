//go:build !grpc160

package main

import (
	"runtime"

	"example.test/shop/grpcutil"
	weir "github.com/weir-agent/weir/go"
	"google.golang.org/grpc"
	"time"
)

func init() {
	shapes["grpc"] = shapeGrpc
	shapes["idle"] = shapeIdle
	shapes["unused"] = shapeUnused
	shapes["refused"] = shapeRefused
	shapes["sampled"] = shapeSampled
}

// handleOrder is the entry of a request: the dial is three functions below it.
func handleOrder(target string, options ...grpc.DialOption) { loadOrder(target, options...) }

func loadOrder(target string, options ...grpc.DialOption) {
	kept = append(kept, dialOrders(target, options...))
}

func dialOrders(target string, options ...grpc.DialOption) *grpc.ClientConn {
	client, err := weir.NewClient(target, append(options, plaintext())...) // site: orders
	check(err)
	return client
}

func dialStock(target string, options ...grpc.DialOption) *grpc.ClientConn {
	client, err := grpcutil.Dial(target, options...) // site: stock
	check(err)
	return client
}

func dialBare(target string) *grpc.ClientConn {
	client, err := grpc.NewClient(target, plaintext()) // site: bare
	check(err)
	return client
}

// 20 + 5 labelled clients, then 40 + 10, 5 bare ones and 7 streams on one of those: two rounds for the delta.
func shapeGrpc() {
	target := startServer()
	grow := func(orders, stock int) {
		for range orders {
			handleOrder(target)
			call(kept[len(kept)-1])
		}
		for range stock {
			client := dialStock(target)
			kept = append(kept, client)
			call(client)
		}
	}
	grow(20, 5)
	settle(clientReader, 25)
	settle(serverReader, 25)
	dump("goroutine", "grpc-1.goroutine")
	grow(20, 5)
	for range 5 {
		client := dialBare(target)
		kept = append(kept, client)
		call(client)
	}
	watch(kept[len(kept)-1], 7)
	settle(clientReader, 55)
	settle(serverReader, 55)
	settle(serializerRun, 165)
	dump("goroutine", "grpc-2.goroutine")
	dump("grpc.clientconn", "grpc-2.clientconn")
	expect("target", target)
}

// 12 + 6 labelled clients that went idle after their one call: no socket left, two of three labels lost;
// then all are called again.
func shapeIdle() {
	target := startServer()
	for range 12 {
		handleOrder(target, grpc.WithIdleTimeout(time.Second))
		call(kept[len(kept)-1])
	}
	for range 6 {
		client := dialStock(target, grpc.WithIdleTimeout(time.Second))
		kept = append(kept, client)
		call(client)
	}
	settle(clientReader, 0)
	settle(serializerRun, 54)
	dump("goroutine", "idle.goroutine")
	for _, client := range kept {
		call(client)
	}
	settle(clientReader, 18)
	dump("goroutine", "woken.goroutine")
}

// 15 labelled clients that never made a call, then 5 more elsewhere; every allocation is recorded.
func shapeUnused() {
	runtime.MemProfileRate = 1
	for range 15 {
		handleOrder("127.0.0.1:1")
	}
	settle(serializerRun, 45)
	dump("goroutine", "unused.goroutine")
	dump("heap", "unused-1.heap")
	for range 5 {
		kept = append(kept, dialStock("127.0.0.1:1"))
	}
	settle(serializerRun, 60)
	dump("heap", "unused-2.heap")
}

// 6 clients to a port where nobody listens.
func shapeRefused() {
	for range 6 {
		handleOrder("127.0.0.1:1")
		kept[len(kept)-1].Connect()
	}
	time.Sleep(3 * time.Second)
	settle("google.golang.org/grpc.(*addrConn).resetTransportAndUnlock", 6)
	dump("goroutine", "refused.goroutine")
}

// 3000 + 1000 unused clients under the default sampling of one allocation per 512 KiB.
func shapeSampled() {
	before := inUse()
	for range 3000 {
		handleOrder("127.0.0.1:1")
	}
	orders := inUse() - before
	for range 1000 {
		kept = append(kept, dialStock("127.0.0.1:1"))
	}
	expect("bytes.orders", orders)
	expect("bytes.stock", inUse()-before-orders)
	dump("heap", "sampled.heap")
	runtime.KeepAlive(kept)
}

func inUse() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
