//! `weir leaks`: the verdicts of a running agent.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use weir_connection::report::{Finding, Report, State};
use weir_connection::terminal::{self, Options, units::Clock};

use crate::service::tokio_runtime;

/// Options of `weir leaks`.
#[derive(Debug, Args)]
pub(super) struct LeaksArgs {
    /// Where the agent's zpages extension answers.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:55679")]
    endpoint: String,
    /// Prints the document as JSON (its schema is in docs/leaks-json.md).
    #[arg(long)]
    json: bool,
    /// One line for each finding.
    #[arg(long, conflicts_with = "json")]
    compact: bool,
    /// Goes on until Ctrl-C; on a terminal the screen is redrawn, elsewhere a finding is printed when its state, class,
    /// site or confidence changes.
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// Times in UTC instead of local time.
    #[arg(long)]
    utc: bool,
}

/// Largest document that is read.
const MAX_BODY: usize = 64 << 20;

/// Asks and prints. Exit code 0: nothing leaks, 1: something leaks, 2: no answer.
pub(super) fn leaks(args: &LeaksArgs, color: bool) -> ExitCode {
    let runtime = match tokio_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    runtime.block_on(async { if args.watch { watch(args, color).await } else { once(args, color).await } })
}

async fn once(args: &LeaksArgs, color: bool) -> ExitCode {
    let (report, body) = match report(&args.endpoint).await {
        Ok(answer) => answer,
        Err(message) => return failed(&message),
    };
    if args.json {
        super::print(&(String::from_utf8_lossy(&body).trim_end().to_owned() + "\n"));
    } else {
        super::print(&render(&report, args, color));
    }
    if report.series.iter().any(|f| f.state == State::Leaking) {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    }
}

/// Looks every second until Ctrl-C: redraws a terminal, tells elsewhere what is new.
async fn watch(args: &LeaksArgs, color: bool) -> ExitCode {
    let redraw = io::stdout().is_terminal();
    let mut told = HashMap::new();
    let mut failure = String::new();
    loop {
        match report(&args.endpoint).await {
            Ok((mut report, _)) if !redraw => {
                failure.clear();
                told.retain(|id, _| report.series.iter().any(|finding| finding.id == *id));
                report.series.retain(|finding| is_news(finding, &mut told));
                if !report.series.is_empty() {
                    super::print(&(render(&report, args, color) + "\n"));
                }
            }
            // Home, then the text, then clear what is left below: no flicker.
            Ok((report, _)) => {
                let text = render(&report, args, color).replace('\n', "\x1b[K\n");
                super::print(&format!("\x1b[H{text}\x1b[J"));
            }
            Err(message) if redraw => super::print(&format!("\x1b[H{message}\x1b[K\n\x1b[J")),
            Err(message) if message == failure => {}
            Err(message) => {
                super::print(&format!("{message}\n"));
                failure = message;
            }
        }
        let interrupted = tokio::signal::ctrl_c();
        if tokio::time::timeout(Duration::from_secs(1), interrupted).await.is_ok() {
            return ExitCode::SUCCESS;
        }
    }
}

/// What of a finding is worth telling again when it changes; its numbers always do.
#[derive(PartialEq)]
struct Told {
    state: State,
    class: String,
    confidence: String,
    site: Option<(String, i64)>,
}

fn is_news(finding: &Finding, told: &mut HashMap<String, Told>) -> bool {
    let now = Told {
        state: finding.state,
        class: finding.class.clone(),
        confidence: finding.confidence.clone(),
        site: finding.site.as_ref().map(|site| (site.file.clone(), site.line)),
    };
    let news = told.get(&finding.id) != Some(&now);
    if news {
        told.insert(finding.id.clone(), now);
    }
    news
}

fn render(report: &Report, args: &LeaksArgs, color: bool) -> String {
    #[expect(clippy::disallowed_methods, reason = "the zone of the person who reads")]
    let local = || Clock::local(jiff::Zoned::now().offset().seconds());
    let clock = if args.utc { Clock::UTC } else { local() };
    let width = terminal_width();
    let page = format!("{}/leaks", args.endpoint.trim_end_matches('/'));
    let options = Options { width, color, clock, page, ..Options::default() };
    if args.compact { terminal::render_compact(report, &options) } else { terminal::render(report, &options) }
}

/// Columns of the terminal; 120 when the output goes elsewhere.
fn terminal_width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    columns.or_else(|| terminal_size::terminal_size().map(|(w, _)| usize::from(w.0))).unwrap_or(120)
}

/// The document, read and as it came.
async fn report(endpoint: &str) -> Result<(Report, Bytes), String> {
    let body = fetch(endpoint).await?;
    match serde_json::from_slice(&body) {
        Ok(report) => Ok((report, body)),
        Err(error) => Err(format!("{endpoint} did not answer with leaks: {error}")),
    }
}

async fn fetch(endpoint: &str) -> Result<Bytes, String> {
    let url = format!("{}/leaks.json", endpoint.trim_end_matches('/'));
    let hint = "is the agent running, with the extension zpages in service::extensions? Set --endpoint to its address";
    let uri: hyper::Uri = url.parse().map_err(|e| format!("--endpoint {endpoint:?} is not a URL: {e}"))?;
    if uri.scheme_str() != Some("http") {
        return Err(format!("--endpoint {endpoint:?} must begin with http://"));
    }
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = tokio::time::timeout(Duration::from_secs(10), async {
        let response =
            client.get(uri).await.map_err(|e| format!("{url} does not answer ({}); {hint}", cause(&e)))?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("{url} answered {status}; {hint}"));
        }
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        body.map(|b| b.to_bytes()).map_err(|e| format!("{url}: {e}"))
    });
    answer.await.unwrap_or_else(|_| Err(format!("{url} did not answer within 10 s")))
}

/// The innermost cause: `Connection refused`, not `client error (Connect)`.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn failed(message: &str) -> ExitCode {
    super::eprint(&format!("Error: {message}\n"));
    ExitCode::from(2)
}
