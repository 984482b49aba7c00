package weir

import (
	"context"
	"net"
	"runtime"
	"strings"
	"sync"
	"weak"

	"google.golang.org/grpc"
)

// cookies remembers the SO_COOKIE of sockets by the address object that grpc
// will show for them. Weak keys: an entry goes with its socket, so sockets that
// never became a connection leave nothing behind.
var cookies sync.Map // weak.Pointer[net.TCPAddr] to uint64

// WithSocketCookie makes the connections of a client carry the cookie of their
// socket, by which an agent joins them with the kernel's view even across NAT
// and reuse of ports. Linux only; elsewhere it only dials.
//
// It is not the default because it replaces grpc's dialer: a proxy named by
// HTTPS_PROXY is then not used.
func WithSocketCookie() grpc.DialOption {
	return grpc.WithContextDialer(dialWithCookie)
}

func dialWithCookie(ctx context.Context, address string) (net.Conn, error) {
	network := "tcp"
	if path, found := strings.CutPrefix(address, "unix:"); found {
		network, address = "unix", path
	} else if name, found := strings.CutPrefix(address, "\x00"); found {
		network, address = "unix", "@"+name
	}
	// As grpc's own dialer: TCP keepalive with the times of the system.
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: -1, Interval: -1, Count: -1}}
	conn, err := dialer.DialContext(ctx, network, address)
	if err == nil {
		rememberCookie(conn)
	}
	return conn, err
}

// Listener makes the connections of a server carry the cookie of their socket:
// server.Serve(weir.Listener(l)). Connections pass unchanged. Linux only;
// elsewhere it does nothing.
func Listener(l net.Listener) net.Listener { return &listener{l} }

type listener struct{ net.Listener }

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		rememberCookie(conn)
	}
	return conn, err
}

func rememberCookie(conn net.Conn) {
	address, ok := conn.LocalAddr().(*net.TCPAddr)
	if !ok || address == nil {
		return
	}
	cookie, ok := readCookie(conn)
	if !ok {
		return
	}
	key := weak.Make(address)
	cookies.Store(key, cookie)
	runtime.AddCleanup(address, func(key weak.Pointer[net.TCPAddr]) { cookies.Delete(key) }, key)
}

// cookieOf returns the cookie of the socket with that local address, 0 when it
// is not known.
func cookieOf(local net.Addr) uint64 {
	address, ok := local.(*net.TCPAddr)
	if !ok || address == nil {
		return 0
	}
	cookie, found := cookies.Load(weak.Make(address))
	if !found {
		return 0
	}
	return cookie.(uint64)
}
