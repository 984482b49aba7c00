//! Connection events, read from OTLP log records (docs/connection-events.md, version 1).

use std::net::{IpAddr, SocketAddr};

use weir_pdata::view::{AnyValue, Attributes, LogRecord, Scope};

use crate::names;
use crate::publish::CodeSite;

/// Attribute of the scope that says which version of the events it speaks.
pub const VERSION_ATTRIBUTE: &str = "connection.events.version";

/// The version that this program reads.
pub const VERSION: i64 = 1;

/// Version of the events in a scope: `None` when it holds none.
pub fn version(scope: &Scope<'_>) -> Option<i64> {
    scope.attributes().int(VERSION_ATTRIBUTE)
}

/// Whether a record's event name is one of ours.
pub fn is_event(name: &str) -> bool {
    matches!(
        name,
        "grpc.client.created"
            | "grpc.client.closed"
            | "grpc.connection.begin"
            | "grpc.connection.end"
            | "grpc.snapshot"
    )
}

/// Which end of a connection the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// It dialled.
    Client,
    /// It was dialled.
    Server,
}

impl Side {
    /// Value of `connection.side`.
    pub fn name(self) -> &'static str {
        if self == Side::Client { "client" } else { "server" }
    }
}

/// One event. Times are the process's wall clock, Unix ns.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A ClientConn was made.
    ClientCreated(Client),
    /// A ClientConn was closed, or collected by the garbage collector without Close.
    ClientClosed {
        /// Its id.
        id: u64,
        /// When.
        time: u64,
        /// Collected without Close.
        collected: bool,
    },
    /// A connection was established.
    Begin(Connection),
    /// A connection ended.
    End {
        /// Its id.
        id: u64,
        /// When.
        time: u64,
        /// Reason where it is known.
        reason: String,
        /// RPCs it carried.
        rpcs: u64,
    },
    /// Part of a statement of everything that is open.
    Snapshot(Snapshot),
}

/// A ClientConn.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Client {
    /// Id in its process.
    pub id: u64,
    /// When it was made.
    pub begin: u64,
    /// Last activity; equal to `begin` when there was none.
    pub active: u64,
    /// RPCs started.
    pub rpcs: u64,
    /// RPCs open.
    pub open_rpcs: u64,
    /// Target as given to NewClient.
    pub target: String,
    /// Line that made it.
    pub site: CodeSite,
    /// Open streams by the lines that opened them.
    pub streams: Vec<(CodeSite, u64)>,
    /// Number of the stack of that call in its process, 0 when unknown.
    pub stack_id: u64,
    /// The stack as Go's own traces print it, the site first; only on the first client of that stack.
    pub stack: String,
}

/// A connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    /// Id in its process.
    pub id: u64,
    /// Which end.
    pub side: Side,
    /// When it began.
    pub begin: u64,
    /// Last activity; equal to `begin` when there was none.
    pub active: u64,
    /// RPCs started.
    pub rpcs: u64,
    /// RPCs open.
    pub open_rpcs: u64,
    /// Its ClientConn, 0 when unknown.
    pub client: u64,
    /// Local address.
    pub local: Option<SocketAddr>,
    /// Peer address.
    pub peer: Option<SocketAddr>,
    /// Socket cookie, 0 when unknown.
    pub cookie: u64,
    /// How long a call waited for it to be established, ns; 0 when none did, or nobody measured.
    pub setup: u64,
}

/// Part of a statement of everything that is open.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// Counts up from 1.
    pub id: u64,
    /// From 1 to `parts`.
    pub part: u64,
    /// How many parts belong together.
    pub parts: u64,
    /// When it was taken.
    pub time: u64,
    /// Seconds until the next one.
    pub interval: f64,
    /// Totals since the process started.
    pub totals: Totals,
    /// The module was stopped: there will be no further one.
    pub last: bool,
    /// Stacks by their numbers, those by which most of the clients were made.
    pub stacks: Vec<(u64, String)>,
    /// ClientConns.
    pub clients: Vec<Client>,
    /// Connections.
    pub connections: Vec<Connection>,
}

