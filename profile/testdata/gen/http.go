package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	queue "example.test/shop/queue.v2"
)

var shapes = map[string]func(){
	"sites": expectSites,
	"http":  shapeHTTP,
	"raw":   shapeRaw,
	"sql":   shapeSQL,
	"mutex": shapeMutex,
}

var bodies []io.ReadCloser

func fetchPrice(client *http.Client, url string) *http.Response {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil) // site: request
	check(err)
	response, err := client.Do(request) // site: do
	check(err)
	return response
}

// 9 bodies never closed, 6 Transports with an idle connection each, 2 bodies that are being read, and 1 request that
// waits for its answer.
func shapeHTTP() {
	runtime.MemProfileRate = 1
	release := make(chan struct{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			w.Write(make([]byte, 64<<10))
			w.(http.Flusher).Flush()
			<-release
		case "/slow":
			<-release
		default:
			io.WriteString(w, "ok")
		}
	}))
	base := "http://" + listener.Addr().String()
	shared := &http.Client{Transport: &http.Transport{}}
	for range 9 {
		bodies = append(bodies, fetchPrice(shared, base+"/large").Body)
	}
	for range 6 {
		own := &http.Client{Transport: &http.Transport{}}
		response := fetchPrice(own, base+"/small")
		_, err := io.ReadAll(response.Body)
		check(err)
		check(response.Body.Close())
	}
	for range 2 {
		go io.Copy(io.Discard, fetchPrice(shared, base+"/large").Body)
	}
	go fetchPrice(shared, base+"/slow")
	settle("net/http.(*bodyEOFSignal).Read", 2)
	settle("net/http.(*persistConn).roundTrip", 1)
	settle("net/http.(*persistConn).readLoop", 18)
	settle("net/http.(*conn).serve", 18)
	dump("goroutine", "http.goroutine")
	dump("heap", "http.heap")
}

var sockets []net.Conn

func dialTicker(address string) net.Conn {
	conn, err := net.Dial("tcp", address) // site: dial
	check(err)
	return conn
}

// 4 sockets read by a library with a dot in its name, 3 read by the program itself.
func shapeRaw() {
	runtime.MemProfileRate = 1
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go func() {
		for {
			conn, err := listener.Accept()
			check(err)
			sockets = append(sockets, conn)
		}
	}()
	for range 4 {
		queue.Subscribe(dialTicker(listener.Addr().String()))
	}
	for range 3 {
		go readTicker(dialTicker(listener.Addr().String()))
	}
	settle("net.(*conn).Read", 7)
	dump("goroutine", "raw.goroutine")
	dump("heap", "raw.heap")
}

func readTicker(conn net.Conn) {
	conn.Read(make([]byte, 1)) // site: ticker
}

// One goroutine holds a lock, others wait: the profile names the holder's Unlock.
func shapeMutex() {
	runtime.SetMutexProfileFraction(1)
	var lock sync.Mutex
	contend := func(rounds int) {
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for range rounds {
					lock.Lock()
					time.Sleep(time.Millisecond)
					release(&lock)
				}
			})
		}
		group.Wait()
	}
	contend(10)
	dump("mutex", "mutex-1.mutex")
	contend(20)
	dump("mutex", "mutex-2.mutex")
}

//go:noinline
func release(lock *sync.Mutex) { lock.Unlock() } // site: unlock
