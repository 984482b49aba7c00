//! From the bytes of a request to its outcome.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, header};
use weir_component::{AuthData, Batch, Context, Failure, Outputs, Receipt, Reservation};
use weir_pdata::validate::Malformed;
use weir_pdata::{Payload, Signal};

use super::ServerSettings;
use crate::http_server::Peer;

/// Where requests go.
pub(super) struct Intake {
    outputs: Outputs,
}

/// Why a request was not taken.
pub(super) enum Refused {
    /// It is not well formed.
    Malformed(Malformed),
    /// What the receipt said.
    Failed(Failure),
}

impl Intake {
    pub(super) fn new(outputs: Outputs) -> Intake {
        Intake { outputs }
    }

    /// Whether the signal is served.
    pub(super) fn takes(&self, signal: Signal) -> bool {
        self.outputs.takes(signal)
    }

    /// Validates a request, hands it on and waits for its outcome. A request without items is accepted and goes nowhere.
    /// `room` is what was reserved for it so far; it lasts as long as anything of the request is held, which should not be
    /// part of a much larger buffer.
    pub(super) async fn accept(
        &self,
        signal: Signal,
        request: Bytes,
        mut room: Reservation,
        context: Context,
    ) -> Result<(), Refused> {
        room.fit(request.len()).map_err(Refused::Failed)?;
        let request = room.hold(request);
        let payload = Payload::from_request(signal, request).map_err(Refused::Malformed)?;
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
