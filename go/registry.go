package weir

import (
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

// side tells which end of a connection this process is.
type side uint8

const (
	clientSide side = iota
	serverSide
)

func (s side) String() string {
	if s == serverSide {
		return "server"
	}
	return "client"
}

// clientRecord is what is known of one ClientConn. It must not refer to the
// ClientConn strongly: a forgotten one has to stay collectable.
type clientRecord struct {
	id     uint64
	target string
	site   *site
	stack  *callStack // nil when unknown
	first  bool       // the first client of that stack
	begin  int64      // Unix ns
	conn   weak.Pointer[grpc.ClientConn]

	rpcs   atomic.Int64 // RPCs started
	open   atomic.Int64 // RPCs open, those that wait for a connection included
	active atomic.Int64 // Unix ns of the last activity, 0 when there was none

	streams streams

	conns   atomic.Int64 // connections open
	waiting atomic.Int64 // Unix ns since when a call waits for the first one, 0 when none does
}

// wait notes that a call began, at Unix ns, while the client had no connection.
func (c *clientRecord) wait(now int64) {
	if c.conns.Load() == 0 {
		c.waiting.CompareAndSwap(0, now)
	}
}

// connRecord is what is known of one HTTP/2 transport.
type connRecord struct {
	id     uint64
	side   side
	owner  any           // the handler that numbered it
	client *clientRecord // nil on the server side, or when made without NewClient
	local  endpoint
	peer   endpoint
	key    any
	cookie uint64 // 0 when unknown
	begin  int64  // Unix ns
	setup  int64  // ns that a call waited for it, 0 when none did

	rpcs   atomic.Int64
	open   atomic.Int64
	active atomic.Int64
}

// eventKind is one of the four records about a single client or connection.
type eventKind uint8

const (
	clientCreated eventKind = iota
	clientClosed
	connBegun
	connEnded
)

// event waits in the buffer until the reporter sends it.
type event struct {
	kind      eventKind
	collected bool  // of clientClosed: garbage collected without Close
	at        int64 // Unix ns
	rpcs      int64 // of clientClosed and connEnded
	client    *clientRecord
	conn      *connRecord
}

// totals count since the process started.
type totals struct {
	clientsOpened, clientsClosed uint64
	connsOpened, connsClosed     uint64
	clientRPCs, serverRPCs       int64
	dropped                      uint64
}

// snapshot is a consistent statement of what is open: the length of clients is
// opened minus closed, likewise for conns.
type snapshot struct {
	at      int64 // Unix ns
	totals  totals
	clients []*clientRecord
	conns   []*connRecord
}

// registry holds what is open, and the events not yet sent. Its lock is taken
// when a client or connection begins or ends and when a snapshot is taken, never
// by an RPC. An event enters the buffer under the same lock as the change it
// describes, so a snapshot has one place in the order of events.
type registry struct {
	lastClient, lastConn atomic.Uint64

	mu        sync.Mutex
	clients   map[uint64]*clientRecord
	conns     map[uint64]*connRecord
	totals    totals // RPC counts: only those of records that are no longer open
	events    []event
	limit     int // of events waiting and being sent together
	inFlight  int
	recording bool
	wake      func()

	byAddress sync.Map // client-side connections: addressKey to *connRecord
	calls     callIndex

	strayClientRPCs atomic.Int64 // on connections made without NewClient
	strayServerRPCs atomic.Int64 // served through ServeHTTP
}

func newRegistry() *registry {
	return &registry{
		clients: make(map[uint64]*clientRecord),
		conns:   make(map[uint64]*connRecord),
		calls:   newCallIndex(),
	}
}

// process is the registry of this process.
var process = newRegistry()

// newClient numbers a client that is about to be made.
func (r *registry) newClient(target string, site *site, stack *callStack, first bool) *clientRecord {
	return &clientRecord{id: r.lastClient.Add(1), target: target, site: site, stack: stack, first: first}
}

// clientOpened records that the client exists.
func (r *registry) clientOpened(c *clientRecord) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.begin = time.Now().UnixNano()
	r.clients[c.id] = c
	r.totals.clientsOpened++
	r.record(event{kind: clientCreated, at: c.begin, client: c})
}

