//! Profiles of the agent itself over HTTP, where Go programs have them.
//!
//! They are made of what the kernel accounts for each thread and mapping. No signals are sent and no stacks are unwound:
//! a signal handler that unwinds may deadlock, and this program has no unsafe code.

#[cfg(test)]
#[path = "../../../fuzz/corpus.rs"]
mod corpus;
mod encode;
mod profiles;
mod query;
mod threads;

#[cfg(feature = "fuzzing")]
pub use query::check as check_query;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use weir_component::{
    Build, BuildError, Clock, Extension, ExtensionContext, ExtensionFactory, Failure, Stability, async_trait,
};
use weir_config::net::{DialerConfig, NetAddress};
use weir_config::{Issues, Validate};
use weir_otlp::http_server::{self, ServerLimits, respond, text};
use weir_otlp::{Body, Listener, config as shared};

use threads::Thread;

/// Makes `pprof` extensions.
pub const FACTORY: ExtensionFactory = ExtensionFactory {
    kind: "pprof",
    aliases: &[],
    stability: Stability::Beta,
    metadata: include_str!("../metadata.yaml"),
    options: weir_config::Options::of::<Config>(),
    offers: &[],
    create,
};

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    endpoint: String,
    dialer: DialerConfig,
    block_profile_fraction: i64,
    mutex_profile_fraction: i64,
    save_to_file: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            endpoint: "localhost:1777".to_owned(),
            dialer: DialerConfig::default(),
            block_profile_fraction: 0,
            mutex_profile_fraction: 0,
            save_to_file: String::new(),
        }
    }
}

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        NetAddress::tcp(&self.endpoint).validate(issues);
    }
}

fn create(build: &Build<'_>) -> Result<Box<dyn Extension>, BuildError> {
    let config: Config = build.checked()?;
    Ok(Box::new(Pprof { config, bound: None, saving: None }))
}

struct Pprof {
    config: Config,
    bound: Option<Listener>,
    saving: Option<Saving>,
}

/// The file, with nothing in it. A named pipe that nobody reads is an error: opening it would wait for a reader.
fn emptied(path: &str) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).custom_flags(libc::O_NONBLOCK).open(path)
}

fn broken_off<T>() -> io::Result<T> {
    Err(io::Error::other("it was broken off"))
}

/// A profile of the whole run, written at its end.
struct Saving {
    file: File,
    began: u64,
    before: BTreeMap<u32, Thread>,
}

#[async_trait]
impl Extension for Pprof {
    async fn start(&mut self, cx: &ExtensionContext) -> Result<(), Failure> {
        self.bound = Some(shared::listen(&cx.host, &cx.id, &NetAddress::tcp(&self.config.endpoint)).await?);
        let path = &self.config.save_to_file;
        if !path.is_empty() {
            let file = path.clone();
            let opened = cx.host.blocking(move || emptied(&file)).await.unwrap_or_else(broken_off);
            let file = opened.map_err(|error| {
                Failure::permanent(format!(
                    "open {path}: {error}; give save_to_file a path that can be written"
                ))
            })?;
            self.saving = Some(Saving { file, began: cx.clock.unix_nanos(), before: threads::all() });
        }
        tracing::info!(
            otelcol.component.id = %cx.id,
            otelcol.component.kind = "extension",
            endpoint = %self.config.endpoint,
            "Starting net/http/pprof server"
        );
        Ok(())
    }

    async fn run(self: Box<Self>, cx: ExtensionContext) -> Result<(), Failure> {
        let Some(listener) = self.bound else {
            return Err(Failure::permanent("was not started"));
        };
        let limits = ServerLimits::of_pages();
        let clock = cx.clock.clone();
        http_server::serve(listener, None, limits, cx.stop, move |request, _| {
            answer(Arc::new(request), clock.clone())
        })
        .await;
        if let Some(Saving { mut file, began, before }) = self.saving {
            let now = cx.clock.unix_nanos();
            let profile = profiles::cpu(&before, now, now.saturating_sub(began));
            let saved = cx.host.blocking(move || file.write_all(&profile)).await;
            if let Err(error) = saved.unwrap_or_else(broken_off) {
                tracing::warn!(
                    otelcol.component.id = %cx.id,
                    otelcol.component.kind = "extension",
                    %error,
                    path = self.config.save_to_file,
                    "The CPU profile cannot be saved"
                );
            }
        }
        Ok(())
    }
}

async fn answer<B>(request: Arc<Request<B>>, clock: Clock) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let (path, debug) = (request.uri().path(), query::debug(query));
    let Some(name) = path.strip_prefix("/debug/pprof/") else {
        return match path {
            "/debug/pprof" => redirect("/debug/pprof/"),
            _ => text(StatusCode::NOT_FOUND, "404 page not found\n"),
        };
    };
    let now = clock.unix_nanos();
    match name {
        "" => respond(StatusCode::OK, "text/html; charset=utf-8", INDEX),
        "profile" => {
            let Some(seconds) = query::seconds(query) else {
                let words = format!("seconds must be from 1 to {}\n", query::MAX_SECONDS);
                return text(StatusCode::BAD_REQUEST, words);
            };
            let before = threads::all();
            clock.sleep(Duration::from_secs(seconds)).await;
            profile(profiles::cpu(&before, clock.unix_nanos(), seconds * 1_000_000_000))
        }
        "goroutine" | "threadcreate" if debug => text(StatusCode::OK, profiles::threads_as_text()),
        "goroutine" | "threadcreate" => profile(profiles::threads(now)),
        "heap" | "allocs" => profile(profiles::memory(now)),
        "cmdline" => respond(StatusCode::OK, "text/plain; charset=utf-8", profiles::command_line()),
        "symbol" => text(StatusCode::OK, "num_symbols: 0\n"),
        "block" | "mutex" | "trace" => text(
            StatusCode::NOT_FOUND,
            format!("there is no {name} profile of a Rust program; see the README of the pprof extension\n"),
        ),
        _ => text(StatusCode::NOT_FOUND, "Unknown profile\n"),
    }
}

const INDEX: &str = "<html><head><title>/debug/pprof/</title></head><body>/debug/pprof/<ul>\
    <li><a href=\"profile?seconds=5\">profile</a>: CPU time by thread</li>\
    <li><a href=\"heap\">heap</a>: resident memory by mapping</li>\
    <li><a href=\"goroutine?debug=1\">goroutine</a>: threads</li>\
    <li><a href=\"threadcreate?debug=1\">threadcreate</a>: threads</li>\
    <li><a href=\"cmdline\">cmdline</a>: arguments</li></ul></body></html>\n";

fn profile(bytes: Vec<u8>) -> Response<Body> {
    respond(StatusCode::OK, "application/octet-stream", bytes)
}

fn redirect(to: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::MOVED_PERMANENTLY, "");
    response.headers_mut().insert(http::header::LOCATION, http::HeaderValue::from_static(to));
    response
}

#[cfg(test)]
mod tests;
