// Package weir tells a Weir agent about the gRPC connections of this process,
// so that a leaking one is found and named by the line that made it.
//
// One line in a client:
//
//	conn, err := weir.NewClient(target, grpc.WithTransportCredentials(creds))
//	defer conn.Close()
//	client := pb.NewOrdersClient(conn)
//
// and one in a server:
//
//	server := grpc.NewServer(weir.ServerOption())
//
// Each client and each HTTP/2 connection gets a number when it begins. Begin
// and end are sent as OTLP log records, and every ten seconds a snapshot of all
// that is open, so that a lost record never looks like a leak. The records are
// described in docs/connection-events.md.
//
// The first use starts the reporter from the environment:
//
//	OTEL_SERVICE_NAME         name of the service (default unknown_service:<executable>)
//	OTEL_RESOURCE_ATTRIBUTES  further resource attributes, key=value,key=value
//	WEIR_ENDPOINT             base URL of the agent (default http://127.0.0.1:4327)
//	WEIR_SNAPSHOT_INTERVAL    10s by default; a plain number counts seconds
//	WEIR_IGNORE_FUNCTIONS     dial helpers, comma separated, see [IgnoreFunctions]
//	WEIR_DISABLED             true: everything here does nothing
//
// or call [Start] with a [Config] before the first use. Memory is bounded; when
// the agent is absent or slow, records are dropped and counted, and no call of
// the host ever waits for the agent.
package weir

// Version is the version of this module, sent as the version of the scope.
const Version = "0.1.0"

// modulePath is the import path of this package; its functions are skipped
// when the site of a client is looked for.
const modulePath = "github.com/weir-agent/weir/go"
