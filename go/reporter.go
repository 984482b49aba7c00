package weir

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"runtime/debug"
	"runtime/pprof"
	"sync/atomic"
	"time"
)

const (
	// flushInterval is the shortest time between two requests with events.
	flushInterval = 200 * time.Millisecond
	// maxRequestEvents is how many events one request holds at most.
	maxRequestEvents = 1000
	// maxAttempts is how often events are sent before they are dropped.
	maxAttempts = 5
	minBackoff  = 500 * time.Millisecond
	maxBackoff  = 30 * time.Second
)

// lastSnapshot is the id of the newest snapshot of this process.
var lastSnapshot atomic.Int64

// reporter sends events and snapshots to the agent. All of it happens on one
// goroutine, in the order in which things happened: a batch that could not be
// sent is tried again before anything newer leaves. A snapshot that could not be
// sent is forgotten, as the next one says more.
type reporter struct {
	settings settings
	registry *registry
	sender   *sender
	envelope envelope

	wake chan struct{}
	quit chan struct{}
	done chan struct{}
	// abort ends a request that is under way.
	context context.Context
	abort   context.CancelFunc
	lastErr error // read after done

	last     bool    // no round follows this one
	batch    []event // taken from the registry, not yet sent
	attempts int     // failed attempts to send the first of batch
	failures int     // failed requests since the last success
}

func newReporter(s settings, r *registry) *reporter {
	ctx, abort := context.WithCancel(context.Background())
	return &reporter{
		settings: s,
		registry: r,
		sender:   newSender(s),
		envelope: newEnvelope(s.resourceAttributes(self)),
		wake:     make(chan struct{}, 1),
		quit:     make(chan struct{}),
		done:     make(chan struct{}),
		context:  ctx,
		abort:    abort,
	}
}

func (r *reporter) start() {
	r.registry.startRecording(r.settings.bufferSize, func() {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	})
	go r.run()
}

// stop sends what waits and ends the goroutine; when ctx ends first, the request
// under way is aborted.
func (r *reporter) stop(ctx context.Context) error {
	close(r.quit)
	select {
	case <-r.done:
	case <-ctx.Done():
		r.abort()
		<-r.done
		return ctx.Err()
	}
	r.abort()
	return r.lastErr
}

// abandon ends the goroutine at once; what it had taken goes back to nobody and
// is counted as dropped. What still waits in the registry stays for a successor.
func (r *reporter) abandon() {
	r.abort()
	<-r.done
}

func (r *reporter) run() {
	defer close(r.done)
	defer r.sender.close()
	defer r.survive()
	// Not the labels of whoever happened to use the module first.
	pprof.SetGoroutineLabels(context.Background())
	now := time.Now()
	lastFlush, nextSnapshot, notBefore := now, now.Add(flushInterval), now
	waiting := false
	for {
		due := nextSnapshot
		if waiting || len(r.batch) > 0 {
			due = earlier(due, lastFlush.Add(flushInterval))
		}
		due = later(due, notBefore)
		timer := time.NewTimer(time.Until(due))
		select {
		case <-r.wake:
			timer.Stop()
			waiting = true
			continue
		case <-r.quit:
			timer.Stop()
			r.finish()
			return
		case <-r.context.Done():
			timer.Stop()
			r.registry.settle(len(r.batch), true)
			return
		case <-timer.C:
		}
		waiting = false
		withSnapshot := !time.Now().Before(nextSnapshot) || r.failures > 0
		sent := r.round(withSnapshot)
		lastFlush = time.Now()
		notBefore = lastFlush
		switch {
		case !sent:
			waiting = true
			notBefore = lastFlush.Add(r.backoff())
		case withSnapshot:
			nextSnapshot = lastFlush.Add(r.settings.snapshotInterval)
		}
	}
}

// survive keeps a panic, of an OnError callback or of a mistake in here, from
// ending the host. It is logged, [Stop] returns it, and what waits is counted as
// dropped; nothing is reported any more until another [Start].
func (r *reporter) survive() {
	reason := recover()
	if reason == nil {
		return
	}
	r.lastErr = fmt.Errorf("weir: the reporter panicked: %v", reason)
	log.Printf("%v; connections are no longer reported\n%s", r.lastErr, debug.Stack())
	r.registry.settle(len(r.batch), true)
	r.batch = nil
	r.registry.stopRecording()
}

// round sends what waits, and tells whether all of it was accepted. After a time
// without agent it needs two takes: what had failed, and what came since.
func (r *reporter) round(withSnapshot bool) bool {
	if !r.sendBatch() {
		return false
	}
	var state *snapshot
	if withSnapshot {
		r.batch, state = r.registry.takeWithSnapshot()
	} else {
		r.batch = r.registry.take()
	}
	if !r.sendBatch() {
		return false
	}
	return state == nil || r.sendSnapshot(state)
}

// sendBatch sends the batch in requests of bounded size. False: the rest waits
// for another attempt, or was dropped after the last one.
func (r *reporter) sendBatch() bool {
	for len(r.batch) > 0 {
		n := min(len(r.batch), maxRequestEvents)
		observed := time.Now().UnixNano()
		records := make([][]byte, n)
		for i := range records {
			records[i] = r.batch[i].encode(observed)
		}
		err := r.send(records)
		if err == nil {
			r.attempts = 0
			r.discard(n, false)
			continue
		}
		r.attempts++
		if permanent(err) {
			r.attempts = 0
			r.discard(n, true)
		} else if r.attempts >= maxAttempts {
			r.attempts = 0
			r.discard(len(r.batch), true)
		}
		return false
	}
	return true
}

func (r *reporter) discard(n int, dropped bool) {
	r.batch = r.batch[n:]
	if len(r.batch) == 0 {
		r.batch = nil
	}
	r.registry.settle(n, dropped)
}

func (r *reporter) sendSnapshot(state *snapshot) bool {
	parts := state.parts()
	header := snapshotHeader{
		id:       lastSnapshot.Add(1),
		at:       state.at,
		interval: r.settings.snapshotInterval,
		totals:   state.totals,
		parts:    len(parts),
		last:     r.last,
		stacks:   state.stacks(),
	}
	for i, p := range parts {
		record := header.encode(p, i+1, time.Now().UnixNano())
		if r.send([][]byte{record}) != nil {
			return false
		}
	}
	return true
}

func (r *reporter) send(records [][]byte) error {
	err := r.sender.post(r.context, r.envelope.request(records))
	if err == nil {
		r.failures = 0
		return nil
	}
	r.failures++
	r.lastErr = err
	if r.settings.onError != nil && r.context.Err() == nil {
		r.settings.onError(err)
	}
	return err
}

// backoff is how long to wait after the failures so far: doubling, at most the
// snapshot interval or 30 s, a fifth more or less by chance.
func (r *reporter) backoff() time.Duration {
	limit := min(max(r.settings.snapshotInterval, 2*minBackoff), maxBackoff)
	wait := min(minBackoff<<min(r.failures-1, 10), limit)
	if asked := min(r.sender.retryAfter, limit); asked > wait {
		wait = asked
	}
	return wait*4/5 + rand.N(wait*2/5)
}

// finish sends everything once and gives up what the agent does not take.
func (r *reporter) finish() {
	r.lastErr = nil
	r.last = true
	r.round(true)
	r.registry.settle(len(r.batch), true)
	r.batch = nil
	r.registry.stopRecording()
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
