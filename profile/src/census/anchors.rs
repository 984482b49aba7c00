//! The table by which a goroutine is recognised.
//!
//! The names are those that stayed the same over many releases: gRPC 1.60 to 1.85 and Go 1.21 to 1.27. Names that
//! changed stand side by side (`newHTTP2Client` until grpc 1.68, `NewHTTP2Client` since). A release that renames one
//! needs one more line here.

use super::{Kind, Resource};

/// How to recognise one kind of goroutine, and what it stands for.
#[derive(Debug, Clone, Copy)]
pub struct Anchor {
    /// What such a goroutine is.
    pub kind: Kind,
    /// What it is one of, where counting such goroutines counts a resource.
    pub resource: Option<Resource>,
    /// Goroutines of this kind that one unit of the resource has.
    pub per_unit: u8,
    /// Frames that its stack has, all of them.
    pub frames: &'static [Place],
}

/// A function and where in the stack it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Package path; a vendored copy counts too.
    pub package: &'static str,
    /// Name within the package; with a `*` at its end, any name that begins so.
    pub name: &'static str,
    /// Condition on the frame.
    pub state: State,
}

/// Where a frame has to be in the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Anywhere.
    Present,
    /// It is the function the goroutine was started with.
    Entry,
    /// It waits in a `select` of its own.
    Select,
    /// Anywhere, in a goroutine that waits for the network.
    Network,
}

const GRPC: &str = "google.golang.org/grpc";
const GRPC_SYNC: &str = "google.golang.org/grpc/internal/grpcsync";
const GRPC_TRANSPORT: &str = "google.golang.org/grpc/internal/transport";
const GRPC_DNS: &str = "google.golang.org/grpc/internal/resolver/dns";
const HTTP: &str = "net/http";
const SQL: &str = "database/sql";

const fn at(package: &'static str, name: &'static str) -> Place {
    Place { package, name, state: State::Present }
}

const fn entry(package: &'static str, name: &'static str) -> Place {
    Place { package, name, state: State::Entry }
}

const fn select(package: &'static str, name: &'static str) -> Place {
    Place { package, name, state: State::Select }
}

const fn network(package: &'static str, name: &'static str) -> Place {
    Place { package, name, state: State::Network }
}

const fn one(kind: Kind, resource: Resource, frames: &'static [Place]) -> Anchor {
    Anchor { kind, resource: Some(resource), per_unit: 1, frames }
}

const fn other(kind: Kind, frames: &'static [Place]) -> Anchor {
    Anchor { kind, resource: None, per_unit: 1, frames }
}

/// All anchors; the first that fits a stack decides.
///
/// | anchors | unit |
/// |---|---|
/// | `CallbackSerializer.run` | three for each ClientConn, from `NewClient` to `Close`, connected or not |
/// | `http2Client.reader`, `loopyWriter.run` | one each for each client transport (socket) |
/// | `newClientStreamWithParams.func*` | one for each client stream that is no unary call |
/// | `http2Server.HandleStreams` | one for each connection of a server |
/// | `persistConn.readLoop`, `writeLoop` | one each for each HTTP/1 connection of a Transport |
/// | `Tx.awaitDone`, `Rows.awaitDone` | one for each unfinished transaction, for each open result under a context that can end |
/// | `(*DB).conn` in select | a caller that waits for a connection of an exhausted pool |
pub const ANCHORS: &[Anchor] = &[
    Anchor {
        kind: Kind::GrpcSerializer,
        resource: Some(Resource::GrpcClient),
        per_unit: 3,
        frames: &[at(GRPC_SYNC, "(*CallbackSerializer).run")],
    },
    one(Kind::GrpcReader, Resource::GrpcConnection, &[at(GRPC_TRANSPORT, "(*http2Client).reader")]),
    other(
        Kind::GrpcServerWriter,
        &[at(GRPC_TRANSPORT, "(*loopyWriter).run"), at(GRPC_TRANSPORT, "NewServerTransport.func*")],
    ),
    other(Kind::GrpcWriter, &[at(GRPC_TRANSPORT, "(*loopyWriter).run")]),
    other(Kind::GrpcKeepalive, &[at(GRPC_TRANSPORT, "(*http2Client).keepalive")]),
    other(Kind::GrpcDnsWatcher, &[at(GRPC_DNS, "(*dnsResolver).watcher")]),
    one(Kind::GrpcStream, Resource::GrpcStream, &[entry(GRPC, "newClientStreamWithParams.func*")]),
    other(Kind::GrpcConnecting, &[at(GRPC, "(*addrConn).resetTransport*")]),
    other(Kind::GrpcConnecting, &[at(GRPC, "(*addrConn).connect")]),
    other(Kind::GrpcCallWaiting, &[at(GRPC, "(*pickerWrapper).pick")]),
    other(Kind::GrpcServerHandshake, &[at(GRPC_TRANSPORT, "NewServerTransport")]),
    one(
        Kind::GrpcServerReader,
        Resource::GrpcServerConnection,
        &[at(GRPC_TRANSPORT, "(*http2Server).HandleStreams")],
    ),
    other(Kind::GrpcServerKeepalive, &[at(GRPC_TRANSPORT, "(*http2Server).keepalive")]),
    one(Kind::GrpcServerCall, Resource::GrpcServerCall, &[at(GRPC, "(*Server).handleStream")]),
    one(Kind::HttpReaderInSelect, Resource::HttpConnection, &[select(HTTP, "(*persistConn).readLoop")]),
    one(Kind::HttpReaderOnNetwork, Resource::HttpConnection, &[network(HTTP, "(*persistConn).readLoop")]),
    one(Kind::HttpReaderRunning, Resource::HttpConnection, &[at(HTTP, "(*persistConn).readLoop")]),
    other(Kind::HttpWriter, &[at(HTTP, "(*persistConn).writeLoop")]),
    other(Kind::HttpDialing, &[at(HTTP, "(*Transport).dialConn*")]),
    other(Kind::HttpConnectionWaiting, &[at(HTTP, "(*Transport).getConn")]),
    other(Kind::HttpCallWaiting, &[at(HTTP, "(*persistConn).roundTrip")]),
    other(Kind::HttpBodyReading, &[at(HTTP, "(*bodyEOFSignal).Read")]),
    one(Kind::Http2Reader, Resource::Http2Connection, &[at(HTTP, "(*http2clientConnReadLoop).run")]),
    one(
        Kind::Http2Reader,
        Resource::Http2Connection,
        &[at("net/http/internal/http2", "(*clientConnReadLoop).run")],
    ),
    one(
        Kind::Http2Reader,
        Resource::Http2Connection,
        &[at("golang.org/x/net/http2", "(*clientConnReadLoop).run")],
    ),
    one(Kind::HttpServerConnection, Resource::HttpServerConnection, &[entry(HTTP, "(*conn).serve")]),
    other(Kind::HttpServerBackgroundRead, &[at(HTTP, "(*connReader).backgroundRead")]),
    one(Kind::SqlTransaction, Resource::SqlTransaction, &[at(SQL, "(*Tx).awaitDone")]),
    one(Kind::SqlRows, Resource::SqlRows, &[at(SQL, "(*Rows).awaitDone")]),
    one(Kind::SqlWaiting, Resource::SqlWait, &[select(SQL, "(*DB).conn")]),
    one(Kind::SqlDatabase, Resource::SqlDatabase, &[at(SQL, "(*DB).connectionOpener")]),
    other(Kind::Dialing, &[at("net", "(*netFD).connect")]),
    other(Kind::Dialing, &[at("net", "(*sysDialer).dialSerial")]),
    other(Kind::Dialing, &[at("net", "(*sysDialer).dialParallel")]),
];

