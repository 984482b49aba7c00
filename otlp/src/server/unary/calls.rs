//! The calls of one connection: from their events to their answers.
//!
//! # Design
//! A call is in one of three stages, and is forgotten when it is answered or reset:
//!
//! - *Checking*: its head is there, and the authenticator works. Without one, and with one that answers at once, a call begins in
//!   the next stage.
//! - *Arriving*: its message is put together and reserved as it comes. Only here a call can be too slow.
//! - *Working*: its message is whole, and the pipeline has it.
//!
//! What is waited for, a check or the pipeline, is a future of `working`, all of them polled in the task of the connection.
//! One whose call was answered meanwhile ends for nobody; of a call that was reset it is dropped.
//!
//! The windows of a stream and of the connection open again when its bytes are released, each of them once, in every stage:
//! while a call is arriving as soon as they are in its message, which has them in the budget; of one that is answered or
//! working at once, as nobody wants them. What comes while a call is checked is kept, and its window stays shut, so that a
//! caller whom nobody knows yet has a window's bytes here at most; they are released when they go into the message, when the
//! call is refused, and when it is reset.

use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use http::{Request, Response, StatusCode, Version};
use tokio::time::Instant;
use weir_component::Status;
use weir_pdata::Signal;

use crate::body::Body;
use crate::clock::now;
use crate::http_server::{Peer, text};
use crate::http2::{Answer, Event, Machine};
use crate::lifetime::{Activity, Ongoing};
use crate::message::Arriving;
use crate::pace::Pace;
use crate::server::grpc::{self, Call};
use crate::server::strangers::Early;
use crate::server::{Late, Server, has_grpc_content_type};
use crate::status::RpcStatus;

/// What almost every request is answered.
static ACCEPTED: LazyLock<Answer> = LazyLock::new(|| answer(grpc::success()));

fn answer(response: Response<Body>) -> Answer {
    let (head, body) = response.into_parts();
    let (data, trailers) = body.into_parts();
    Answer::new(head.status, &head.headers, data, trailers.as_deref())
}

/// A call that is not answered.
struct Open {
    stream: u32,
    stage: Stage,
    signal: Signal,
    /// Where calls are measured.
    begun: Option<Instant>,
    _ongoing: Ongoing,
}

enum Stage {
    /// The authenticator is asked. What has come meanwhile is kept and reserved, and its window stays shut.
    Checking { early: Box<Early>, is_whole: bool },
    /// The message arrives.
    Arriving(Box<(Call, Arriving, Arrival)>),
    /// The pipeline has it.
    Working,
}

/// How a message has been arriving.
struct Arrival {
    since: Instant,
    pace: Pace,
}

/// What a call waits for, with its result.
enum Step {
    Checked(Result<Call, RpcStatus>),
    Done(Result<(), RpcStatus>),
}

struct Working {
    stream: u32,
    future: BoxFuture<'static, Step>,
}

impl Future for Working {
    type Output = (u32, Step);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(u32, Step)> {
        let stream = self.stream;
        self.future.as_mut().poll(cx).map(|step| (stream, step))
    }
}

pub(super) struct Calls {
    server: Arc<Server>,
    peer: Arc<Peer>,
    pub(super) machine: Machine,
    /// In the order of their numbers, in which they begin.
    open: Vec<Open>,
    working: FuturesUnordered<Working>,
    activity: Activity,
}

impl Calls {
    pub(super) fn new(server: Arc<Server>, peer: Arc<Peer>, machine: Machine, activity: Activity) -> Calls {
        Calls { server, peer, machine, open: Vec::new(), working: FuturesUnordered::new(), activity }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// When to look next at the calls that arrive; none when none does.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let timeout = self.server.settings.limits.body_timeout;
        let next = |open: &Open| match &open.stage {
            Stage::Arriving(arriving) => {
                let Arrival { since, pace } = &arriving.2;
                let end = since.checked_add(timeout);
                Some(end.map_or(pace.next_look(), |end| end.min(pace.next_look())))
            }
            _ => None,
        };
        self.open.iter().filter_map(next).min()
    }

