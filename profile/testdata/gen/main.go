// Command shop makes the shapes that leaking Go services have, each a known number of times, and writes the profiles
// of its own process together with the numbers and source lines that a reader of them has to find.
//
// usage: shop <shape> <folder>; see record.sh for the shapes.
package main

import (
	"bytes"
	"embed"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"
)

var (
	folder   string
	expected bytes.Buffer
)

func main() {
	if len(os.Args) != 3 || shapes[os.Args[1]] == nil {
		log.Fatal("usage: shop <shape> <folder>")
	}
	folder = os.Args[2]
	shape := os.Args[1]
	shapes[shape]()
	if expected.Len() > 0 {
		check(os.WriteFile(filepath.Join(folder, shape+".expected.txt"), expected.Bytes(), 0o644))
	}
}

// expect notes a fact that the test asserts.
func expect(key string, value any) {
	fmt.Fprintf(&expected, "%s %v\n", key, value)
}

//go:embed *.go
var sources embed.FS

// expectSites notes the lines of this program that carry a comment "site: <name>".
func expectSites() {
	files, err := sources.ReadDir(".")
	check(err)
	for _, file := range files {
		text, err := sources.ReadFile(file.Name())
		check(err)
		for number, line := range strings.Split(string(text), "\n") {
			if _, name, found := strings.Cut(line, " // "+"site: "); found {
				expect("site."+name, fmt.Sprintf("example.test/shop/%s:%d", file.Name(), number+1))
			}
		}
	}
}

// dump writes the named profile of this process in the compressed protobuf form that /debug/pprof serves.
func dump(profile, name string) {
	if profile == "heap" {
		runtime.GC()
		runtime.GC()
	}
	file, err := os.Create(filepath.Join(folder, name+".pb.gz"))
	check(err)
	check(pprof.Lookup(profile).WriteTo(file, 0))
	check(file.Close())
}

// settle waits until the goroutine profile holds want stacks with the function, so that counts are exact.
func settle(function string, want int) {
	deadline := time.Now().Add(20 * time.Second)
	for {
		got := goroutinesIn(function)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			log.Fatalf("%s: %d goroutines, want %d", function, got, want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func goroutinesIn(function string) int {
	text := make([]byte, 64<<20)
	text = text[:runtime.Stack(text, true)]
	count := 0
	for _, stack := range bytes.Split(text, []byte("\n\n")) {
		if bytes.Contains(stack, []byte(function+"(")) {
			count++
		}
	}
	return count
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
