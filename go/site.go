package weir

import (
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// maxSiteFrames limits how far up the stack a site is looked for.
	maxSiteFrames = 64
	// maxKnownSites limits the memory for sites; a site beyond it is reported
	// all the same, but not remembered.
	maxKnownSites = 1024
	// maxKnownStacks limits the memory for stacks; a client beyond it has none.
	maxKnownStacks = 1024
	// maxStackFrames is how many frames of a stack are kept, from the site upwards.
	maxStackFrames = 8
)

// dialHelperPackages are last elements of import paths whose functions dial for
// others, so that their callers are the interesting line.
var dialHelperPackages = map[string]bool{
	"grpcutil":   true,
	"grpcx":      true,
	"grpcclient": true,
	"rpcutil":    true,
}

// site is the line of code that made a client.
type site struct {
	file     string
	line     int
	function string
}

// label is the value of the pprof label weir.site.
func (s *site) label() string { return s.file + ":" + strconv.Itoa(s.line) }

// callStack is a way in which a site was reached: the site and its callers.
type callStack struct {
	id   uint64
	text string // as Go's own traces print it, the site first
}

// stackKey tells stacks apart: return addresses, beginning inside this module.
type stackKey [maxStackFrames + 8]uintptr

// sites remembers the call sites and stacks seen, so that each is stored once
// and each stack is sent once.
type sites struct {
	mu     sync.Mutex
	known  map[site]*site
	stacks map[stackKey]*callStack
	last   uint64 // id of the newest stack
	ignore atomic.Pointer[[]string]
}

// IgnoreFunctions names dial helpers: functions that call [NewClient] on behalf
// of others. The site of a client is then the line that called the helper. A
// name is a full function name as runtime.Func.Name prints it, such as
// "example.com/shop/dial.Open" (its closures included), or a prefix that ends in
// "." (all functions of a package, or methods of a type) or in "/" (all packages
// below a path). Names add up; other names than these are ignored.
func IgnoreFunctions(names ...string) { callSites.addIgnored(names) }

var callSites = &sites{known: make(map[site]*site), stacks: make(map[stackKey]*callStack)}

func (s *sites) addIgnored(names []string) {
	if len(names) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	if old := s.ignore.Load(); old != nil {
		all = append(all, *old...)
	}
	all = append(all, names...)
	s.ignore.Store(&all)
}

// caller finds the site of the client being made and the stack by which it was
// reached, nil when there are too many. It tells whether the stack is new.
func (s *sites) caller() (*site, *callStack, bool) {
	var pcs [maxSiteFrames]uintptr
	n := runtime.Callers(2, pcs[:])
	found, ok := s.search(pcs[:n])
	if !ok {
		return &site{}, nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.known[found]
	if known == nil {
		known = &found
		if len(s.known) < maxKnownSites {
			s.known[found] = known
		}
	}
	stack, first := s.stack(pcs[:n], known)
	return known, stack, first
}

// stack needs the lock.
func (s *sites) stack(pcs []uintptr, at *site) (*callStack, bool) {
	var key stackKey
	copy(key[:], pcs)
	if known := s.stacks[key]; known != nil {
		return known, false
	}
	if len(s.stacks) >= maxKnownStacks {
		return nil, false
	}
	s.last++
	stack := &callStack{id: s.last, text: formatStack(pcs, at)}
	s.stacks[key] = stack
	return stack, true
}

// search returns the first frame that is neither this module's, nor grpc's, nor
// a dial helper's; the first frame outside this module when all are.
func (s *sites) search(pcs []uintptr) (site, bool) {
	var ignored []string
	if list := s.ignore.Load(); list != nil {
		ignored = *list
	}
	var direct site
	frames := runtime.CallersFrames(pcs)
	for {
		frame, more := frames.Next()
		if frame.Function != "" && !isModule(frame.Function) {
			here := site{file: frame.File, line: frame.Line, function: frame.Function}
			if direct.function == "" {
				direct = here
			}
			if !isGRPC(frame.Function) && !isRuntime(frame.Function) &&
				!isDialHelper(frame.Function) && !isIgnored(frame.Function, ignored) {
				return here, true
			}
		}
		if !more {
			return direct, direct.function != ""
		}
	}
}

func isModule(function string) bool {
	return strings.HasPrefix(function, modulePath+".") || strings.HasPrefix(function, modulePath+"/")
}

func isGRPC(function string) bool {
	const grpc = "google.golang.org/grpc"
	return strings.HasPrefix(function, grpc+".") || strings.HasPrefix(function, grpc+"/")
}

// isRuntime keeps the end of every stack (runtime.goexit, runtime.main) from
// becoming the site when all frames below it are helpers.
func isRuntime(function string) bool { return strings.HasPrefix(function, "runtime.") }

func isDialHelper(function string) bool {
	last := function[strings.LastIndexByte(function, '/')+1:]
	name, _, _ := strings.Cut(last, ".")
	return dialHelperPackages[name]
}

func isIgnored(function string, ignored []string) bool {
	for _, name := range ignored {
		if strings.HasSuffix(name, ".") || strings.HasSuffix(name, "/") {
			if strings.HasPrefix(function, name) {
				return true
			}
			continue
		}
		rest, found := strings.CutPrefix(function, name)
		// "Open" also means its closures Open.func1 and, when generic, Open[...].
		if found && name != "" && (rest == "" || strings.HasPrefix(rest, ".func") || strings.HasPrefix(rest, "[")) {
			return true
		}
	}
	return false
}

// formatStack prints a stack as Go's own traces do, function, then file:line,
// from the site upwards.
func formatStack(pcs []uintptr, at *site) string {
	var b strings.Builder
	frames := runtime.CallersFrames(pcs)
	for written := 0; written < maxStackFrames; {
		frame, more := frames.Next()
		here := site{file: frame.File, line: frame.Line, function: frame.Function}
		if frame.Function != "" && (written > 0 || here == *at) {
			written++
			b.WriteString(frame.Function)
			b.WriteString("\n\t")
			b.WriteString(frame.File)
			b.WriteByte(':')
			b.WriteString(strconv.Itoa(frame.Line))
			b.WriteByte('\n')
		}
		if !more {
			break
		}
	}
	return b.String()
}
