//! The server's side of HTTP/2 (RFC 9113) for unary calls, as a machine without input, output or clock of its own: bytes
//! and the time at which they came go in, events come out, answers go in, bytes come out.
//!
//! A general library spends most of a small request on what an `Export` call does not have: bodies in both directions that
//! wait for each other, a task and wakers for every stream, priorities, pushes. Here a request is a head and some bytes,
//! an answer is known whole when it is given, and everything of a connection happens in one place, so that a stream is
//! an entry of a small table. docs/adr/0005 says what was measured.
//!
//! # Rules
//! - Bodies are handed on as slices of the input; nothing is gathered here. Windows open again when the owner says that
//!   it took the bytes ([`Machine::release`]), in steps of half a window.
//! - An answer that finds no window waits in its stream. One that is complete while the request still arrives ends the
//!   stream by RST_STREAM(NO_ERROR), and what still comes for it is passed over.
//! - What is wrong with one request resets its stream; what is wrong with frames or with the compression of fields ends
//!   the connection (GOAWAY).
//! - Everything that costs work without being a request is paid out of [`Patience`](patience::Patience); who uses it up is told
//!   ENHANCE_YOUR_CALM and goes, with answers to what it had sent whole; the rest is refused so that it may be sent again.
//!   What a peer sends within the window that it was given, before it knows of an early answer, is free.
//! - Bounded: streams by `max_streams`, fields by `max_header_bytes`, a header block by [`MAX_BLOCK`], SETTINGS by
//!   [`MAX_SETTINGS`], the output by its owner, who stops reading while [`Machine::output`] is long. What a frame holds that
//!   is not whole, and a header block, is known to the owner ([`Machine::held`]), who may have no room for it, as is how
//!   long a block takes ([`Machine::unfinished`]).

mod answer;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod check;
mod control;
mod frame;
mod headers;
mod hpack;
mod machine;
mod patience;
mod pings;
mod request;
mod streams;
mod watch;

pub(crate) use answer::Answer;
#[cfg(feature = "fuzzing")]
pub use hpack::check::blocks as check_blocks;
pub(crate) use machine::{Event, Machine, PREFACE};
pub(crate) use watch::Watch;
#[cfg(feature = "fuzzing")]
pub use watch::check::watch as check_watch;

use crate::http_server::PingPolicy;

#[cfg(test)]
mod tests;

/// What a connection allows its peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Streams at once.
    pub(crate) max_streams: u32,
    /// Fields of a request, each with 32 bytes on top (RFC 9113, 6.5.2).
    pub(crate) max_header_bytes: u32,
    /// How often it may ping.
    pub(crate) pings: Option<PingPolicy>,
}

/// Largest DATA frame that peers may send. It is handed on as it comes.
const MAX_FRAME: usize = 256 << 10;
/// Largest header block as it is sent; one that is larger than `max_header_bytes` and smaller than this is read to its
/// end and answered.
const MAX_BLOCK: usize = 64 << 10;
/// Largest SETTINGS frame: a hundred settings, where HTTP/2 has ten.
const MAX_SETTINGS: usize = 600;
/// What a peer may send ahead on one stream and on the connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// The windows of HTTP/2 before anybody says otherwise.
const DEFAULT_WINDOW: u32 = 65_535;
const MAX_WINDOW: i64 = 0x7fff_ffff;
