// Package queue has a dot in the last element of its path, which symbol names escape as %2e.
package queue

import "net"

// Subscribe reads from conn until it fails, on a goroutine of its own.
func Subscribe(conn net.Conn) {
	go receive(conn)
}

func receive(conn net.Conn) {
	buffer := make([]byte, 512)
	for {
		if _, err := conn.Read(buffer); err != nil {
			return
		}
	}
}
