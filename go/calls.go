package weir

import (
	"hash/maphash"
	"sync"
)

// callShards spreads the lock of the index; a power of two.
const callShards = 64

// callIndex finds the connection of an open client-side RPC. grpc tells the
// connection only once, when the headers leave; the events after that carry
// nothing but the context of the RPC. A value put into that context would cost
// an allocation per RPC, so the index goes by what is unique to it already: the
// Done channel, because grpc makes a cancellable context for each RPC.
type callIndex struct {
	seed   maphash.Seed
	shards *[callShards]callShard
}

type callShard struct {
	mu    sync.Mutex
	conns map[<-chan struct{}]*connRecord
	_     [48]byte // one cache line each
}

func newCallIndex() callIndex {
	i := callIndex{seed: maphash.MakeSeed(), shards: new([callShards]callShard)}
	for n := range i.shards {
		i.shards[n].conns = make(map[<-chan struct{}]*connRecord)
	}
	return i
}

func (i *callIndex) shard(call <-chan struct{}) *callShard {
	return &i.shards[maphash.Comparable(i.seed, call)%callShards]
}

// put says on which connection the call is, and returns the one it was on
// before, if any.
func (i *callIndex) put(call <-chan struct{}, conn *connRecord) *connRecord {
	s := i.shard(call)
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.conns[call]
	s.conns[call] = conn
	return before
}

func (i *callIndex) get(call <-chan struct{}) *connRecord {
	s := i.shard(call)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns[call]
}

// remove forgets the call and returns its connection, unless that belongs to
// another handler.
func (i *callIndex) remove(call <-chan struct{}, owner any) *connRecord {
	s := i.shard(call)
	s.mu.Lock()
	defer s.mu.Unlock()
	conn := s.conns[call]
	if conn == nil || conn.owner != owner {
		return nil
	}
	delete(s.conns, call)
	return conn
}