/// Client libraries that keep goroutines of their own for each connection: the name to report and its module path.
///
/// A goroutine counts for the library in which it was started.
pub const LIBRARIES: &[(&str, &str)] = &[
    ("go-redis", "github.com/redis/go-redis"),
    ("go-redis", "github.com/go-redis/redis"),
    ("redigo", "github.com/gomodule/redigo"),
    ("rueidis", "github.com/redis/rueidis"),
    ("nats", "github.com/nats-io/nats.go"),
    ("pgx", "github.com/jackc/pgx"),
    ("pgx", "github.com/jackc/pgconn"),
    ("pgx", "github.com/jackc/puddle"),
    ("pq", "github.com/lib/pq"),
    ("mysql", "github.com/go-sql-driver/mysql"),
    ("mongo", "go.mongodb.org/mongo-driver"),
    ("gocql", "github.com/gocql/gocql"),
    ("gocql", "github.com/apache/cassandra-gocql-driver"),
    ("sarama", "github.com/IBM/sarama"),
    ("sarama", "github.com/Shopify/sarama"),
    ("kafka-go", "github.com/segmentio/kafka-go"),
    ("franz-go", "github.com/twmb/franz-go"),
    ("pulsar", "github.com/apache/pulsar-client-go"),
    ("amqp", "github.com/rabbitmq/amqp091-go"),
    ("amqp", "github.com/streadway/amqp"),
    ("mqtt", "github.com/eclipse/paho.mqtt.golang"),
    ("mqtt", "github.com/eclipse/paho.golang"),
    ("etcd", "go.etcd.io/etcd"),
    ("zookeeper", "github.com/go-zookeeper/zk"),
    ("memcache", "github.com/bradfitz/gomemcache"),
    ("minio", "github.com/minio/minio-go"),
    ("aws", "github.com/aws/aws-sdk-go-v2"),
    ("aws", "github.com/aws/aws-sdk-go"),
    ("kubernetes", "k8s.io/client-go"),
    ("kubernetes", "k8s.io/apimachinery"),
    ("elasticsearch", "github.com/elastic/go-elasticsearch"),
    ("clickhouse", "github.com/ClickHouse/clickhouse-go"),
    ("clickhouse", "github.com/ClickHouse/ch-go"),
    ("websocket", "github.com/gorilla/websocket"),
    ("websocket", "github.com/coder/websocket"),
    ("websocket", "nhooyr.io/websocket"),
    ("yamux", "github.com/hashicorp/yamux"),
    ("quic", "github.com/quic-go/quic-go"),
    ("ssh", "golang.org/x/crypto/ssh"),
    ("ldap", "github.com/go-ldap/ldap"),
    ("thrift", "github.com/apache/thrift"),
    ("fasthttp", "github.com/valyala/fasthttp"),
    ("grpc", "google.golang.org/grpc"),
];
