package main

import (
	"context"
	"time"

	"google.golang.org/grpc"
)

const (
	poolSize       = 50
	burstSize      = 40
	generationSize = 20
)

func poolWarmup(ctx context.Context, w *world) error {
	var pool []client
	defer func() { closeAll(pool) }()
	return w.each(ctx, func(int) error {
		if len(pool) < poolSize {
			conn, err := w.dial()
			if err != nil {
				return err
			}
			pool = append(pool, conn)
		}
		return traffic(pool)
	})
}

func connectCloseChurn(ctx context.Context, w *world) error {
	return w.each(ctx, func(int) error {
		conn, err := w.dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		return call(conn)
	})
}

// burstIdle uses its clients together, then not at all for eight times the idle
// timeout, and so on.
func burstIdle(ctx context.Context, w *world) error {
	var pool []client
	defer func() { closeAll(pool) }()
	var last time.Time
	return w.each(ctx, func(int) error {
		for len(pool) < burstSize {
			conn, err := w.dial(grpc.WithIdleTimeout(w.idleTimeout))
			if err != nil {
				return err
			}
			pool = append(pool, conn)
		}
		if time.Since(last) < 8*w.idleTimeout {
			return nil
		}
		last = time.Now()
		return traffic(pool)
	})
}

// deployOverlap replaces its clients after every 32 units; the old ones stay for
// another 12.
func deployOverlap(ctx context.Context, w *world) error {
	var current, old []client
	defer func() { closeAll(append(old, current...)) }()
	return w.each(ctx, func(n int) error {
		switch n % 32 {
		case 0:
			old, current = current, nil
			for range generationSize {
				conn, err := w.dial()
				if err != nil {
					return err
				}
				current = append(current, conn)
			}
		case 12:
			closeAll(old)
			old = nil
		}
		return traffic(append(current[:len(current):len(current)], old...))
	})
}
