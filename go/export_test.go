package weir

// ForgetIgnoredFunctions undoes IgnoreFunctions between tests.
func ForgetIgnoredFunctions() { callSites.ignore.Store(nil) }

// DialWithCookie is the dialer of WithSocketCookie.
var DialWithCookie = dialWithCookie

// ForgetSites makes each site a new one, so that a test may run twice.
func ForgetSites() {
	callSites.mu.Lock()
	defer callSites.mu.Unlock()
	clear(callSites.known)
	clear(callSites.stacks)
}
