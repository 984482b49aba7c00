//! From the bytes of a request to its outcome.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, header};
use weir_component::{AuthData, Batch, Context, Failure, Outputs, Receipt, Reservation};
use weir_pdata::json::{self, JsonError};
use weir_pdata::validate::Malformed;
use weir_pdata::{Payload, Signal};

use super::ServerSettings;
use super::large::Large;
use crate::http_server::Peer;

/// Where requests go.
pub(super) struct Intake {
    outputs: Outputs,
    pub(super) large: Large,
}

/// Bytes from which a request is large, as it is encoded.
const LARGE_PROTOBUF: usize = 4 << 20;
const LARGE_JSON: usize = 256 << 10;

/// How a request is encoded.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Format {
    Protobuf,
    Json,
}

/// Why a request was not taken.
pub(super) enum Refused {
    /// It is not well formed.
    Malformed(Malformed),
    /// It is not the JSON of its signal.
    NotJson(JsonError),
    /// What the receipt said.
    Failed(Failure),
}

impl Intake {
    pub(super) fn new(outputs: Outputs, large: Large) -> Intake {
        Intake { outputs, large }
    }

    /// Whether the signal is served.
    pub(super) fn takes(&self, signal: Signal) -> bool {
        self.outputs.takes(signal)
    }

    /// Validates a request, hands it on and waits for its outcome. A request without items is accepted and goes nowhere.
    /// `room` is what was reserved for it and its context so far; it lasts as long as anything of the request is held, which
    /// should not be part of a much larger buffer.
    pub(super) async fn accept(
        &self,
        signal: Signal,
        format: Format,
        request: Bytes,
        room: Reservation,
        context: Context,
    ) -> Result<(), Refused> {
        let large = if format == Format::Json { LARGE_JSON } else { LARGE_PROTOBUF };
        let is_large = request.len() > large;
        let beside = held_by(&context);
        let read = self.large.work(is_large, move || read(signal, format, request, room, beside)).await;
        let panicked = || Refused::Failed(Failure::permanent("reading the request failed"));
        let payload = read.ok_or_else(panicked)??;
        if payload.is_empty() {
            return Ok(());
        }
        let Some(output) = self.outputs.first(signal) else {
            return Err(Refused::Failed(Failure::permanent(format!("no pipeline takes {signal}"))));
        };
        let (receipt, settled) = Receipt::new();
        output.send(Batch { payload, receipt, context: Arc::new(context) }).await;
        settled.await.map_err(Refused::Failed)
    }
}

fn read(
    signal: Signal,
    format: Format,
    request: Bytes,
    mut room: Reservation,
    beside: usize,
) -> Result<Payload, Refused> {
    let request = match format {
        Format::Protobuf => request,
        Format::Json => json::to_protobuf(signal, &request).map_err(Refused::NotJson)?,
    };
    room.fit(request.len() + beside).map_err(Refused::Failed)?;
    Payload::from_request(signal, room.hold(request)).map_err(Refused::Malformed)
}

/// What is known of the sender. Header values that are not text are left out.
pub(super) fn context<B>(
    transport: &'static str,
    request: &Request<B>,
    peer: &Peer,
    settings: &ServerSettings,
    auth: AuthData,
) -> Context {
    let span = settings.telemetry.extract(request.headers());
    let metadata = if settings.include_metadata { metadata(request) } else { Vec::new() };
    Context { metadata, auth, peer: peer.address, transport, span }
}

/// Bytes of the sender's that a context holds.
pub(super) fn held_by(context: &Context) -> usize {
    let of =
        |(name, values): &(String, Vec<String>)| name.len() + values.iter().map(String::len).sum::<usize>();
    context.metadata.iter().map(of).sum()
}

fn metadata<B>(request: &Request<B>) -> Vec<(String, Vec<String>)> {
    let headers: &HeaderMap = request.headers();
    let text = |value: &http::HeaderValue| value.to_str().ok().map(str::to_owned);
    let mut metadata: Vec<_> = (headers.keys())
        .map(|name| (name.as_str().to_owned(), headers.get_all(name).iter().filter_map(text).collect()))
        .collect();
    // HTTP/2 names the host in a pseudo-header.
    if let (Some(authority), false) = (request.uri().authority(), headers.contains_key(header::HOST)) {
        metadata.push(("host".to_owned(), vec![authority.to_string()]));
    }
    metadata
}
