package weir

import (
	"crypto/rand"
	"fmt"
	"os"
	"runtime"
	"sort"
	"time"
)

// identity is what tells this start of this process from all others. It does
// not change while the process lives.
type identity struct {
	instance   string
	pid        int
	created    time.Time
	startTicks int64 // 0 when unknown
	netns      int64 // 0 when unknown
	executable string
	host       string
}

var self = readIdentity()

func readIdentity() identity {
	id := identity{
		instance:   newUUID(),
		pid:        os.Getpid(),
		created:    time.Now(),
		executable: executableName(),
	}
	if host, err := os.Hostname(); err == nil {
		id.host = host
	}
	id.readSystem()
	return id
}

// newUUID makes a random UUID, version 4 of RFC 9562.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails since Go 1.24
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// resourceAttributes are the attributes of the resource. Those of the identity
// come last and win: an agent goes by them.
func (s *settings) resourceAttributes(id identity) []attribute {
	fixed := []attribute{
		str("service.name", s.serviceName),
		str("service.instance.id", id.instance),
		integer("process.pid", int64(id.pid)),
		str("process.creation.time", id.created.UTC().Format("2006-01-02T15:04:05.000Z07:00")),
		str("process.executable.name", id.executable),
		str("process.runtime.name", "go"),
		str("process.runtime.version", runtime.Version()),
	}
	if id.startTicks != 0 {
		fixed = append(fixed, integer("process.start_ticks", id.startTicks))
	}
	if id.netns != 0 {
		fixed = append(fixed, integer("linux.netns", id.netns))
	}
	taken := map[string]bool{"process.start_ticks": true, "linux.netns": true}
	for _, a := range fixed {
		taken[a.key] = true
	}
	var given []attribute
	for key, value := range s.attributes {
		if !taken[key] {
			given = append(given, str(key, value))
		}
	}
	if _, found := s.attributes["host.name"]; !found && id.host != "" {
		given = append(given, str("host.name", id.host))
	}
	sort.Slice(given, func(i, j int) bool { return given[i].key < given[j].key })
	return append(fixed, given...)
}
