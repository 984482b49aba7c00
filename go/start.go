package weir

import (
	"context"
	"errors"
	"log"
	"os"
	"sync"
	"sync/atomic"
)

// ErrStarted is returned by [Start] when an earlier Start is still in force.
var ErrStarted = errors.New("weir: already started; call Stop before another Start")

// lifecycle is whether and by whom the reporter of this process was started.
type lifecycle struct {
	mu       sync.Mutex
	reporter *reporter
	explicit bool // by Start, not by the first use
	// decided is true once a first use has nothing left to start: started,
	// stopped, or impossible.
	decided atomic.Bool
}

var life lifecycle

// disabled is read once, as the environment of a process does not change.
var disabled = disabledByEnvironment(os.Getenv)

// Start begins reporting with these settings. It is needed only where the
// environment is not enough; the first use starts with the environment alone.
// When that has already happened, Start takes over with the new settings.
// With WEIR_DISABLED it does nothing.
//
// Errors: settings that cannot work, and [ErrStarted].
func Start(c Config) error {
	if disabled {
		return nil
	}
	s, err := c.resolve(os.Getenv)
	if err != nil {
		return err
	}
	life.mu.Lock()
	defer life.mu.Unlock()
	if life.explicit {
		return ErrStarted
	}
	if old := life.reporter; old != nil {
		old.abandon()
	}
	life.start(s, true)
	return nil
}

// Stop sends what waits and a last snapshot, once, and ends the reporter: after
// Stop no goroutine and no socket of this module is left. It returns early with
// the error of ctx when that ends. Clients made later work and are counted, but
// reported only after another [Start]. Without a reporter Stop does nothing.
func Stop(ctx context.Context) error {
	life.mu.Lock()
	defer life.mu.Unlock()
	life.explicit = false
	life.decided.Store(true)
	if life.reporter == nil {
		return nil
	}
	err := life.reporter.stop(ctx)
	life.reporter = nil
	return err
}

// ensureStarted starts the reporter on first use and tells whether connections
// are to be recorded at all.
func ensureStarted() bool {
	if disabled {
		return false
	}
	if life.decided.Load() {
		return true
	}
	life.mu.Lock()
	defer life.mu.Unlock()
	if life.decided.Load() {
		return true
	}
	s, err := Config{}.resolve(os.Getenv)
	if err != nil {
		log.Printf("%v; connections are not reported", err)
		life.decided.Store(true)
		return true
	}
	life.start(s, false)
	return true
}

// start needs the lock.
func (l *lifecycle) start(s settings, explicit bool) {
	callSites.addIgnored(s.ignore)
	l.reporter = newReporter(s, process)
	l.explicit = explicit
	l.decided.Store(true)
	l.reporter.start()
}
