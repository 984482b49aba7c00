//! Authenticators of servers and clients: found by id when a component starts, asked for each request.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod check;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use weir_component::{AuthData, Capabilities, ClientAuth, Failure, Host, ServerAuth, Status};
use weir_config::net::{AuthConfig, ServerAuthConfig};

use crate::status::percent_decode;

/// Checks the callers of a server.
#[derive(Clone)]
pub struct Authenticator {
    check: Arc<dyn ServerAuth>,
    /// Names of parameters of the query that are shown to the check like headers.
    request_params: Vec<HeaderName>,
}

impl Authenticator {
    /// Of a gRPC server; `None` without an `auth` section.
    ///
    /// # Errors
    /// That no such extension runs, or that it cannot check callers.
    pub fn of_grpc(auth: Option<&AuthConfig>, host: &Host) -> Result<Option<Authenticator>, Failure> {
        let Some((id, found)) = resolve(auth, host)? else { return Ok(None) };
        let check = found.server_auth.ok_or_else(|| is_no(&id, "server"))?;
        Ok(Some(Authenticator { check, request_params: Vec::new() }))
    }

    /// Of an HTTP server; `None` without an `auth` section.
    ///
    /// # Errors
    /// As [`Authenticator::of_grpc`], and names of parameters that no header can have.
    pub fn of_http(auth: Option<&ServerAuthConfig>, host: &Host) -> Result<Option<Authenticator>, Failure> {
        let Some(authenticator) = Authenticator::of_grpc(auth.map(|auth| &auth.auth), host)? else {
            return Ok(None);
        };
        let names = auth.iter().flat_map(|auth| &auth.request_params).map(|name| {
            name.parse().map_err(|_| {
                Failure::permanent(format!("auth::request_params: {name:?} cannot be the name of a header"))
            })
        });
        Ok(Some(Authenticator { request_params: names.collect::<Result<_, _>>()?, ..authenticator }))
    }

    /// Who sends a request, of which nothing but the head has been read.
    ///
    /// # Errors
    /// Without a status of its own the failure is `Unauthenticated`.
    pub async fn check<B>(&self, request: &Request<B>) -> Result<AuthData, Failure> {
        let headers = request.headers();
        let asked = match request.uri().query() {
            Some(query) if !self.request_params.is_empty() => {
                let mut headers = headers.clone();
                add_params(&self.request_params, query, &mut headers);
                self.check.authenticate(&headers).await
            }
            _ => self.check.authenticate(headers).await,
        };
        asked.map_err(|failure| match failure.status() {
            Some(_) => failure,
            None => failure.with_status(Status::Unauthenticated),
        })
    }
}

/// Puts the parameters of these names in place of the headers of these names.
fn add_params(names: &[HeaderName], query: &str, headers: &mut HeaderMap) {
    for name in names {
        let values = query.split('&').filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (form_decode(key) == name.as_str()).then(|| form_decode(value).parse::<HeaderValue>().ok())?
        });
        let values: Vec<HeaderValue> = values.collect();
        if values.is_empty() {
            continue;
        }
        headers.remove(name);
        headers.extend(values.into_iter().map(|value| (name.clone(), value)));
    }
}

/// Text of a query (URL standard, "application/x-www-form-urlencoded").
fn form_decode(text: &str) -> String {
    percent_decode(text.replace('+', " ").as_bytes())
}

/// What signs the requests of a client; `None` without an `auth` section.
///
/// # Errors
/// That no such extension runs, or that it cannot sign.
pub fn client_auth(auth: Option<&AuthConfig>, host: &Host) -> Result<Option<Arc<dyn ClientAuth>>, Failure> {
    let Some((id, found)) = resolve(auth, host)? else { return Ok(None) };
    found.client_auth.ok_or_else(|| is_no(&id, "client")).map(Some)
}

fn resolve(auth: Option<&AuthConfig>, host: &Host) -> Result<Option<(String, Capabilities)>, Failure> {
    let Some(auth) = auth else { return Ok(None) };
    let id = auth.authenticator.as_ref().map(ToString::to_string).unwrap_or_default();
    match host.extension(&id) {
        Some(found) => Ok(Some((id, found))),
        None => Err(Failure::permanent(format!(
            "failed to resolve authenticator {id:?}: authenticator not found; \
             list the extension under service::extensions"
        ))),
    }
}

fn is_no(id: &str, side: &str) -> Failure {
    Failure::permanent(format!(
        "failed to resolve authenticator {id:?}: requested authenticator is not a {side} authenticator"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_takes_the_place_of_the_header_of_its_name() {
        let token = HeaderName::from_static("token");
        let of = |query: &str| {
            let mut headers = HeaderMap::from_iter([(token.clone(), HeaderValue::from_static("old"))]);
            add_params(std::slice::from_ref(&token), query, &mut headers);
            headers.get_all(&token).iter().map(|v| v.to_str().expect("text").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(of("a=b&token=x+y&token=%41"), ["x y", "A"]);
        assert_eq!(of("a=token&Token=x&token=%0a"), ["old"], "another name, and what no header can have");
    }

    #[test]
    fn queries_of_the_corpus_change_what_was_asked_for_alone() {
        for input in crate::corpus::corpus("basic_auth") {
            check::params(&String::from_utf8_lossy(&input));
        }
    }
}
