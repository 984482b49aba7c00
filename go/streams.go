package weir

import (
	"cmp"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// maxTrackedStreams limits the memory for open streams of one client; of
	// further ones the site is not known.
	maxTrackedStreams = 10000
	// maxStreamSites is how many sites of open streams a snapshot states.
	maxStreamSites = 20
)

// streams knows the lines that opened the streams of one client. A unary call is
// none: it ends by itself.
type streams struct {
	open atomic.Int64 // how many are tracked, so that the end of a unary call takes no lock

	mu sync.Mutex
	at map[<-chan struct{}]*site
}

// begun notes a stream by the Done channel of its context; it is called on the
// goroutine that opens it. A further attempt at a stream is the same stream.
func (s *streams) begun(call <-chan struct{}) {
	if call == nil || s.open.Load() >= maxTrackedStreams {
		return
	}
	s.mu.Lock()
	_, known := s.at[call]
	s.mu.Unlock()
	if known {
		return
	}
	opener := callSites.opener()
	if opener == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = make(map[<-chan struct{}]*site)
	}
	s.at[call] = opener
	s.open.Store(int64(len(s.at)))
}

// ended forgets a stream, or does nothing for what is none.
func (s *streams) ended(call <-chan struct{}) {
	if call == nil || s.open.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.at, call)
	s.open.Store(int64(len(s.at)))
}

// openedAt is how many streams are open at some line.
type openedAt struct {
	site *site
	open int
}

// bySite lists the lines with most open streams.
func (s *streams) bySite() []openedAt {
	if s.open.Load() == 0 {
		return nil
	}
	counts := make(map[*site]int)
	s.mu.Lock()
	for _, at := range s.at {
		counts[at]++
	}
	s.mu.Unlock()
	most := slices.SortedFunc(maps.Keys(counts), func(a, b *site) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.label(), b.label()))
	})
	var list []openedAt
	for _, at := range most[:min(len(most), maxStreamSites)] {
		list = append(list, openedAt{at, counts[at]})
	}
	return list
}

// opener finds the line that opens a stream: the caller of the generated stub,
// so that interceptors are not taken for it; without a stub the first line
// outside grpc. Nil when there is none, or when there are too many.
func (s *sites) opener() *site {
	var pcs [maxSiteFrames]uintptr
	n := runtime.Callers(2, pcs[:])
	frames := runtime.CallersFrames(pcs[:n])
	var direct, found site
	for stub := false; found.function == ""; {
		frame, more := frames.Next()
		here := site{file: frame.File, line: frame.Line, function: frame.Function}
		generated := strings.HasSuffix(frame.File, ".pb.go")
		plain := frame.Function != "" && !generated &&
			!isModule(frame.Function) && !isGRPC(frame.Function) && !isRuntime(frame.Function)
		switch {
		case generated:
			stub = true
		case plain && stub:
			found = here
		case plain && direct.function == "":
			direct = here
		}
		if !more {
			break
		}
	}
	if found.function == "" {
		found = direct
	}
	if found.function == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.known[found]
	if known == nil && len(s.known) < maxKnownSites {
		known = &found
		s.known[found] = known
	}
	return known
}
