//! One call on a connection.

use std::future::poll_fn;
use std::pin::pin;

use bytes::{Buf, Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};
use weir_component::{Accepted, Failure, Status};

use super::channel::Channel;
use super::unavailable;
use crate::client::{pieces::Pieces, response};
use crate::encoding::{DecodeError, Encoding};
use crate::message::FRAME_HEADER;
use crate::status::{RpcStatus, to_failure};

/// An attempt that tells its connection how it ended, also when it is dropped.
pub(super) struct Attempt<'a> {
    channel: &'a Channel,
    answered: bool,
    lost: bool,
    ended_before: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn begin(channel: &'a Channel) -> Attempt<'a> {
        channel.begin();
        Attempt { channel, answered: false, lost: false, ended_before: false }
    }

    /// Whether the connection should not be used again.
    pub(super) fn lost_connection(&self) -> bool {
        self.lost
    }

    /// Whether the connection had ended before the peer worked on anything of this attempt.
    pub(super) fn found_it_ended(&self) -> bool {
        self.ended_before
    }

    pub(super) async fn run(
        &mut self,
        request: Request<()>,
        message: Pieces,
        max_response: usize,
    ) -> Result<Accepted, Failure> {
        let answer = match self.exchange(request, message, max_response).await {
            Ok(answer) => answer,
            Err(e) => {
                // A peer that leaves in good order has not worked on the streams that it does not answer.
                self.ended_before |=
                    e.is_go_away() && e.is_remote() && e.reason() == Some(h2::Reason::NO_ERROR);
                // A reset concerns one stream; everything else ends the connection.
                self.lost = !e.is_reset();
                self.answered = e.is_reset();
                return Err(match e.reason().filter(|_| e.is_reset()) {
                    Some(reason) => to_failure(&of_reset(reason)),
                    None => unavailable(&e.to_string()),
                });
            }
        };
        self.answered = true;
        answer.result()
    }

    async fn exchange(
        &mut self,
        request: Request<()>,
        message: Pieces,
        max_response: usize,
    ) -> Result<Answer, h2::Error> {
        let ready = self.channel.sender().ready().await;
        self.ended_before = ready.is_err();
        let mut sender = ready?;
        // Where the peer limits concurrent streams, its answer and the window for the message wait for a place.
        let (response, stream) = sender.send_request(request, false)?;
        let mut answer = pin!(async { receive(response.await?, max_response).await });
        // A peer may answer without reading everything, and never open the window for the rest.
        let sent = tokio::select! {
            biased;
            answer = &mut answer => return answer,
            sent = send(stream, message) => sent,
        };
        // Without an answer the first error is the better one.
        answer.await.map_err(|e| sent.err().unwrap_or(e))
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.channel.end(self.answered);
    }
}

/// Sends the pieces as fast as the peer takes them.
async fn send(mut stream: SendStream<Bytes>, mut message: Pieces) -> Result<(), h2::Error> {
    while let Some(mut piece) = message.next() {
        while piece.has_remaining() {
            stream.reserve_capacity(piece.len());
            let room = match stream.capacity() {
                0 => match poll_fn(|cx| stream.poll_capacity(cx)).await {
                    Some(room) => room?,
                    None => return Ok(()),
                },
                room => room,
            };
            let part = piece.split_to(room.min(piece.len()));
            let end = piece.is_empty() && message.is_empty();
            stream.send_data(part, end)?;
        }
    }
    Ok(())
}

/// What came back.
struct Answer {
    code: StatusCode,
    encoding: Option<Encoding>,
    status: Option<RpcStatus>,
    body: Bytes,
    too_large: bool,
    max: usize,
}

async fn receive(response: Response<RecvStream>, max: usize) -> Result<Answer, h2::Error> {
    let (head, mut stream) = response.into_parts();
    let mut answer = Answer {
        code: head.status,
        encoding: encoding(&head.headers),
        status: RpcStatus::from_trailers(&head.headers),
        body: Bytes::new(),
        too_large: false,
        max,
    };
    let mut body = BytesMut::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        if body.len() + piece.len() > max + FRAME_HEADER {
            answer.too_large = true;
            return Ok(answer);
        }
        body.extend_from_slice(&piece);
    }
    answer.body = body.freeze();
    if let (None, Some(trailers)) = (&answer.status, stream.trailers().await?) {
        answer.status = RpcStatus::from_trailers(&trailers);
    }
    Ok(answer)
}

fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let name = headers.get("grpc-encoding").map_or(Ok(""), |v| v.to_str()).ok()?;
    Encoding::parse_grpc(name)
}

impl Answer {
    fn result(self) -> Result<Accepted, Failure> {
        if self.too_large {
            return Err(too_large(self.max));
        }
        match &self.status {
            Some(status) if status.code == 0 => self.message(),
            Some(status) => Err(to_failure(status)),
            None if self.code != StatusCode::OK => Err(to_failure(&of_http(self.code))),
            None => {
                let text = "server closed the stream without sending trailers";
                Err(to_failure(&RpcStatus::new(Status::Internal, text)))
            }
        }
    }

    /// The response message. The backend has accepted, so that what cannot be read in it is no failure; only one that is
    /// larger than allowed is, with the status that grpc-go gives it.
    fn message(self) -> Result<Accepted, Failure> {
        let &[flag, _, _, _, _, ref content @ ..] = &self.body[..] else {
            return Ok(Accepted::default());
        };
        if flag == 0 {
            return Ok(response::from_protobuf(content));
        }
        let content = self.body.slice(FRAME_HEADER..);
        match self.encoding.unwrap_or(Encoding::Identity).decompress(content, self.max) {
            Ok(content) => Ok(response::from_protobuf(&content)),
            Err(DecodeError::TooLarge) => Err(too_large(self.max)),
            Err(DecodeError::Corrupt(_)) => Ok(Accepted::default()),
        }
    }
}

fn too_large(max: usize) -> Failure {
    to_failure(&RpcStatus::new(Status::ResourceExhausted, format!("the response is larger than {max} bytes")))
}

/// The status for an HTTP answer without one (gRPC, http-grpc-status-mapping.md): some proxy spoke.
fn of_http(code: StatusCode) -> RpcStatus {
    let status = match code.as_u16() {
        400 => Status::Internal,
        401 => Status::Unauthenticated,
        403 => Status::PermissionDenied,
        404 => Status::Unimplemented,
        429 | 502..=504 => Status::Unavailable,
        _ => Status::Unknown,
    };
    RpcStatus::new(status, format!("unexpected HTTP status code received from server: {code}"))
}

/// The status for a stream that was reset (gRPC over HTTP/2, "Errors"), by the peer or because it broke the protocol.
fn of_reset(reason: h2::Reason) -> RpcStatus {
    let status = match reason {
        h2::Reason::REFUSED_STREAM => Status::Unavailable,
        h2::Reason::CANCEL => Status::Cancelled,
        h2::Reason::ENHANCE_YOUR_CALM => Status::ResourceExhausted,
        h2::Reason::INADEQUATE_SECURITY => Status::PermissionDenied,
        _ => Status::Internal,
    };
    RpcStatus::new(status, format!("stream terminated by RST_STREAM with error code: {reason:?}"))
}
