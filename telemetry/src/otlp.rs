//! Ways out by OTLP: the exporters of opentelemetry-otlp with the endpoint, headers, limits and TLS of `service::telemetry`.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
    WithTonicConfig,
};
use opentelemetry_sdk::metrics::Temporality;
use tokio::runtime::Handle;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use weir_config::Secret;
use weir_config::telemetry::OtlpExporter;
use weir_otlp::client::Connector;
use weir_otlp::tls::{ClientTls, DEFAULT_INTERVAL, Files};

/// Sends metrics. Must be called inside a tokio runtime, as all here.
///
/// # Errors
/// What is wrong with the settings.
pub(crate) fn metrics(config: &OtlpExporter, temporality: Temporality) -> Result<MetricExporter, String> {
    let builder = MetricExporter::builder().with_temporality(temporality);
    match Way::of(config, "/v1/metrics")? {
        Way::Grpc(grpc) => grpc.configure(builder.with_tonic()).build().map_err(text),
        Way::Http(http) => http.configure(builder.with_http()).build().map_err(text),
    }
}

/// Sends spans.
///
/// # Errors
/// What is wrong with the settings.
pub(crate) fn spans(config: &OtlpExporter) -> Result<SpanExporter, String> {
    let builder = SpanExporter::builder();
    match Way::of(config, "/v1/traces")? {
        Way::Grpc(grpc) => grpc.configure(builder.with_tonic()).build().map_err(text),
        Way::Http(http) => http.configure(builder.with_http()).build().map_err(text),
    }
}

/// Sends log records.
///
/// # Errors
/// What is wrong with the settings.
pub(crate) fn logs(config: &OtlpExporter) -> Result<LogExporter, String> {
    let builder = LogExporter::builder();
    match Way::of(config, "/v1/logs")? {
        Way::Grpc(grpc) => grpc.configure(builder.with_tonic()).build().map_err(text),
        Way::Http(http) => http.configure(builder.with_http()).build().map_err(text),
    }
}

/// How to get there.
enum Way {
    Grpc(Grpc),
    Http(Box<Http>),
}

struct Common {
    timeout: Duration,
    headers: HeaderMap,
    compression: Option<Compression>,
}

struct Grpc {
    common: Common,
    channel: Channel,
}

struct Http {
    common: Common,
    url: String,
    protocol: Protocol,
    client: Client,
}

/// Milliseconds that one transmission may take when none are given.
const TIMEOUT: i64 = 10_000;

impl Way {
    fn of(config: &OtlpExporter, path: &str) -> Result<Way, String> {
        let common = Common {
            timeout: Duration::from_millis(u64::try_from(config.timeout.unwrap_or(TIMEOUT)).unwrap_or(0)),
            headers: headers(config)?,
            compression: match config.compression.as_deref() {
                None | Some("" | "none") => None,
                Some("gzip") => Some(Compression::Gzip),
                Some(other) => {
                    return Err(format!("unsupported compression {other:?}: use gzip or none"));
                }
            },
        };
        let protocol = match config.protocol.as_deref() {
            Some("grpc" | "grpc/protobuf") => Protocol::Grpc,
            None | Some("http/protobuf") => Protocol::HttpBinary,
            Some("http/json") => Protocol::HttpJson,
            Some(other) => {
                return Err(format!("unsupported protocol {other:?}: use grpc, http/protobuf or http/json"));
            }
        };
        let default =
            if protocol == Protocol::Grpc { "http://localhost:4317" } else { "http://localhost:4318" };
        let url = config.url().unwrap_or_else(|| default.to_owned());
        // It may hold a password, and is not repeated.
        let uri: Uri = url.parse().map_err(|e| {
            format!("endpoint: {e}: give scheme://host:port, and special characters of a password as %XX")
        })?;
        if protocol == Protocol::Grpc {
            let endpoint = Endpoint::from(uri.clone()).timeout(common.timeout);
            let channel = endpoint.connect_with_connector_lazy(connector(config, &uri, &["h2"])?);
            return Ok(Way::Grpc(Grpc { common, channel }));
        }
        // An endpoint with a path is meant as it is.
        let bare = matches!(uri.path(), "" | "/");
        let url = if bare { format!("{}{path}", url.trim_end_matches('/')) } else { url };
        let client = HyperClient::new(connector(config, &uri, &["http/1.1"])?, common.timeout, None);
        let client = Client { client, runtime: Handle::current() };
        Ok(Way::Http(Box::new(Http { common, url, protocol, client })))
    }
}

