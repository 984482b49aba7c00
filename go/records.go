package weir

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxPartEntries is how many entries one record of a snapshot holds at most.
const maxPartEntries = 500

// encode makes the LogRecord of an event.
func (e *event) encode(observed int64) []byte {
	switch e.kind {
	case clientCreated:
		attributes := append(e.client.reference(), e.client.siteAttributes()...)
		if stack := e.client.stack; stack != nil {
			attributes = append(attributes, integer("code.stack.id", int64(stack.id)))
			if e.client.first {
				attributes = append(attributes, str("code.stacktrace", stack.text))
			}
		}
		return logRecord("grpc.client.created", e.at, observed, attributes, nil)
	case clientClosed:
		how := "close"
		if e.collected {
			how = "collected"
		}
		return logRecord("grpc.client.closed", e.at, observed, []attribute{
			integer("grpc.client.id", int64(e.client.id)),
			integer("grpc.client.rpcs", e.rpcs),
			str("grpc.client.close", how),
		}, nil)
	case connBegun:
		return logRecord("grpc.connection.begin", e.at, observed, e.conn.beginAttributes(), nil)
	default:
		return logRecord("grpc.connection.end", e.at, observed, []attribute{
			integer("connection.id", int64(e.conn.id)),
			str("connection.side", e.conn.side.String()),
			integer("connection.rpcs", e.rpcs),
			double("connection.duration", time.Duration(e.at-e.conn.begin).Seconds()),
		}, nil)
	}
}

func (c *clientRecord) reference() []attribute {
	return []attribute{integer("grpc.client.id", int64(c.id)), str("grpc.target", c.target)}
}

func (c *clientRecord) siteAttributes() []attribute {
	if c.site.function == "" {
		return nil
	}
	return []attribute{
		str("code.file.path", c.site.file),
		integer("code.line.number", int64(c.site.line)),
		str("code.function.name", c.site.function),
	}
}

func (c *connRecord) beginAttributes() []attribute {
	attributes := []attribute{
		integer("connection.id", int64(c.id)),
		str("connection.side", c.side.String()),
	}
	if network := firstOf(c.peer.network, c.local.network); network != "" {
		attributes = append(attributes, str("network.transport", network))
	}
	if family := firstOf(c.peer.family, c.local.family); family != "" {
		attributes = append(attributes, str("network.type", family))
	}
	attributes = c.local.appendTo(attributes, "network.local.address", "network.local.port")
	attributes = c.peer.appendTo(attributes, "network.peer.address", "network.peer.port")
	if c.client != nil {
		attributes = append(attributes, c.client.reference()...)
		attributes = append(attributes, c.client.siteAttributes()...)
	}
	if c.setup > 0 {
		attributes = append(attributes, double("connection.setup.duration", time.Duration(c.setup).Seconds()))
	}
	if c.cookie != 0 {
		attributes = append(attributes, integer("socket.cookie", int64(c.cookie)))
	}
	return attributes
}

func (e endpoint) appendTo(attributes []attribute, addressName, portName string) []attribute {
	if e.address != "" {
		attributes = append(attributes, str(addressName, e.address))
	}
	if e.port != 0 {
		attributes = append(attributes, integer(portName, int64(e.port)))
	}
	return attributes
}

// part is one record of a snapshot.
type part struct {
	clients []*clientRecord
	conns   []*connRecord
}

// parts cuts a snapshot into records; an empty one is a part too. Entries come
// in the order of their ids, clients first.
func (s *snapshot) parts() []part {
	slices.SortFunc(s.clients, func(a, b *clientRecord) int { return cmp.Compare(a.id, b.id) })
	slices.SortFunc(s.conns, func(a, b *connRecord) int { return cmp.Compare(a.id, b.id) })
	parts := []part{{}}
	room := maxPartEntries
	last := func() *part {
		if room == 0 {
			parts = append(parts, part{})
			room = maxPartEntries
		}
		room--
		return &parts[len(parts)-1]
	}
	for _, c := range s.clients {
		p := last()
		p.clients = append(p.clients, c)
	}
	for _, c := range s.conns {
		p := last()
		p.conns = append(p.conns, c)
	}
	return parts
}

// header is what every part of a snapshot says.
type snapshotHeader struct {
	id       int64
	at       int64 // Unix ns
	interval time.Duration
	totals   totals
	parts    int
	last     bool         // no further one follows
	stacks   []*callStack // stated in the first part
}