    fn arrival(&self, now: Instant) -> Arrival {
        Arrival { since: now, pace: Pace::new(&self.server.settings.limits, now) }
    }

    /// Takes what the peer sent, at that time.
    pub(super) fn event(&mut self, event: Event, input: &[u8], now: Instant) {
        match event {
            Event::Head(stream, head) => self.begin(stream, head, now),
            Event::TooLarge(stream) => {
                let text =
                    text(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "request headers are too large\n");
                self.machine.answer(stream, answer(text));
            }
            Event::Data(stream, range) => self.data(stream, &input[range]),
            Event::End(stream) => self.end(stream),
            Event::Reset(stream) => self.forget(stream),
        }
    }

    /// Ends the connection but for the calls that are whole.
    pub(super) fn give_up(&mut self, why: &'static str) {
        let mut events = Vec::new();
        self.machine.give_up(why, &mut events);
        for event in events {
            if let Event::Reset(stream) = event {
                self.forget(stream);
            }
        }
    }

    /// Goes on with what was waited for. The peer was last heard at that time.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, heard: Instant) {
        while let Poll::Ready(Some((stream, step))) = self.working.poll_next_unpin(cx) {
            match step {
                Step::Done(result) => self.answer(stream, result),
                Step::Checked(checked) => self.checked(stream, checked, heard),
            }
        }
    }

    fn begin(&mut self, stream: u32, head: Arc<Request<()>>, now: Instant) {
        let ongoing = self.activity.begin(Version::HTTP_2);
        if !has_grpc_content_type(&head) {
            self.machine.answer(stream, answer(grpc::not_grpc()));
            return;
        }
        let begun = self.server.observed.is_some().then_some(now);
        let (signal, encoding) = match self.server.method(&head) {
            Ok(method) => method,
            Err(status) => {
                let signal = self.server.signal(head.method(), head.uri().path()).ok();
                return self.refuse_at_once(stream, begun, signal, &status);
            }
        };
        let call = if self.server.settings.auth.is_none() {
            Some(Ok(self.server.call(&head, signal, encoding, &self.peer, Vec::new())))
        } else {
            let (server, peer) = (Arc::clone(&self.server), Arc::clone(&self.peer));
            let mut future: BoxFuture<'static, Step> = Box::pin(async move {
                let checked = server.caller(&head, 0).await.map_err(|failure| RpcStatus::of(&failure));
                Step::Checked(checked.map(|auth| server.call(&head, signal, encoding, &peer, auth)))
            });
            // Who is known at once is no stranger, even if his message came with his head.
            match future.as_mut().now_or_never() {
                Some(Step::Checked(checked)) => Some(checked),
                _ => {
                    self.working.push(Working { stream, future });
                    None
                }
            }
        };
        let stage = match call.map(|call| call.and_then(|call| Ok((self.server.message(&call)?, call)))) {
            Some(Ok((message, call))) => Stage::Arriving(Box::new((call, message, self.arrival(now)))),
            Some(Err(status)) => return self.refuse_at_once(stream, begun, Some(signal), &status),
            None => {
                let early = self.server.strangers.early(&self.server.settings.budget);
                Stage::Checking { early: Box::new(early), is_whole: false }
            }
        };
        self.open.push(Open { stream, stage, signal, begun, _ongoing: ongoing });
    }

    fn refuse_at_once(
        &mut self,
        stream: u32,
        begun: Option<Instant>,
        signal: Option<Signal>,
        status: &RpcStatus,
    ) {
        self.measure(begun, signal, Some(status.status()));
        self.machine.answer(stream, answer(grpc::failure(status)));
    }

    fn checked(&mut self, stream: u32, checked: Result<Call, RpcStatus>, heard: Instant) {
        let checked = checked.and_then(|call| Ok((self.server.message(&call)?, call)));
        let stage = self.open(stream).map(|open| std::mem::replace(&mut open.stage, Stage::Working));
        let Some(Stage::Checking { early, is_whole }) = stage else { return };
        let early = early.into_bytes();
        match checked {
            Ok((message, call)) => {
                // Its window opens only now. What is whole has no time to keep to.
                let arrival = self.arrival(if is_whole { heard } else { now() });
                if let Some(open) = self.open(stream) {
                    open.stage = Stage::Arriving(Box::new((call, message, arrival)));
                }
                self.data(stream, &early);
                if is_whole {
                    self.end(stream);
                }
            }
            Err(status) => {
                self.machine.release(stream, early.len());
                self.answer(stream, Err(status));
            }
        }
    }

    fn data(&mut self, stream: u32, piece: &[u8]) {
        let at = self.place(stream).ok();
        let pushed = match at.and_then(|at| self.open.get_mut(at)).map(|open| &mut open.stage) {
            Some(Stage::Checking { early, .. }) => {
                let pushed = early.push(piece, &self.server.strangers, &self.server.settings.budget);
                let Err(failure) = pushed else { return };
                let unread = early.len() + piece.len();
                self.machine.release(stream, unread);
                return self.answer(stream, Err(RpcStatus::of(&failure)));
            }
            Some(Stage::Arriving(call)) => call.1.push(piece),
            Some(Stage::Working) | None => Ok(()),
        };
        self.machine.release(stream, piece.len());
        if let Err(e) = pushed {
            let limit = self.server.settings.max_message;
            self.answer(stream, Err(grpc::not_one_message(&e, limit)));
        }
    }

    fn end(&mut self, stream: u32) {
        let Some(open) = self.open(stream) else { return };
        match std::mem::replace(&mut open.stage, Stage::Working) {
            Stage::Arriving(arrived) => {
                let (call, message, _) = *arrived;
                let server = Arc::clone(&self.server);
                let future = Box::pin(async move { Step::Done(server.finish(call, message.finish()).await) });
                self.working.push(Working { stream, future });
            }
            Stage::Checking { early, .. } => open.stage = Stage::Checking { early, is_whole: true },
            Stage::Working => {}
        }
    }

    fn answer(&mut self, stream: u32, result: Result<(), RpcStatus>) {
        let Ok(at) = self.place(stream) else { return };
        let open = self.open.remove(at);
        self.measure(open.begun, Some(open.signal), result.as_ref().err().map(RpcStatus::status));
        let answer = match result {
            Ok(()) => ACCEPTED.clone(),
            Err(status) => answer(grpc::failure(&status)),
        };
        self.machine.answer(stream, answer);
    }

    /// Nobody waits for the answer any more: what is done for it ends.
    fn forget(&mut self, stream: u32) {
        let Ok(at) = self.place(stream) else { return };
        let open = self.open.remove(at);
        if let Stage::Checking { early, .. } = &open.stage {
            self.machine.release(stream, early.len());
        }
        if !matches!(open.stage, Stage::Arriving(_)) {
            let others = std::mem::take(&mut self.working).into_iter();
            self.working = others.filter(|working| working.stream != stream).collect();
        }
    }

    /// Refuses the calls that arrive too slowly.
    pub(super) fn refuse_slow(&mut self, now: Instant) {
        let timeout = self.server.settings.limits.body_timeout;
        self.refuse(&Late::Slow, |message, Arrival { since, pace }| {
            now.saturating_duration_since(*since) >= timeout || !pace.keeps_up(message.arrived(), now)
        });
    }

    /// Refuses all calls that arrive, because the server is to stop.
    pub(super) fn refuse_arriving(&mut self) {
        self.refuse(&Late::Stopping, |_, _| true);
    }

    fn refuse(&mut self, late: &Late, mut is_late: impl FnMut(&Arriving, &mut Arrival) -> bool) {
        let mut late_stream = |open: &mut Open| match &mut open.stage {
            Stage::Arriving(call) => is_late(&call.1, &mut call.2).then_some(open.stream),
            _ => None,
        };
        let streams: Vec<u32> = self.open.iter_mut().filter_map(&mut late_stream).collect();
        for stream in streams {
            self.answer(stream, Err(grpc::too_late(late)));
        }
    }

    fn open(&mut self, stream: u32) -> Option<&mut Open> {
        self.place(stream).ok().and_then(|at| self.open.get_mut(at))
    }

    fn place(&self, stream: u32) -> Result<usize, usize> {
        self.open.binary_search_by_key(&stream, |open| open.stream)
    }

    fn measure(&self, begun: Option<Instant>, signal: Option<Signal>, status: Option<Status>) {
        if let (Some(observed), Some(begun)) = (&self.server.observed, begun) {
            observed.grpc_ended(begun.into_std(), signal, status);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::time::Duration;

    use futures_util::FutureExt;
    use http::HeaderMap;
    use weir_component::{
        AuthData, Batch, Blocking, Capabilities, Consumer, Failure, Host, Output, Outputs, Port, ServerAuth,
        Stop, Telemetry, async_trait,
    };
    use weir_config::net::AuthConfig;

    use super::*;
    use crate::auth::Authenticator;
    use crate::clock::pause;
    use crate::http2::Limits;
    use crate::server::intake::Intake;
    use crate::server::reading::Reader;
    use crate::server::{ServerSettings, strangers::Strangers};

    const SECOND: Duration = Duration::from_secs(1);

    /// An agent in which nobody takes anything, and an authenticator that lets everybody in after 59 seconds.
    struct Slow;

    #[async_trait]
    impl ServerAuth for Slow {
        async fn authenticate(&self, _: &HeaderMap) -> Result<AuthData, Failure> {
            pause(59 * SECOND).await;
            Ok(AuthData::new())
        }
    }

    #[async_trait]
    impl Consumer for Slow {
        async fn consume(&self, _: Batch) {
            pending().await
        }
    }

    impl Blocking for Slow {
        fn run(&self, _: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
            pending().boxed()
        }
    }

    fn guarded_calls(stop: Stop) -> Calls {
        let host = Host::new("1.0.0", 0, Telemetry::default(), Arc::new(Slow));
        host.offer("slow", Capabilities::default().with_server_auth(Arc::new(Slow)));
        let auth = AuthConfig { authenticator: "slow".parse().ok() };
        let auth = Authenticator::of_grpc(Some(&auth), &host).expect("found");
        let settings = ServerSettings { auth, ..ServerSettings::default() };
        let output = Output::new(Arc::new(Slow));
        let outputs = Outputs::new(vec![Port { signal: Signal::Logs, pipeline: "logs".to_owned(), output }]);
        let intake = Intake::new(outputs, Reader::new(None, None));
        let server =
            Server { intake, observed: None, strangers: Arc::new(Strangers::default()), stop, settings };
        let machine = Machine::new(Limits { max_streams: 9, max_header_bytes: 999, pings: None }, now());
        Calls::new(Arc::new(server), Arc::default(), machine, Activity::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_has_its_time_from_when_its_caller_is_known() {
        let (_running, stop) = Stop::new();
        let mut calls = guarded_calls(stop);
        let heard = now();
        let path = format!("/{}/Export", Signal::Logs.service());
        let head = Request::post(path).header("content-type", "application/grpc").body(()).expect("a head");
        calls.event(Event::Head(1, Arc::new(head)), &[], heard);
        let known = poll_fn(|cx| {
            calls.poll(cx, heard);
            let waits = matches!(calls.open.first(), Some(Open { stage: Stage::Checking { .. }, .. }));
            if waits { Poll::Pending } else { Poll::Ready(()) }
        });
        known.await;
        pause(2 * SECOND).await;
        calls.refuse_slow(now());
        assert!(!calls.is_empty(), "60 seconds after its head");
        pause(60 * SECOND).await;
        calls.refuse_slow(now());
        assert!(calls.is_empty());
    }
}
