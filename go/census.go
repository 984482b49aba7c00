package weir

import "runtime/pprof"

// profileName is the name under which open clients are listed at
// /debug/pprof/grpc.clientconn.
const profileName = "grpc.clientconn"

// clientKey is what the pprof profile holds of a client: its id. The profile
// keeps its values alive, so it must never get the ClientConn itself.
type clientKey uint64

// census is the exact profile of open clients by the stack that made them.
var census = openProfile()

func openProfile() *pprof.Profile {
	if p := pprof.Lookup(profileName); p != nil {
		return p
	}
	return pprof.NewProfile(profileName)
}
