// Command leaky-client asks for two orders a second and leaks a gRPC connection
// with each, until it is mended: by SIGUSR1, by GET /mend, or from the start with
// -fixed.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"syscall"
	"time"

	weir "github.com/weir-agent/weir/go"
)

type options struct {
	target   string
	admin    string
	rate     float64
	fixed    bool
	interval time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.target, "target", cmp.Or(os.Getenv("LEAKY_TARGET"), "127.0.0.1:50051"),
		"`address` of leaky-server (LEAKY_TARGET)")
	flag.StringVar(&o.admin, "pprof", cmp.Or(os.Getenv("LEAKY_PPROF"), "127.0.0.1:6060"),
		"`address` to serve /debug/pprof/ and /mend on (LEAKY_PPROF)")
	flag.Float64Var(&o.rate, "rate", 2, "orders per second, more than 0")
	flag.BoolVar(&o.fixed, "fixed", false, "run the mended program: one connection for all orders")
	flag.DurationVar(&o.interval, "snapshot-interval", 2*time.Second, "time between two snapshots to the agent")
	flag.Parse()
	log.SetFlags(0)
	log.SetPrefix("leaky-client: ")
	if err := run(o); err != nil {
		log.Fatal(err)
	}
}

func run(o options) error {
	if o.rate <= 0 || o.rate > 1000 {
		return fmt.Errorf("-rate is %v: use more than 0, up to 1000", o.rate)
	}
	name := cmp.Or(os.Getenv("OTEL_SERVICE_NAME"), "checkout")
	if err := weir.Start(weir.Config{ServiceName: name, SnapshotInterval: o.interval}); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.admin)
	if err != nil {
		return fmt.Errorf("%w; choose another address with -pprof", err)
	}
	go http.Serve(listener, adminPages())

	if o.fixed {
		pool.mend()
	}
	mend := make(chan os.Signal, 1)
	signal.Notify(mend, syscall.SIGUSR1)
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()

	log.Printf("ready, pid %d, orders from %s, pprof on http://%s/debug/pprof/", os.Getpid(), o.target, listener.Addr())
	ticker := time.NewTicker(time.Duration(float64(time.Second) / o.rate))
	defer ticker.Stop()
	var lastError string
	for number := int64(1); ; number++ {
		select {
		case <-stop.Done():
			ctx, done := context.WithTimeout(context.Background(), time.Second)
			defer done()
			// The agent may be gone already; that is no failure of the client.
			_ = weir.Stop(ctx)
			return nil
		case <-mend:
			log.Print(mendNow())
		case <-ticker.C:
			err := handleOrder(o.target, number)
			if err != nil && lastError == "" {
				log.Printf("%v (further failures are not printed until an order succeeds)", err)
			}
			lastError = fmt.Sprint(err)
			if err == nil {
				lastError = ""
			}
		}
	}
}

func mendNow() string {
	return fmt.Sprintf("mended: closed %d connections, one is shared from now on", pool.mend())
}

func adminPages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/mend", func(w http.ResponseWriter, _ *http.Request) {
		message := mendNow()
		log.Print(message)
		fmt.Fprintln(w, message)
	})
	return mux
}