/// Totals since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Totals {
    /// ClientConns made.
    pub clients_opened: u64,
    /// ClientConns closed.
    pub clients_closed: u64,
    /// RPCs started by clients.
    pub client_rpcs: u64,
    /// RPCs started at servers.
    pub server_rpcs: u64,
    /// Events that the module had to drop.
    pub dropped: u64,
}

/// Reads one record.
///
/// # Errors
/// What is missing or out of range, for a log line; the record is skipped.
pub fn read(record: &LogRecord<'_>) -> Result<Event, String> {
    let attributes = Fields(record.attributes());
    let time = record.time();
    match record.event_name() {
        "grpc.client.created" => Ok(Event::ClientCreated(Client {
            id: attributes.id("grpc.client.id")?,
            begin: time,
            active: time,
            target: attributes.text("grpc.target"),
            site: attributes.site(),
            stack_id: attributes.number("code.stack.id"),
            stack: attributes.text("code.stacktrace"),
            ..Client::default()
        })),
        "grpc.client.closed" => Ok(Event::ClientClosed {
            id: attributes.id("grpc.client.id")?,
            time,
            collected: attributes.text("grpc.client.close") == "collected",
        }),
        "grpc.connection.begin" => Ok(Event::Begin(Connection {
            id: attributes.id("connection.id")?,
            side: side(&attributes.text(names::ATTR_SIDE))?,
            begin: time,
            active: time,
            rpcs: 0,
            open_rpcs: 0,
            client: attributes.number("grpc.client.id"),
            local: attributes.address("network.local.address", "network.local.port"),
            peer: attributes.address("network.peer.address", "network.peer.port"),
            cookie: attributes.number("socket.cookie"),
            setup: attributes.duration("connection.setup.duration"),
        })),
        "grpc.connection.end" => Ok(Event::End {
            id: attributes.id("connection.id")?,
            time,
            reason: attributes.text("error.type"),
            rpcs: attributes.number("connection.rpcs"),
        }),
        "grpc.snapshot" => snapshot(&attributes, time, record.body()).map(Event::Snapshot),
        other => Err(format!("unknown event name {other:?}")),
    }
}

fn side(text: &str) -> Result<Side, String> {
    match text {
        "client" => Ok(Side::Client),
        "server" => Ok(Side::Server),
        other => Err(format!("connection.side is {other:?}, expected \"client\" or \"server\"")),
    }
}

fn snapshot(attributes: &Fields<'_>, time: u64, body: AnyValue<'_>) -> Result<Snapshot, String> {
    let mut snapshot = Snapshot {
        id: attributes.id("snapshot.id")?,
        part: attributes.id("snapshot.part")?,
        parts: attributes.id("snapshot.parts")?,
        time,
        interval: attributes.0.get("snapshot.interval").and_then(|v| v.as_f64()).unwrap_or(10.0),
        totals: Totals {
            clients_opened: attributes.number("client.opened"),
            clients_closed: attributes.number("client.closed"),
            client_rpcs: attributes.number("client.rpcs"),
            server_rpcs: attributes.number("server.rpcs"),
            dropped: attributes.number("events.dropped"),
        },
        last: matches!(attributes.0.get("snapshot.last"), Some(AnyValue::Bool(true))),
        ..Snapshot::default()
    };
    for entry in attributes.0.get("snapshot.stacks").iter().flat_map(AnyValue::items) {
        let entry = Fields(entry.entries());
        snapshot.stacks.push((entry.id("s")?, entry.text("x")));
    }
    if snapshot.part > snapshot.parts {
        return Err(format!("snapshot.part {} is above snapshot.parts {}", snapshot.part, snapshot.parts));
    }
    for entry in body.items() {
        let entry = Fields(entry.entries());
        match entry.text("k").as_str() {
            "g" => snapshot.clients.push(entry.client()?),
            "c" => snapshot.connections.push(entry.connection(Side::Client)?),
            "s" => snapshot.connections.push(entry.connection(Side::Server)?),
            other => return Err(format!("snapshot entry of unknown kind {other:?}")),
        }
    }
    Ok(snapshot)
}

/// Attributes of a record or entries of a snapshot.
struct Fields<'a>(Attributes<'a>);