impl Grpc {
    fn configure<B: WithExportConfig + WithTonicConfig>(self, builder: B) -> B {
        let Common { timeout, headers, compression } = self.common;
        let builder = builder
            .with_timeout(timeout)
            .with_channel(self.channel)
            .with_metadata(MetadataMap::from_headers(headers));
        match compression {
            Some(compression) => builder.with_compression(compression),
            None => builder,
        }
    }
}

impl Http {
    fn configure<B: WithExportConfig + WithHttpConfig>(self, builder: B) -> B {
        let Common { timeout, headers, compression } = self.common;
        // The library decodes percent signs in values, which are meant as they are.
        let headers: HashMap<_, _> = (headers.iter())
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.replace('%', "%25"))))
            .collect();
        let builder = builder
            .with_endpoint(self.url)
            .with_protocol(self.protocol)
            .with_timeout(timeout)
            .with_http_client(self.client)
            .with_headers(headers);
        match compression {
            Some(compression) => builder.with_compression(compression),
            None => builder,
        }
    }
}

/// An HTTP client that the SDK's threads, which are not the runtime's, can use.
#[derive(Debug)]
struct Client {
    client: HyperClient<Connector>,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let client = self.client.clone();
        #[expect(clippy::disallowed_methods, reason = "self-telemetry is outside of the pipelines")]
        let sent = self.runtime.spawn(async move { client.send_bytes(request).await });
        sent.await?
    }
}

/// Connects with TLS where the URL says `https`, by files that are taken up when they change.
fn connector(
    config: &OtlpExporter,
    uri: &Uri,
    protocols: &'static [&'static str],
) -> Result<Connector, String> {
    if uri.scheme_str() != Some("https") {
        return Ok(Connector::direct(None));
    }
    let OtlpExporter { certificate, client_certificate, client_key, .. } = config;
    let paths = [certificate, client_certificate, client_key].into_iter().flatten().map(PathBuf::from);
    let again = config.clone();
    let files = Files::new(paths.collect(), move || tls(&again), DEFAULT_INTERVAL);
    let tls = ClientTls { files: Some(files), ..tls(config)? };
    Ok(Connector::direct(Some(tls.connector(protocols)?)))
}

/// Reads the files.
fn tls(config: &OtlpExporter) -> Result<ClientTls, String> {
    let identity = match (&config.client_certificate, &config.client_key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => {
            Some((read("client_certificate", certificate)?, read("client_key", key)?))
        }
        _ => return Err("client_certificate and client_key belong together".to_owned()),
    };
    let ca = config.certificate.as_deref().map(|path| read("certificate", path)).transpose()?;
    Ok(ClientTls { ca, identity, ..ClientTls::default() })
}

/// The file that an option names.
fn read(option: &str, path: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| format!("{option}: read {}: {e}", weir_config::shown_path(path)))
}

/// Both forms; where a name stands in both, `headers` wins.
fn headers(config: &OtlpExporter) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let listed = config.headers_list.as_ref().map_or("", Secret::reveal);
    for pair in listed.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| "headers_list: each entry has the form name=value".to_owned())?;
        put(&mut headers, name.trim(), value.trim())?;
    }
    for (name, value) in config.headers.iter() {
        put(&mut headers, name, value.reveal())?;
    }
    Ok(headers)
}

fn put(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), String> {
    // A value may be a secret and is not repeated.
    let key = name.parse::<HeaderName>();
    let name = weir_config::shown_name(name);
    let key = key.map_err(|e| format!("header {name:?}: {e}"))?;
    let value: HeaderValue = value.parse().map_err(|e| format!("value of header {name:?}: {e}"))?;
    headers.insert(key, value);
    Ok(())
}

fn text(error: impl Display) -> String {
    error.to_string()
}
