//! Asks one target for profiles over a connection that is kept from one scrape to the next.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, header};
use http_body_util::Empty;
use weir_component::{ClientAuth, Context};
use weir_otlp::encoding::{DecodeError, Encoding};

use crate::budget::{Budget, Reservation};
use crate::endpoint::Endpoint;
use crate::error::FetchError;
use crate::session::{Ends, Reply, Session, Tls};

/// Redirects that are followed, on the same server only.
const MAX_REDIRECTS: usize = 3;

/// A client of one target.
///
/// The connection is kept, so that the target does not look as if its clients came and went, and so that a new
/// connection is the sign that another process may answer.
pub(crate) struct Client {
    endpoint: Endpoint,
    tls: Option<Tls>,
    headers: HeaderMap,
    auth: Option<Arc<dyn ClientAuth>>,
    limit: usize,
    budget: Budget,
    session: Option<Session>,
    connections: u64,
    ends: Option<Ends>,
}

/// The body of an answer, as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    bytes: Vec<u8>,
    encoding: Encoding,
    _reservation: Reservation,
}

impl Client {
    /// A client that sends `headers`, signed by `auth`, and takes answers of at most `limit` bytes.
    pub(crate) fn new(
        endpoint: Endpoint,
        tls: Option<Tls>,
        mut headers: HeaderMap,
        auth: Option<Arc<dyn ClientAuth>>,
        limit: usize,
        budget: Budget,
    ) -> Client {
        let mut set = |name, value: Option<HeaderValue>| {
            if let Some(value) = value.filter(|_| !headers.contains_key(&name)) {
                headers.insert(name, value);
            }
        };
        set(header::HOST, endpoint.authority().parse().ok());
        set(header::AUTHORIZATION, endpoint.authorization.clone());
        set(
            header::USER_AGENT,
            weir_otlp::client::user_agent("weir", env!("CARGO_PKG_VERSION")).parse().ok(),
        );
        // Go compresses profiles itself; another layer would only cost.
        set(header::ACCEPT_ENCODING, Some(HeaderValue::from_static("identity")));
        Client { endpoint, tls, headers, auth, limit, budget, session: None, connections: 0, ends: None }
    }

    /// How many connections were made, and the ends of the last: while both stay, the same process answers.
    pub(crate) fn connection(&self) -> (u64, Option<Ends>) {
        (self.connections, self.ends)
    }

    /// Closes the connection.
    pub(crate) fn close(&mut self) {
        self.session = None;
    }

    /// Asks for one path. The future may be dropped at any time; the connection is closed then.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, FetchError> {
        if let Some(kept) = self.session.take() {
            match self.follow(kept, path).await {
                // A kept connection that breaks may have been closed long ago, as when the service was restarted.
                Err(FetchError::Broken(_)) => {}
                done => return done,
            }
        }
        let session = Session::connect(&self.endpoint, self.tls.as_ref()).await?;
        self.connections += 1;
        self.ends = Some(session.ends);
        self.follow(session, path).await
    }

    async fn follow(&mut self, mut session: Session, path: &str) -> Result<Answer, FetchError> {
        let mut path = path.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let reply = {
                let request = self.request(&path).await?;
                session.exchange(request, self.limit, &self.budget).await?
            };
            if reply.status.is_redirection() {
                path = self.redirected(&path, &reply)?;
                if !reply.whole {
                    return Err(FetchError::Redirects);
                }
                continue;
            }
            if reply.whole {
                self.session = Some(session);
            }
            return answer(reply);
        }
        Err(FetchError::Redirects)
    }

    async fn request(&mut self, path: &str) -> Result<Request<Empty<Bytes>>, FetchError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = path.parse().map_err(|_| FetchError::Redirects)?;
        *request.headers_mut() = self.headers.clone();
        if let Some(auth) = &self.auth {
            let signed = auth.sign(request.headers_mut(), &Context::default()).await;
            signed.map_err(|failure| FetchError::Unsigned(failure.message().to_owned()))?;
        }
        Ok(request)
    }

    fn redirected(&self, path: &str, reply: &Reply) -> Result<String, FetchError> {
        let location = reply.headers.get(header::LOCATION).and_then(|l| l.to_str().ok());
        let location = location.ok_or(FetchError::Redirects)?;
        self.endpoint.redirected(path, location).map_err(|other| match other {
            Some(other) => FetchError::Elsewhere(other),
            None => FetchError::Redirects,
        })
    }
}

fn answer(reply: Reply) -> Result<Answer, FetchError> {
    match reply.status.as_u16() {
        200..=299 => {}
        404 => return Err(FetchError::Absent),
        code @ (401 | 403) => return Err(FetchError::Denied(code)),
        code => return Err(FetchError::Status(code)),
    }
    let name = reply.headers.get(header::CONTENT_ENCODING).map_or(Ok(""), HeaderValue::to_str);
    let encoding = name.ok().and_then(Encoding::parse);
    let encoding = encoding.ok_or_else(|| FetchError::Encoding("an unknown content-encoding".to_owned()))?;
    Ok(Answer { bytes: reply.body, encoding, _reservation: reply.reservation })
}

impl Answer {
    /// The profile as the service wrote it, at most `limit` bytes. Takes CPU time when a proxy has compressed it.
    ///
    /// # Errors
    /// When it is damaged or larger.
    pub(crate) fn decoded(self, limit: usize) -> Result<Bytes, FetchError> {
        self.encoding.decompress(Bytes::from(self.bytes), limit).map_err(|e| match e {
            DecodeError::TooLarge => FetchError::TooLarge { limit },
            DecodeError::Corrupt(why) => FetchError::Encoding(why),
        })
    }
}

#[cfg(test)]
impl Answer {
    /// An answer of these bytes.
    pub(crate) fn of(bytes: Vec<u8>) -> Answer {
        Answer { bytes, encoding: Encoding::Identity, _reservation: Reservation::default() }
    }
}