// maxStatedStacks is how many stacks a snapshot repeats, for a receiver that has
// not seen the first client of each.
const maxStatedStacks = 20

// stacks are those by which most of the open clients were made.
func (s *snapshot) stacks() []*callStack {
	counts := make(map[*callStack]int)
	for _, c := range s.clients {
		if c.stack != nil {
			counts[c.stack]++
		}
	}
	most := slices.SortedFunc(maps.Keys(counts), func(a, b *callStack) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.id, b.id))
	})
	return most[:min(len(most), maxStatedStacks)]
}

// encode makes the LogRecord of part number n, counted from 1.
func (h *snapshotHeader) encode(p part, n int, observed int64) []byte {
	attributes := []attribute{
		integer("snapshot.id", h.id),
		integer("snapshot.part", int64(n)),
		integer("snapshot.parts", int64(h.parts)),
		double("snapshot.interval", h.interval.Seconds()),
		integer("client.opened", int64(h.totals.clientsOpened)),
		integer("client.closed", int64(h.totals.clientsClosed)),
		integer("connection.opened", int64(h.totals.connsOpened)),
		integer("connection.closed", int64(h.totals.connsClosed)),
		integer("client.rpcs", h.totals.clientRPCs),
		integer("server.rpcs", h.totals.serverRPCs),
		integer("events.dropped", int64(h.totals.dropped)),
	}
	if n == 1 && len(h.stacks) > 0 {
		attributes = append(attributes, stackList(h.stacks))
	}
	if h.last {
		attributes = append(attributes, boolean("snapshot.last", true))
	}
	var array []byte
	for _, c := range p.clients {
		array = appendEntry(array, c.entry())
	}
	for _, c := range p.conns {
		array = appendEntry(array, c.entry())
	}
	body := appendField(nil, valueArray, array)
	return logRecord("grpc.snapshot", h.at, observed, attributes, body)
}

// stackList states stacks by their ids.
func stackList(stacks []*callStack) attribute {
	var array []byte
	for _, s := range stacks {
		array = appendEntry(array, []attribute{integer("s", int64(s.id)), str("x", s.text)})
	}
	return attribute{"snapshot.stacks", appendField(nil, valueArray, array)}
}

// streamList states open streams by the lines that opened them.
func streamList(open []openedAt) attribute {
	var array []byte
	for _, o := range open {
		array = appendEntry(array, []attribute{
			str("f", o.site.file), integer("n", int64(o.site.line)), str("m", o.site.function), integer("o", int64(o.open)),
		})
	}
	return attribute{"st", appendField(nil, valueArray, array)}
}

// appendEntry adds a kvlist to an encoded ArrayValue.
func appendEntry(array []byte, entry []attribute) []byte {
	list := appendAttributes(nil, listItem, entry)
	value := protowire.AppendTag(nil, valueList, protowire.BytesType)
	value = protowire.AppendBytes(value, list)
	return appendField(array, listItem, value)
}

func (c *clientRecord) entry() []attribute {
	entry := []attribute{
		str("k", "g"),
		integer("id", int64(c.id)),
		integer("b", c.begin),
		integer("a", max(c.active.Load(), c.begin)),
		integer("r", c.rpcs.Load()),
		integer("o", c.open.Load()),
		str("t", c.target),
	}
	if c.site.function != "" {
		entry = append(entry, str("f", c.site.file), integer("n", int64(c.site.line)), str("m", c.site.function))
	}
	if c.stack != nil {
		entry = append(entry, integer("s", int64(c.stack.id)))
	}
	if open := c.streams.bySite(); len(open) > 0 {
		entry = append(entry, streamList(open))
	}
	return entry
}

func (c *connRecord) entry() []attribute {
	kind, client := "s", int64(0)
	if c.side == clientSide {
		kind = "c"
	}
	if c.client != nil {
		client = int64(c.client.id)
	}
	entry := []attribute{
		str("k", kind),
		integer("id", int64(c.id)),
		integer("b", c.begin),
		integer("a", max(c.active.Load(), c.begin)),
		integer("r", c.rpcs.Load()),
		integer("o", c.open.Load()),
		integer("g", client),
		str("l", c.local.String()),
		str("p", c.peer.String()),
	}
	if c.cookie != 0 {
		entry = append(entry, integer("c", int64(c.cookie)))
	}
	return entry
}
