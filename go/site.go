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
	// all the same, but not remembered and without its stack.
	maxKnownSites = 1024
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

// sites remembers the call sites seen, so that each is stored once and its
// stack is sent once.
type sites struct {
	mu     sync.Mutex
	known  map[site]*site
	ignore atomic.Pointer[[]string]
}

// IgnoreFunctions names dial helpers: functions that call [NewClient] on behalf
// of others. The site of a client is then the line that called the helper. A
// name is a full function name as runtime.Func.Name prints it, such as
// "example.com/shop/dial.Open" (its closures included), or a prefix that ends in
// "." (all functions of a package, or methods of a type) or in "/" (all packages
// below a path). Names add up; other names than these are ignored.
func IgnoreFunctions(names ...string) { callSites.addIgnored(names) }

var callSites = &sites{known: make(map[site]*site)}

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

// caller finds the site of the client being made. The stack is not empty only
// for the first client of a site.
func (s *sites) caller() (*site, string) {
	var pcs [maxSiteFrames]uintptr
	n := runtime.Callers(2, pcs[:])
	found, ok := s.search(pcs[:n])
	if !ok {
		return &site{}, ""
	}
	s.mu.Lock()
	known := s.known[found]
	first := known == nil && len(s.known) < maxKnownSites
	if known == nil {
		known = &found
	}
	if first {
		s.known[found] = known
	}
	s.mu.Unlock()
	if !first {
		return known, ""
	}
	return known, formatStack(pcs[:n])
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

// formatStack prints a stack as Go's own traces do: function, then file:line.
func formatStack(pcs []uintptr) string {
	var b strings.Builder
	frames := runtime.CallersFrames(pcs)
	for {
		frame, more := frames.Next()
		if frame.Function != "" && !isModule(frame.Function) {
			b.WriteString(frame.Function)
			b.WriteString("\n\t")
			b.WriteString(frame.File)
			b.WriteByte(':')
			b.WriteString(strconv.Itoa(frame.Line))
			b.WriteByte('\n')
		}
		if !more {
			return b.String()
		}
	}
}
