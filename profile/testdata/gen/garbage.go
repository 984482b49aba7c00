package main

import (
	"net"
	"net/http"
)

func init() { shapes["garbage"] = shapeGarbage }

// 5 clients that are garbage, each with a body that nobody read: their two goroutines wait for ever, and the runtime
// proves it (Go 1.27).
func shapeGarbage() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, 64<<10))
	}))
	for range 5 {
		own := &http.Client{Transport: &http.Transport{}}
		fetchPrice(own, "http://"+listener.Addr().String())
	}
	settle("net/http.(*persistConn).readLoop", 5)
	dump("goroutineleak", "garbage.goroutineleak")
}
