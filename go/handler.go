package weir

import (
	"context"
	"net/http"
	"time"

	"google.golang.org/grpc/stats"
)

// connKey is the key of the connection record in the context of a connection.
type connKey struct{}

func connFrom(ctx context.Context) *connRecord {
	conn, _ := ctx.Value(connKey{}).(*connRecord)
	return conn
}

// beginConn numbers a connection and puts it into the context that grpc uses for
// everything on it.
func beginConn(ctx context.Context, r *registry, info *stats.ConnTagInfo, conn *connRecord) context.Context {
	conn.id = r.lastConn.Add(1)
	conn.local, conn.peer = endpointOf(info.LocalAddr), endpointOf(info.RemoteAddr)
	conn.key = addressKey(info.LocalAddr)
	conn.cookie = cookieOf(info.LocalAddr)
	conn.begin = time.Now().UnixNano()
	if conn.client != nil {
		if since := conn.client.waiting.Swap(0); since != 0 {
			conn.setup = conn.begin - since
		}
	}
	return context.WithValue(ctx, connKey{}, conn)
}

// handleConn records begin and end of a connection that owner numbered. Another
// handler of this module on the same connection finds it taken.
func handleConn(ctx context.Context, r *registry, owner any, event stats.ConnStats) *connRecord {
	conn := connFrom(ctx)
	if conn == nil || conn.owner != owner {
		return nil
	}
	switch event.(type) {
	case *stats.ConnBegin:
		r.connOpened(conn)
	case *stats.ConnEnd:
		r.connGone(conn)
	}
	return conn
}

// clientHandler watches the connections of one client, or, with client nil, of
// all ClientConns that got [DialOption].
type clientHandler struct {
	registry *registry
	client   *clientRecord
}

var _ stats.Handler = (*clientHandler)(nil)

// TagConn implements stats.Handler.
func (h *clientHandler) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	if conn := connFrom(ctx); conn != nil && conn.side == clientSide {
		return ctx
	}
	return beginConn(ctx, h.registry, info, &connRecord{side: clientSide, owner: h, client: h.client})
}

// HandleConn implements stats.Handler.
func (h *clientHandler) HandleConn(ctx context.Context, event stats.ConnStats) {
	handleConn(ctx, h.registry, h, event)
	// The end of a connection is the moment to notice that somebody closed the
	// inner grpc.ClientConn instead of ours.
	if _, ended := event.(*stats.ConnEnd); ended && h.client != nil && h.client.shutDown() {
		h.registry.clientGone(h.client, false)
	}
}

// TagRPC implements stats.Handler.
func (h *clientHandler) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler. For a unary call it allocates nothing and
// takes no lock that all RPCs share; a stream costs a walk up its stack.
func (h *clientHandler) HandleRPC(ctx context.Context, event stats.RPCStats) {
	switch e := event.(type) {
	case *stats.Begin:
		h.attemptBegun(e)
		if h.client != nil && (e.IsClientStream || e.IsServerStream) {
			h.client.streams.begun(ctx.Done())
		}
	case *stats.OutHeader:
		h.callOn(ctx.Done(), h.registry.connFor(addressKey(e.LocalAddr)))
	case *stats.InPayload:
		h.message(ctx.Done(), e.RecvTime)
	case *stats.OutPayload:
		h.message(ctx.Done(), e.SentTime)
	case *stats.End:
		h.attemptEnded(ctx.Done(), e)
	}
}

// attemptBegun counts a call of the client, which may still have to wait for a
// connection. A transparent retry is part of the call it repeats.
func (h *clientHandler) attemptBegun(e *stats.Begin) {
	if h.client == nil {
		return
	}
	if !e.IsTransparentRetryAttempt {
		h.client.rpcs.Add(1)
	}
	h.client.open.Add(1)
	now := unixNano(e.BeginTime)
	h.client.active.Store(now)
	h.client.wait(now)
}

func (h *clientHandler) attemptEnded(call <-chan struct{}, e *stats.End) {
	now := unixNano(e.EndTime)
	if h.client != nil {
		h.client.streams.ended(call)
		if h.client.open.Add(-1) == 0 {
			// Nobody waits any more; the next connection is not for the calls that gave up.
			h.client.waiting.Store(0)
		}
		h.client.active.Store(now)
	}
	if call == nil {
		return
	}
	// With two handlers of this module on one client only one owns the connection.
	if conn := h.registry.calls.remove(call, h); conn != nil {
		conn.callClosed(now)
	}
}

func (h *clientHandler) message(call <-chan struct{}, at time.Time) {
	if conn := h.registry.calls.get(call); conn != nil && conn.owner == h {
		conn.touch(unixNano(at))
	}
}

// callOn counts a call on the connection that its headers went to.
func (h *clientHandler) callOn(call <-chan struct{}, conn *connRecord) {
	if conn == nil || conn.owner != h {
		return
	}
	conn.rpcs.Add(1)
	if h.client == nil {
		h.registry.strayClientRPCs.Add(1)
	}
	now := time.Now().UnixNano()
	if call == nil {
		conn.touch(now)
		return
	}
	if before := h.registry.calls.put(call, conn); before != nil {
		before.callClosed(now)
	}
	conn.callOpened(now)
}

func (c *connRecord) callOpened(now int64) {
	c.open.Add(1)
	c.touch(now)
}

func (c *connRecord) callClosed(now int64) {
	c.open.Add(-1)
	c.touch(now)
}

// touch notes activity on the connection, in Unix ns.
func (c *connRecord) touch(now int64) {
	c.active.Store(now)
	if c.client != nil {
		c.client.active.Store(now)
	}
}

// unixNano is the time that grpc put into an event, which saves reading the
// clock again; now, where it put none.
func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return time.Now().UnixNano()
	}
	return t.UnixNano()
}

// serverHandler watches the connections of a server.
type serverHandler struct {
	registry *registry
}

var _ stats.Handler = (*serverHandler)(nil)

// TagConn implements stats.Handler.
func (h *serverHandler) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	if conn := connFrom(ctx); conn != nil && conn.side == serverSide {
		return ctx
	}
	// Behind grpc.Server.ServeHTTP the connection belongs to net/http, and grpc
	// reports a begin and an end for each RPC: those are not connections.
	if ctx.Value(http.ServerContextKey) != nil {
		return ctx
	}
	return beginConn(ctx, h.registry, info, &connRecord{side: serverSide, owner: h})
}

// HandleConn implements stats.Handler.
func (h *serverHandler) HandleConn(ctx context.Context, event stats.ConnStats) {
	handleConn(ctx, h.registry, h, event)
}

// TagRPC implements stats.Handler.
func (h *serverHandler) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler. It allocates nothing and takes no lock.
func (h *serverHandler) HandleRPC(ctx context.Context, event stats.RPCStats) {
	conn := connFrom(ctx)
	if conn == nil {
		if _, begun := event.(*stats.Begin); begun {
			h.registry.strayServerRPCs.Add(1)
		}
		return
	}
	if conn.owner != h {
		return
	}
	switch e := event.(type) {
	case *stats.Begin:
		conn.rpcs.Add(1)
		conn.callOpened(unixNano(e.BeginTime))
	case *stats.End:
		conn.callClosed(unixNano(e.EndTime))
	case *stats.InPayload:
		conn.touch(unixNano(e.RecvTime))
	case *stats.OutPayload:
		conn.touch(unixNano(e.SentTime))
	}
}
