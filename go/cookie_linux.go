package weir

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// readCookie reads SO_COOKIE of a socket (socket(7)); false when it has none.
func readCookie(conn net.Conn) (uint64, bool) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return 0, false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, false
	}
	var cookie uint64
	var optionErr error
	err = raw.Control(func(fd uintptr) {
		cookie, optionErr = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE)
	})
	return cookie, err == nil && optionErr == nil && cookie != 0
}
