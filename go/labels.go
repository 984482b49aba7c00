//go:build go1.26 && !go1.29

package weir

import (
	"context"
	"runtime/pprof"
	"unsafe"
)

// The runtime keeps these two under their names for use by linkname (Go issue
// 67401): there is no other way to read the labels of a goroutine without its
// context, and NewClient has none. labels_other.go serves releases of Go for
// which this has not been tested.

//go:linkname goroutineLabels runtime/pprof.runtime_getProfLabel
func goroutineLabels() unsafe.Pointer

//go:linkname restoreGoroutineLabels runtime/pprof.runtime_setProfLabel
func restoreGoroutineLabels(unsafe.Pointer)

// withLabels calls f with the labels of ctx on this goroutine, which goroutines
// started by f inherit, and puts back the caller's labels.
func withLabels(ctx context.Context, f func()) {
	before := goroutineLabels()
	defer restoreGoroutineLabels(before)
	pprof.SetGoroutineLabels(ctx)
	f()
}