// clientGone records the end of a client once; further calls do nothing.
func (r *registry) clientGone(c *clientRecord, collected bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.clients[c.id] != c {
		return
	}
	delete(r.clients, c.id)
	census.Remove(clientKey(c.id))
	rpcs := c.rpcs.Load()
	r.totals.clientsClosed++
	r.totals.clientRPCs += rpcs
	r.record(event{kind: clientClosed, collected: collected, at: time.Now().UnixNano(), rpcs: rpcs, client: c})
}

// connOpened records the begin of a connection.
func (r *registry) connOpened(c *connRecord) {
	if c.side == clientSide && c.key != nil {
		r.byAddress.Store(c.key, c)
	}
	if c.client != nil {
		c.client.conns.Add(1)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[c.id] = c
	r.totals.connsOpened++
	r.record(event{kind: connBegun, at: c.begin, conn: c})
}

// connGone records the end of a connection once.
func (r *registry) connGone(c *connRecord) {
	if c.side == clientSide && c.key != nil {
		r.byAddress.CompareAndDelete(c.key, c)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns[c.id] != c {
		return
	}
	delete(r.conns, c.id)
	if c.client != nil {
		c.client.conns.Add(-1)
	}
	rpcs := c.rpcs.Load()
	r.totals.connsClosed++
	if c.side == serverSide {
		r.totals.serverRPCs += rpcs
	}
	r.record(event{kind: connEnded, at: time.Now().UnixNano(), rpcs: rpcs, conn: c})
}

// connFor returns the client-side connection with that local address.
func (r *registry) connFor(key any) *connRecord {
	if key == nil {
		return nil
	}
	found, ok := r.byAddress.Load(key)
	if !ok {
		return nil
	}
	return found.(*connRecord)
}

// record appends to the buffer, or counts a drop. The lock is held.
func (r *registry) record(e event) {
	if !r.recording {
		return
	}
	if len(r.events)+r.inFlight >= r.limit {
		r.totals.dropped++
		return
	}
	r.events = append(r.events, e)
	if len(r.events) == 1 {
		r.wake()
	}
}

// startRecording lets events wait for a reporter; wake is called, with the lock
// held, when the first one does.
func (r *registry) startRecording(limit int, wake func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recording, r.limit, r.wake = true, limit, wake
	if len(r.events) > 0 {
		wake()
	}
}

// stopRecording ends that; what still waits is dropped and counted.
func (r *registry) stopRecording() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recording = false
	r.totals.dropped += uint64(len(r.events))
	r.events = nil
}

// take hands over the waiting events. Until [registry.settle] is called for
// them they count against the limit of the buffer.
func (r *registry) take() []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.takeLocked()
}

func (r *registry) takeLocked() []event {
	taken := r.events
	r.events = nil
	r.inFlight += len(taken)
	return taken
}

// settle says that n of the events taken were sent, or dropped.
func (r *registry) settle(n int, dropped bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight -= n
	if dropped {
		r.totals.dropped += uint64(n)
	}
}

// takeWithSnapshot hands over the waiting events together with the state that
// they lead to.
func (r *registry) takeWithSnapshot() ([]event, *snapshot) {
	r.closeShutDown()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &snapshot{
		at:      time.Now().UnixNano(),
		totals:  r.totals,
		clients: make([]*clientRecord, 0, len(r.clients)),
		conns:   make([]*connRecord, 0, len(r.conns)),
	}
	for _, c := range r.clients {
		s.clients = append(s.clients, c)
		s.totals.clientRPCs += c.rpcs.Load()
	}
	for _, c := range r.conns {
		s.conns = append(s.conns, c)
		if c.side == serverSide {
			s.totals.serverRPCs += c.rpcs.Load()
		}
	}
	s.totals.clientRPCs += r.strayClientRPCs.Load()
	s.totals.serverRPCs += r.strayServerRPCs.Load()
	return r.takeLocked(), s
}

// closeShutDown ends the clients whose inner grpc.ClientConn was closed directly,
// past [ClientConn.Close].
func (r *registry) closeShutDown() {
	r.mu.Lock()
	clients := make([]*clientRecord, 0, len(r.clients))
	for _, c := range r.clients {
		clients = append(clients, c)
	}
	r.mu.Unlock()
	for _, c := range clients {
		if c.shutDown() {
			r.clientGone(c, false)
		}
	}
}

// shutDown tells whether the ClientConn is known to be closed. A collected one
// is not known.
func (c *clientRecord) shutDown() bool {
	conn := c.conn.Value()
	return conn != nil && conn.GetState() == connectivity.Shutdown
}
