//! Names of attributes and metrics, in one place. Semantic conventions 1.44 where they have one; `connection.*` and
//! `leak.*` are ours and documented in docs/telemetry.md.

/// Bounds of age and idle time, in seconds: what `connection.open.older` and `connection.open.idle` are measured at.
pub const BOUNDS: [u64; 15] =
    [1, 5, 10, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200, 21_600, 43_200, 86_400];

/// Instrumentation scope of everything that is made here.
pub const SCOPE: &str = "weir/connection";

macro_rules! names {
    ($($name:ident = $text:literal;)*) => {$(
        #[doc = concat!("`", $text, "`")]
        pub const $name: &str = $text;
    )*};
}

names! {
    OPEN = "connection.open";
    OPENED = "connection.opened";
    CLOSED = "connection.closed";
    OLDER = "connection.open.older";
    IDLE = "connection.open.idle";
    UNUSED = "connection.open.unused";
    LIFETIME = "connection.lifetime";
    BY_SITE = "connection.open.by_site";
    LOAD = "connection.load";
    LOST = "connection.lost";
    COLLECTED = "connection.collected";
    ALIVE_AFTER_END = "connection.alive_after_end";
    GOROUTINES = "connection.goroutines";
    LEAKED_GOROUTINES = "connection.goroutines.leaked";
    MUTEX_CONTENTIONS = "connection.mutex.contentions";
    MUTEX_DELAY = "connection.mutex.delay";
    SPANS_DROPPED = "connection.spans.dropped";
    PROCESS_ENDED = "connection.process.ended";
    FD_COUNT = "process.unix.file_descriptor.count";
    FD_LIMIT = "process.unix.file_descriptor.limit";
    MEMORY_USAGE = "process.memory.usage";
    MEMORY_LIMIT = "process.memory.limit";
    EPHEMERAL_PORTS = "process.network.ephemeral_ports";

    LEAK_STATE = "leak.state";
    LEAK_OPEN = "leak.open_connections";
    LEAK_RATE = "leak.rate";
    LEAK_EXHAUSTION = "leak.seconds_to_exhaustion";
    LEAK_CLASS = "leak.class";
    LEAK_SITE = "leak.site";
    LEAK_CONFIDENCE = "leak.confidence";
    LEAK_LIMIT = "leak.limit";
    LEAK_EVENT = "leak.state.changed";

    ATTR_SOURCE = "connection.source";
    ATTR_RESOURCE = "connection.resource";
    ATTR_SIDE = "connection.side";
    ATTR_TARGET = "connection.target";
    ATTR_BOUND = "connection.bound";
    ATTR_SITE_SOURCE = "connection.site.source";
    ATTR_GOROUTINE_KIND = "goroutine.kind";
    ATTR_PROCESS_END = "connection.process.end";
    ATTR_FILE = "code.file.path";
    ATTR_LINE = "code.line.number";
    ATTR_FUNCTION = "code.function.name";

    SERVICE_NAME = "service.name";
    SERVICE_INSTANCE_ID = "service.instance.id";
    PROCESS_PID = "process.pid";
    PROCESS_START_TICKS = "process.start_ticks";
    PROCESS_CREATION_TIME = "process.creation.time";
    PROCESS_EXECUTABLE_NAME = "process.executable.name";
    HOST_NAME = "host.name";
}
