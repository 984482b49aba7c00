//! From a request that has come whole to its outcome.

use std::sync::Arc;

use http::{HeaderMap, Request, header};
use weir_component::{AuthData, Batch, Context, Failure, Outputs, Receipt};
use weir_pdata::Signal;

use super::ServerSettings;
use super::reading::{Arrived, Reader, Refused};
use crate::http_server::Peer;

/// Where requests go.
pub(super) struct Intake {
    outputs: Outputs,
    reader: Reader,
}

impl Intake {
    pub(super) fn new(outputs: Outputs, reader: Reader) -> Intake {
        Intake { outputs, reader }
    }

    /// Whether the signal is served.
    pub(super) fn takes(&self, signal: Signal) -> bool {
        self.outputs.takes(signal)
    }

    /// Reads a request, hands it on and waits for its outcome. A request without items is accepted and goes nowhere.
    pub(super) async fn accept(&self, request: Arrived, context: Context) -> Result<(), Refused> {
        let signal = request.signal;
        let payload = self.reader.read(request).await?;
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

/// Bytes that a request takes beside its content and its metadata for as long as it waits anywhere: its batch in a queue, its
/// context, its receipt, and what gives back the room that it had. A small one takes more of them than of content.
const BESIDE: usize = 512;
/// What an allocation takes beside its content.
const ALLOCATION: usize = 16;

/// Bytes that a request holds beside its content, with what its context has of the sender's.
pub(super) fn held_by(context: &Context) -> usize {
    let of = |entry: &(String, Vec<String>)| {
        let (name, values) = entry;
        let texts = name.len() + values.iter().map(String::len).sum::<usize>();
        let allocations = ALLOCATION * (2 + values.len());
        size_of_val(entry) + values.capacity() * size_of::<String>() + texts + allocations
    };
    BESIDE + context.metadata.iter().map(of).sum::<usize>()
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
