package weir

import (
	"context"
	"runtime/pprof"
)

// withLabelsApart calls f with the labels of ctx, which goroutines started by f
// inherit. It uses a goroutine of its own, so that the caller's labels stay as
// they are; a panic of f reaches the caller. Allocations of f then lack the
// caller in the heap profile, which is why [withLabels] goes another way where
// it can.
func withLabelsApart(ctx context.Context, f func()) {
	panicked := make(chan any, 1)
	go func() {
		defer func() { panicked <- recover() }()
		pprof.SetGoroutineLabels(ctx)
		f()
	}()
	if p := <-panicked; p != nil {
		panic(p)
	}
}
