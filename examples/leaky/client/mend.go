package main

import (
	"sync"

	weir "github.com/weir-agent/weir/go"
)

// pool is what makes it possible to mend the program while it runs. A program
// that leaks by mistake has no such list.
var pool connections

type connections struct {
	mu     sync.Mutex
	mended bool
	shared *weir.ClientConn
	leaked []*weir.ClientConn
}

// sharedConn is the connection for all orders; nil before the first one, and
// always nil while the program is not mended.
func (c *connections) sharedConn() *weir.ClientConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shared
}

// keep remembers a connection just made, and returns the one to use.
func (c *connections) keep(conn *weir.ClientConn) *weir.ClientConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.mended:
		c.leaked = append(c.leaked, conn)
		return conn
	case c.shared == nil:
		c.shared = conn
		return conn
	default:
		conn.Close()
		return c.shared
	}
}

// mend closes all leaked connections but the newest, which all orders share from
// now on, and returns how many it closed.
func (c *connections) mend() int {
	c.mu.Lock()
	leaked := c.leaked
	c.mended, c.leaked = true, nil
	if n := len(leaked); n > 0 && c.shared == nil {
		c.shared, leaked = leaked[n-1], leaked[:n-1]
	}
	c.mu.Unlock()
	for _, conn := range leaked {
		conn.Close()
	}
	return len(leaked)
}
