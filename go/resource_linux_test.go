package weir_test

import (
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	weir "github.com/weir-agent/weir/go"
)

func TestResourceIdentifiesTheProcess(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=a%20b,service.name=other,process.pid=1")
	a := newAgent(t)
	a.start(t, func(c *weir.Config) { c.ResourceAttributes = map[string]string{"team": "shop"} })
	eventually(t, "a record", func() bool { return len(a.all()) > 0 })
	first := a.all()[0]
	executable, _ := os.Executable()
	want := map[string]any{
		"service.name": "test", "process.pid": int64(os.Getpid()), "team": "shop",
		"deployment.environment": "a b", "process.runtime.name": "go", "process.runtime.version": runtime.Version(),
		"process.executable.name": filepath.Base(executable),
	}
	if host, err := os.Hostname(); err == nil {
		want["host.name"] = host
	}
	if stat, err := os.ReadFile("/proc/self/stat"); err == nil {
		fields := strings.Fields(string(stat[strings.LastIndex(string(stat), ")")+1:]))
		ticks, _ := strconv.ParseInt(fields[19], 10, 64)
		want["process.start_ticks"] = ticks
		info, _ := os.Stat("/proc/self/ns/net")
		want["linux.netns"] = int64(info.Sys().(*syscall.Stat_t).Ino)
	}
	for key, value := range want {
		if first.resource[key] != value {
			t.Errorf("%s is %v (%T), want %v", key, first.resource[key], first.resource[key], value)
		}
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000Z07:00", first.resource["process.creation.time"].(string)); err != nil {
		t.Error(err)
	}
	if id, _ := first.resource["service.instance.id"].(string); len(id) != 36 {
		t.Errorf("instance is %q", id)
	}
	if first.scopeID != "github.com/weir-agent/weir/go" || !reflect.DeepEqual(first.scope, map[string]any{"connection.events.version": int64(1)}) {
		t.Errorf("scope is %q %v", first.scopeID, first.scope)
	}
	if first.observed == 0 || first.at == 0 || first.observed < first.at {
		t.Errorf("observed %d, time %d", first.observed, first.at)
	}
}
