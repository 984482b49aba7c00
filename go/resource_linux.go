package weir

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticksPerSecond is USER_HZ, which is 100 on every architecture that Go runs on.
const ticksPerSecond = 100

func (id *identity) readSystem() {
	if stat, err := os.ReadFile("/proc/self/stat"); err == nil {
		id.startTicks = startTicks(stat)
	}
	if stat, err := os.ReadFile("/proc/stat"); err == nil && id.startTicks != 0 {
		if boot := bootTime(stat); boot != 0 {
			ms := boot*1000 + id.startTicks*1000/ticksPerSecond
			id.created = time.UnixMilli(ms)
		}
	}
	if info, err := os.Stat("/proc/self/ns/net"); err == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			id.netns = int64(stat.Ino)
		}
	}
}

// startTicks is field 22 of proc_pid_stat(5); 0 when it cannot be read. The
// second field, the name in parentheses, may itself hold spaces and parentheses.
func startTicks(stat []byte) int64 {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0
	}
	fields := bytes.Fields(stat[end+1:])
	if len(fields) < 20 {
		return 0
	}
	ticks, err := strconv.ParseInt(string(fields[19]), 10, 64)
	if err != nil {
		return 0
	}
	return ticks
}

// bootTime is btime of proc_stat(5) in Unix seconds; 0 when it cannot be read.
func bootTime(stat []byte) int64 {
	for line := range strings.Lines(string(stat)) {
		if value, found := strings.CutPrefix(line, "btime "); found {
			seconds, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			if err != nil {
				return 0
			}
			return seconds
		}
	}
	return 0
}
