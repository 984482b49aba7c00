// Command scenario is a service with one known mistake, or a healthy one that
// looks as if it had one. It is what an agent's verdicts are tested against.
//
//	scenario <name> [flags]    the service; see "scenario list"
//	scenario serve -kind KIND  the other end, started by the service
//
// When the first unit was made, the service prints one line of JSON that says
// where it can be observed and which line of code the verdict should name.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof" // every scenario can be profiled
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	weir "github.com/weir-agent/weir/go"
)

// options are the flags that all scenarios share.
type options struct {
	rate        float64
	duration    time.Duration
	pprof       string
	endpoint    string
	service     string
	snapshot    time.Duration
	idleTimeout time.Duration
	plain       bool
	keep        bool
	helper      bool
	wrapper     bool
	loseAll     bool
}

// announcement is the line of JSON.
type announcement struct {
	Scenario  string `json:"scenario"`
	Class     string `json:"class"` // expected class, or "ok"
	Leaking   bool   `json:"leaking"`
	Service   string `json:"service"`
	Plain     bool   `json:"plain"`
	PID       int    `json:"pid"`
	ServerPID int    `json:"server_pid"`
	Pprof     string `json:"pprof"`
	Target    string `json:"target"`
	Sites     []site `json:"sites"` // any of them is right
}

func main() {
	// Pdeathsig is sent when the thread that started the child ends; the main
	// thread ends with the process.
	runtime.LockOSThread()
	log.SetFlags(0)
	log.SetPrefix("scenario: ")
	if len(os.Args) < 2 {
		log.Fatal("name a scenario; scenario list shows them")
	}
	name, arguments := os.Args[1], os.Args[2:]
	switch name {
	case "list":
		for _, s := range scenarios {
			fmt.Printf("%-26s %-26s %s\n", s.name, s.class, s.about)
		}
	case "serve":
		if err := serve(arguments); err != nil {
			log.Fatal(err)
		}
	default:
		if err := runNamed(name, arguments); err != nil {
			log.Fatal(err)
		}
	}
}

func runNamed(name string, arguments []string) error {
	for _, s := range scenarios {
		if s.name == name {
			o, err := parse(s, arguments)
			if err != nil {
				return err
			}
			return run(s, o)
		}
	}
	return fmt.Errorf("unknown scenario %q; scenario list shows them", name)
}

func parse(s scenario, arguments []string) (options, error) {
	var o options
	flags := flag.NewFlagSet(s.name, flag.ExitOnError)
	flags.Float64Var(&o.rate, "rate", 4, "units per second")
	flags.DurationVar(&o.duration, "duration", 0, "end after this time; 0: run until a signal")
	flags.StringVar(&o.pprof, "pprof", "127.0.0.1:0", "`address` to serve /debug/pprof/ on")
	flags.StringVar(&o.endpoint, "endpoint", "http://127.0.0.1:4327", "`URL` of the agent")
	flags.StringVar(&o.service, "service", "scenario-"+s.name, "service.name")
	flags.DurationVar(&o.snapshot, "snapshot-interval", 2*time.Second, "time between two snapshots")
	flags.DurationVar(&o.idleTimeout, "idle-timeout", time.Second, "idle timeout of clients, where the scenario has one")
	flags.BoolVar(&o.plain, "plain", false, "without the weir module")
	flags.BoolVar(&o.keep, "keep", false, "clientconn_unclosed_idle: keep references, so that clients are not garbage collected")
	flags.BoolVar(&o.helper, "helper", false, "client_per_call: dial through a helper package")
	flags.BoolVar(&o.wrapper, "wrapper", false, "client_per_call: dial through a function that two lines call")
	flags.BoolVar(&o.loseAll, "drop-snapshots", false, "events_lost: lose the snapshots too")
	flags.Parse(arguments)
	if o.rate <= 0 || o.rate > 1000 {
		return o, fmt.Errorf("-rate is %v: use more than 0, up to 1000", o.rate)
	}
	if o.plain && s.module == needsModule {
		return o, fmt.Errorf("%s has no -plain variant: it is about the module", s.name)
	}
	if (o.helper || o.wrapper) && (o.plain || s.name != "client_per_call") {
		return o, fmt.Errorf("-helper and -wrapper go with client_per_call, without -plain")
	}
	if s.module == noModule {
		o.plain = true
	}
	return o, nil
}

func run(s scenario, o options) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if o.duration > 0 {
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	pprofListener, err := net.Listen("tcp", o.pprof)
	if err != nil {
		return err
	}
	go http.Serve(pprofListener, nil)

	peer, err := startPeer(s.peer)
	if err != nil {
		return err
	}
	defer peer.stop()

	w := &world{options: o, target: peer.address}
	if !o.plain {
		endpoint := o.endpoint
		if s.proxy {
			lossy, err := startLossyProxy(o.endpoint, o.loseAll)
			if err != nil {
				return err
			}
			endpoint = lossy
		}
		if err := weir.Start(weir.Config{ServiceName: o.service, Endpoint: endpoint, SnapshotInterval: o.snapshot}); err != nil {
			return err
		}
	}
	w.announce = func() {
		line := announcement{
			Scenario: s.name, Class: s.class, Leaking: s.leaks(),
			Service: o.service, Plain: o.plain, PID: os.Getpid(), ServerPID: peer.pid(),
			Pprof: pprofListener.Addr().String(), Target: peer.address, Sites: w.sites,
		}
		if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
			log.Fatal(err)
		}
	}
	if err := s.run(ctx, w); err != nil && ctx.Err() == nil {
		return err
	}
	end, done := context.WithTimeout(context.Background(), time.Second)
	defer done()
	// The agent may be gone already; that is no failure of the scenario.
	_ = weir.Stop(end)
	return nil
}
