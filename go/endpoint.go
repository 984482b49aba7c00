package weir

import (
	"net"
	"strconv"
)

// endpoint is one end of a connection in the form the records need.
type endpoint struct {
	network string // "tcp", "unix" or what the address calls itself
	family  string // "ipv4", "ipv6" or ""
	address string
	port    int
}

func endpointOf(addr net.Addr) endpoint {
	switch a := addr.(type) {
	case nil:
		return endpoint{}
	case *net.TCPAddr:
		if a == nil {
			return endpoint{}
		}
		family := "ipv6"
		if a.IP.To4() != nil {
			family = "ipv4"
		}
		return endpoint{network: "tcp", family: family, address: a.IP.String(), port: a.Port}
	case *net.UnixAddr:
		if a == nil {
			return endpoint{}
		}
		return endpoint{network: "unix", address: a.Name}
	default:
		return endpoint{network: addr.Network(), address: addr.String()}
	}
}

// String is address:port, or the address alone where there is no port.
func (e endpoint) String() string {
	if e.network != "tcp" || e.address == "" {
		return e.address
	}
	return net.JoinHostPort(e.address, strconv.Itoa(e.port))
}

// addressKey identifies a socket inside the process: net.Conn hands out the same
// pointer each time, and grpc keeps it, so two connections never share one while
// both are open. Other kinds of address (a test's in-memory pipe) have no
// identity but their text.
func addressKey(addr net.Addr) any {
	switch a := addr.(type) {
	case nil:
		return nil
	case *net.TCPAddr:
		return a
	case *net.UnixAddr:
		return a
	default:
		return addr.Network() + "\x00" + addr.String()
	}
}
