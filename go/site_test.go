package weir_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"

	weir "github.com/weir-agent/weir/go"
)

// openWithIgnored stands for a service's own dial helper.
func openWithIgnored(t *testing.T, target string) *weir.ClientConn {
	var conn *weir.ClientConn
	func() { conn = dial(t, target) }()
	return conn
}

func TestSiteSkipsTheHelpersThatTheServiceNamed(t *testing.T) {
	const here = "github.com/weir-agent/weir/go_test."
	a := newAgent(t)
	a.start(t)
	weir.IgnoreFunctions(here + "openWithIgnored")
	a1 := openWithIgnored(t, "passthrough:///not-yet") // dial is named only below
	_ = a1
	if c := awaitCreated(t, a, "passthrough:///not-yet"); c.attr["code.function.name"] != here+"dial" {
		t.Errorf("site is %v", c.attr)
	}
	weir.IgnoreFunctions(here + "dial")
	defer weir.ForgetIgnoredFunctions()
	_, file, line, _ := runtime.Caller(0)
	openWithIgnored(t, "passthrough:///ignored")
	c := awaitCreated(t, a, "passthrough:///ignored")
	if c.attr["code.file.path"] != file || c.attr["code.line.number"] != int64(line+1) {
		t.Errorf("site is %v:%v, want %s:%d", c.attr["code.file.path"], c.attr["code.line.number"], file, line+1)
	}
}

func TestEachLineIsASiteAndItsStackIsSentOnce(t *testing.T) {
	weir.ForgetSites()
	a := newAgent(t)
	a.start(t)
	for range 3 {
		conn, err := weir.NewClient("passthrough:///site", insecureOption())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		other, err := weir.NewClient(
			"passthrough:///site",
			insecureOption(),
		)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
	}
	var created []record
	eventually(t, "6 clients", func() bool {
		created = withTarget(a.events("grpc.client.created"), "passthrough:///site")
		return len(created) == 6
	})
	lines, stacks := map[any]int{}, 0
	for _, c := range created {
		lines[c.attr["code.line.number"]]++
		if c.attr["code.stacktrace"] != nil {
			stacks++
		}
	}
	if len(lines) != 2 || stacks != 2 {
		t.Errorf("%d lines and %d stacks for two sites: %v", len(lines), stacks, lines)
	}
}

func TestProfileListsOpenClientsByTheirLine(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	var conns []*weir.ClientConn
	_, file, line, _ := runtime.Caller(0)
	for range 7 {
		conn, err := weir.NewClient("passthrough:///profile", insecureOption())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	listed := func() string {
		var b bytes.Buffer
		if err := pprof.Lookup("grpc.clientconn").WriteTo(&b, 1); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	// In text form a sample is "count @ pcs", and its first frame the leaf.
	want := fmt.Sprintf("%s:%d", file, line+2)
	var sample []string
	for block := range strings.SplitSeq(listed(), "\n\n") {
		if strings.Contains(block, want) {
			sample = strings.Split(block, "\n")
		}
	}
	if len(sample) < 2 || !strings.Contains(strings.Join(sample, "\n"), "\n#\t") {
		t.Fatalf("%s is not listed in:\n%s", want, listed())
	}
	for i, text := range sample {
		if !strings.HasPrefix(text, "#") && strings.Contains(text, " @ ") {
			if !strings.HasPrefix(text, "7 @ ") || !strings.Contains(sample[i+1], want) {
				t.Errorf("sample is %q", sample[i:i+2])
			}
		}
	}
	for _, conn := range conns {
		conn.Close()
	}
	if text := listed(); strings.Contains(text, want) {
		t.Errorf("closed clients are still listed:\n%s", text)
	}
}

func TestGoroutinesOfAClientCarryItsSiteAndTheCallerKeepsItsLabels(t *testing.T) {
	a := newAgent(t)
	a.start(t)
	target := serve(t)
	pprof.Do(context.Background(), pprof.Labels("mine", "kept"), func(context.Context) {
		_, file, line, _ := runtime.Caller(0)
		conn, err := weir.NewClient(target, insecureOption())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		check(t, conn)

		var b bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
			t.Fatal(err)
		}
		labelled, own := 0, false
		_, profile, _ := strings.Cut(b.String(), "\n") // without the line of the total
		for block := range strings.SplitSeq(profile, "\n\n") {
			if strings.Contains(block, fmt.Sprintf("%q:%q", "weir.site", fmt.Sprintf("%s:%d", file, line+1))) {
				if !strings.Contains(block, fmt.Sprintf("%q:%q", "weir.target", target)) {
					t.Errorf("no target in %s", block)
				}
				var n int
				fmt.Sscanf(block, "%d @", &n)
				labelled += n
			}
			if strings.Contains(block, "TestGoroutinesOfAClient") && strings.Contains(block, `"mine":"kept"`) {
				own = true
			}
		}
		if labelled < 5 {
			t.Errorf("%d goroutines carry the site, want 5:\n%s", labelled, b.String())
		}
		if !own {
			t.Errorf("the caller lost its labels:\n%s", b.String())
		}
	})
}

// viaHelper dials for its callers, and nothing tells that it does.
func viaHelper(t *testing.T) *weir.ClientConn {
	t.Helper()
	conn, err := weir.NewClient("passthrough:///helped", insecureOption())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestStacksTellTheCallersOfOneSiteApart(t *testing.T) {
	weir.ForgetSites()
	a := newAgent(t)
	a.start(t)
	_, file, line, _ := runtime.Caller(0)
	for i := range 4 {
		if i == 0 {
			viaHelper(t)
			continue
		}
		viaHelper(t)
	}
	callers := []string{fmt.Sprintf("%s:%d", file, line+3), fmt.Sprintf("%s:%d", file, line+6)}
	var created []record
	eventually(t, "4 clients", func() bool {
		created = withTarget(a.events("grpc.client.created"), "passthrough:///helped")
		return len(created) == 4
	})
	stacks, used, sites := map[any]string{}, map[any]int{}, map[any]bool{}
	for _, c := range created {
		used[c.attr["code.stack.id"]]++
		sites[c.attr["code.line.number"]] = true
		if text, ok := c.attr["code.stacktrace"].(string); ok {
			stacks[c.attr["code.stack.id"]] = text
		}
	}
	if len(sites) != 1 || len(stacks) != 2 || len(used) != 2 {
		t.Fatalf("%d sites, %d stacks of %v", len(sites), len(stacks), used)
	}
	for id, text := range stacks {
		frames := strings.Split(text, "\n")
		caller := callers[0]
		if used[id] == 3 {
			caller = callers[1]
		}
		if !strings.HasSuffix(frames[0], "viaHelper") || len(frames) < 4 || frames[3] != "\t"+caller {
			t.Errorf("the stack of %d clients, called at %s, is %q", used[id], caller, frames)
		}
		if len(frames) > 2*8+1 {
			t.Errorf("%d lines of stack", len(frames))
		}
	}
	// For an agent that was not there when they were made.
	eventually(t, "a snapshot with both stacks", func() bool {
		last, ok := a.lastSnapshot()
		stated, _ := last.attr["snapshot.stacks"].([]any)
		if !ok || len(stated) < 2 {
			return false
		}
		first := stated[0].(map[string]any)
		return used[first["s"]] == 3 && first["x"] == stacks[first["s"]]
	})
}