impl Fields<'_> {
    fn text(&self, key: &str) -> String {
        self.0.text(key).unwrap_or_default().to_owned()
    }

    /// A count; 0 when it is missing or negative.
    fn number(&self, key: &str) -> u64 {
        let value = self.0.int(key).or_else(|| self.0.text(key).and_then(|t| t.parse().ok()));
        // A cookie uses all 64 bits, so a negative integer is taken for what it is.
        value.map_or(0, i64::cast_unsigned)
    }

    /// A duration in seconds as ns; 0 when it is missing, negative, or longer than an hour.
    fn duration(&self, key: &str) -> u64 {
        let seconds = self.0.get(key).and_then(|v| v.as_f64()).filter(|s| (0.0..=3600.0).contains(s));
        (seconds.unwrap_or(0.0) * 1e9) as u64
    }

    fn id(&self, key: &str) -> Result<u64, String> {
        match self.0.int(key) {
            Some(id) if id > 0 => Ok(id.cast_unsigned()),
            Some(id) => Err(format!("{key} is {id}, expected a positive integer")),
            None => Err(format!("{key} is missing or not an integer")),
        }
    }

    fn site(&self) -> CodeSite {
        CodeSite {
            file: self.text(names::ATTR_FILE),
            line: self.0.int(names::ATTR_LINE).unwrap_or_default(),
            function: self.text(names::ATTR_FUNCTION),
        }
    }

    /// The site of an entry of a snapshot.
    fn entry_site(&self) -> CodeSite {
        CodeSite { file: self.text("f"), line: self.0.int("n").unwrap_or_default(), function: self.text("m") }
    }

    fn address(&self, address: &str, port: &str) -> Option<SocketAddr> {
        let ip: IpAddr = self.0.text(address)?.parse().ok()?;
        let port = u16::try_from(self.0.int(port)?).ok()?;
        Some(SocketAddr::new(ip.to_canonical(), port))
    }

    fn client(&self) -> Result<Client, String> {
        let begin = self.number("b");
        Ok(Client {
            id: self.id("id")?,
            begin,
            active: self.number("a").max(begin),
            rpcs: self.number("r"),
            open_rpcs: self.number("o"),
            target: self.text("t"),
            site: self.entry_site(),
            streams: (self.0.get("st").iter().flat_map(AnyValue::items))
                .map(|entry| Fields(entry.entries()))
                .map(|entry| (entry.entry_site(), entry.number("o")))
                .collect(),
            stack_id: self.number("s"),
            stack: String::new(),
        })
    }

    fn connection(&self, side: Side) -> Result<Connection, String> {
        let begin = self.number("b");
        let address = |key| self.0.text(key).and_then(|t| t.parse::<SocketAddr>().ok()).map(canonical);
        Ok(Connection {
            id: self.id("id")?,
            side,
            begin,
            active: self.number("a").max(begin),
            rpcs: self.number("r"),
            open_rpcs: self.number("o"),
            client: self.number("g"),
            local: address("l"),
            peer: address("p"),
            cookie: self.number("c"),
            setup: 0,
        })
    }
}

/// IPv4 addresses mapped into IPv6 as IPv4, so that all views name an address alike.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A gRPC target as `address:port` where it holds one: `dns:///host:1`, `passthrough:///host:1` and `host:1` are the
/// same (gRPC name syntax); other schemes stay as they are.
pub fn target_address(target: &str) -> &str {
    for scheme in ["dns:", "passthrough:", "ipv4:", "ipv6:"] {
        if let Some(rest) = target.strip_prefix(scheme) {
            // dns://authority/host: the authority is the name server.
            let rest =
                rest.strip_prefix("//").map_or(rest, |r| r.split_once('/').map_or(r, |(_, path)| path));
            return rest.trim_start_matches('/');
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_the_common_schemes_name_the_same_address() {
        for target in
            ["h:1", "dns:///h:1", "dns:h:1", "dns://8.8.8.8/h:1", "passthrough:///h:1", "passthrough:h:1"]
        {
            assert_eq!(target_address(target), "h:1", "{target}");
        }
        assert_eq!(target_address("unix:///run/s.sock"), "unix:///run/s.sock");
        assert_eq!(target_address("xds:///orders"), "xds:///orders");
    }
}
