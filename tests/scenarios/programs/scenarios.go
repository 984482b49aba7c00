package main

import "context"

// moduleUse says whether a scenario runs with the weir module.
type moduleUse uint8

const (
	eitherWay moduleUse = iota
	needsModule
	noModule
)

// Classes of scenarios without a leak.
const (
	healthy = "ok"
	churn   = "churn"
)

// scenario is one service.
type scenario struct {
	name   string
	class  string // the verdict that is right
	about  string
	peer   string // kind of server it talks to
	module moduleUse
	proxy  bool // its events pass a proxy that loses some
	run    func(context.Context, *world) error
}

// leaks tells whether a verdict "leaking" is right.
func (s scenario) leaks() bool {
	return s.class != healthy && s.class != churn
}

// scenarios are all there are, leaks first.
var scenarios = []scenario{
	{"client_per_call", "client_per_call", "a client for each call, never closed", "grpc", eitherWay, false, clientPerCall},
	{"clientconn_unclosed_idle", "clientconn_unclosed_idle", "the same, but the sockets go after an idle timeout", "grpc", eitherWay, false, clientConnUnclosedIdle},
	{"stream_not_cancelled", "stream_not_cancelled", "one client, streams that nobody ends", "grpc", eitherWay, false, streamNotCancelled},
	{"peer_closed_app_holds", "peer_closed_app_holds", "the peer closes, the program does not", "closer", noModule, false, peerClosedAppHolds},
	{"transport_per_request", "transport_per_request", "an http.Transport for each request", "http", noModule, false, transportPerRequest},
	{"http_body_unclosed", "http_body_unclosed", "response bodies neither read nor closed", "http", noModule, false, httpBodyUnclosed},
	{"fd_dup", "fd_dup", "a client for each call, closed, whose descriptor was duplicated", "grpc", needsModule, false, descriptorDup},
	{"pool_warmup", healthy, "grows to 50 clients and stays, with traffic", "grpc", eitherWay, false, poolWarmup},
	{"connect_close_churn", churn, "a client for each call, closed after it", "grpc", eitherWay, false, connectCloseChurn},
	{"burst_idle", healthy, "bursts over 40 clients whose sockets then idle out", "grpc", eitherWay, false, burstIdle},
	{"deploy_overlap", healthy, "a new generation of 20 clients comes before the old one goes", "grpc", eitherWay, false, deployOverlap},
	{"events_lost", churn, "churn whose end events are partly lost on the way; snapshots put it right", "grpc", needsModule, true, connectCloseChurn},
}
