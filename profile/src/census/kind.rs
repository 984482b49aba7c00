//! What goroutines are, and what they are evidence of.

/// What a goroutine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// Callback serializer of gRPC: three for each ClientConn.
    GrpcSerializer,
    /// Reader of a gRPC client transport.
    GrpcReader,
    /// Writer of a gRPC client transport.
    GrpcWriter,
    /// Keepalive of a gRPC client transport.
    GrpcKeepalive,
    /// DNS resolver of a ClientConn.
    GrpcDnsWatcher,
    /// Open client stream.
    GrpcStream,
    /// A ClientConn that dials or waits before it dials again.
    GrpcConnecting,
    /// A call that waits for a connection.
    GrpcCallWaiting,
    /// A server connection that has not finished its handshake.
    GrpcServerHandshake,
    /// Reader of a gRPC server connection.
    GrpcServerReader,
    /// Writer of a gRPC server connection.
    GrpcServerWriter,
    /// Keepalive of a gRPC server connection.
    GrpcServerKeepalive,
    /// A call that a gRPC server is handling.
    GrpcServerCall,
    /// Reader of an HTTP/1 client connection which handed out a response and waits until its body is read to the end
    /// or closed.
    HttpReaderInSelect,
    /// Reader of an HTTP/1 client connection which waits for bytes: idle, or a call waits for its answer.
    HttpReaderOnNetwork,
    /// Reader of an HTTP/1 client connection at anything else.
    HttpReaderRunning,
    /// Writer of an HTTP/1 client connection.
    HttpWriter,
    /// An HTTP client connection being made.
    HttpDialing,
    /// A call that waits for an HTTP connection.
    HttpConnectionWaiting,
    /// A call that waits for the answer on its HTTP/1 connection.
    HttpCallWaiting,
    /// Somebody who reads the body of a response now.
    HttpBodyReading,
    /// Reader of an HTTP/2 client connection of net/http.
    Http2Reader,
    /// Connection of an HTTP server, idle or in a handler.
    HttpServerConnection,
    /// Watches the peer while a handler of an HTTP server runs.
    HttpServerBackgroundRead,
    /// Unfinished transaction of database/sql.
    SqlTransaction,
    /// Open result of database/sql under a context that can end.
    SqlRows,
    /// A caller that waits for a connection of a pool of database/sql.
    SqlWaiting,
    /// Connection opener: one for each open `sql.DB`.
    SqlDatabase,
    /// Any other connection being made.
    Dialing,
    /// Reads from a connection, outside any known library.
    RawReader,
    /// Started by a client library of [`LIBRARIES`](super::LIBRARIES).
    Library,
    /// Anything else.
    Other,
}

impl Kind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 32] = [
        Self::GrpcSerializer,
        Self::GrpcReader,
        Self::GrpcWriter,
        Self::GrpcKeepalive,
        Self::GrpcDnsWatcher,
        Self::GrpcStream,
        Self::GrpcConnecting,
        Self::GrpcCallWaiting,
        Self::GrpcServerHandshake,
        Self::GrpcServerReader,
        Self::GrpcServerWriter,
        Self::GrpcServerKeepalive,
        Self::GrpcServerCall,
        Self::HttpReaderInSelect,
        Self::HttpReaderOnNetwork,
        Self::HttpReaderRunning,
        Self::HttpWriter,
        Self::HttpDialing,
        Self::HttpConnectionWaiting,
        Self::HttpCallWaiting,
        Self::HttpBodyReading,
        Self::Http2Reader,
        Self::HttpServerConnection,
        Self::HttpServerBackgroundRead,
        Self::SqlTransaction,
        Self::SqlRows,
        Self::SqlWaiting,
        Self::SqlDatabase,
        Self::Dialing,
        Self::RawReader,
        Self::Library,
        Self::Other,
    ];

    /// Name for the attribute `goroutine.kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GrpcSerializer => "grpc_serializer",
            Self::GrpcReader => "grpc_reader",
            Self::GrpcWriter => "grpc_writer",
            Self::GrpcKeepalive => "grpc_keepalive",
            Self::GrpcDnsWatcher => "grpc_dns_watcher",
            Self::GrpcStream => "grpc_stream",
            Self::GrpcConnecting => "grpc_connecting",
            Self::GrpcCallWaiting => "grpc_call_waiting",
            Self::GrpcServerHandshake => "grpc_server_handshake",
            Self::GrpcServerReader => "grpc_server_reader",
            Self::GrpcServerWriter => "grpc_server_writer",
            Self::GrpcServerKeepalive => "grpc_server_keepalive",
            Self::GrpcServerCall => "grpc_server_call",
            Self::HttpReaderInSelect => "http_reader_in_select",
            Self::HttpReaderOnNetwork => "http_reader_on_network",
            Self::HttpReaderRunning => "http_reader_running",
            Self::HttpWriter => "http_writer",
            Self::HttpDialing => "http_dialing",
            Self::HttpConnectionWaiting => "http_connection_waiting",
            Self::HttpCallWaiting => "http_call_waiting",
            Self::HttpBodyReading => "http_body_reading",
            Self::Http2Reader => "http2_reader",
            Self::HttpServerConnection => "http_server_connection",
            Self::HttpServerBackgroundRead => "http_server_background_read",
            Self::SqlTransaction => "sql_transaction",
            Self::SqlRows => "sql_rows",
            Self::SqlWaiting => "sql_waiting",
            Self::SqlDatabase => "sql_database",
            Self::Dialing => "dialing",
            Self::RawReader => "raw_reader",
            Self::Library => "library",
            Self::Other => "other",
        }
    }
}

/// What goroutines are evidence of: something that a program opens and has to close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Resource {
    /// `grpc.ClientConn`.
    GrpcClient,
    /// HTTP/2 transport of a gRPC client.
    GrpcConnection,
    /// Client stream of gRPC.
    GrpcStream,
    /// Connection of a gRPC server.
    GrpcServerConnection,
    /// Call that a gRPC server is handling.
    GrpcServerCall,
    /// HTTP/1 connection of a client (`persistConn`).
    HttpConnection,
    /// HTTP/2 connection of an HTTP client.
    Http2Connection,
    /// Connection of an HTTP server.
    HttpServerConnection,
    /// Transaction of database/sql.
    SqlTransaction,
    /// Result of database/sql.
    SqlRows,
    /// Caller that waits for a connection of a pool of database/sql.
    SqlWait,
    /// `sql.DB`.
    SqlDatabase,
}

impl Resource {
    /// Name for the attribute `connection.resource`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GrpcClient => "grpc_client",
            Self::GrpcConnection => "grpc_connection",
            Self::GrpcStream => "grpc_stream",
            Self::GrpcServerConnection => "grpc_server_connection",
            Self::GrpcServerCall => "grpc_server_call",
            Self::HttpConnection => "http_connection",
            Self::Http2Connection => "http2_connection",
            Self::HttpServerConnection => "http_server_connection",
            Self::SqlTransaction => "sql_transaction",
            Self::SqlRows => "sql_rows",
            Self::SqlWait => "sql_wait",
            Self::SqlDatabase => "sql_database",
        }
    }
}
