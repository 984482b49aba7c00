package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// peer is the other end, in a process of its own, so that the sockets of both
// ends have different owners. It ends when this process does, however that ends:
// by Pdeathsig, and because its standard input is closed.
type peer struct {
	address string
	command *exec.Cmd
	input   io.Closer
}

func startPeer(kind string) (*peer, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := exec.Command(executable, "serve", "-kind", kind)
	command.Stderr = os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	input, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	p := &peer{command: command, input: input}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("the server did not say its address: %w", err)
	}
	p.address = strings.TrimSpace(line)
	return p, nil
}

func (p *peer) pid() int { return p.command.Process.Pid }

func (p *peer) stop() {
	p.input.Close()
	// Already gone is as good.
	_ = p.command.Process.Kill()
	_ = p.command.Wait()
}

// serve is the process of the other end: it prints its address and serves until
// its standard input ends.
func serve(arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	kind := flags.String("kind", "grpc", "grpc, http or closer")
	listen := flags.String("listen", "127.0.0.1:0", "`address` to serve on")
	flags.Parse(arguments)

	serveKind, known := map[string]func(net.Listener) error{
		"grpc": serveGRPC, "http": serveHTTP, "closer": serveCloser,
	}[*kind]
	if !known {
		return fmt.Errorf("-kind is %q: use grpc, http or closer", *kind)
	}
	// A name of its own, so that an agent can tell the two processes apart.
	if err := os.WriteFile("/proc/self/comm", []byte("scenario-serve"), 0); err != nil {
		log.Printf("keeping the process name: %v", err)
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- serveKind(listener) }()
	fmt.Println(listener.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		failed <- nil
	}()
	return <-failed
}

func serveGRPC(l net.Listener) error {
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	return server.Serve(l)
}

// serveHTTP answers with a body that does not fit one read.
func serveHTTP(l net.Listener) error {
	body := []byte(strings.Repeat("0123456789abcdef", 1024))
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		// A client that went away is no failure of the server.
		_, _ = w.Write(body)
	}))
}

// serveCloser answers one line and closes, as servers with a session limit do.
func serveCloser(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			if _, err := bufio.NewReader(io.LimitReader(conn, 1024)).ReadString('\n'); err == nil {
				fmt.Fprintln(conn, "goodbye")
			}
		}()
	}
}
