//! Options of the exporter; see metadata.yaml for their effects.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_component::Host;
use weir_config::net::{Compression, HttpClientConfig, QueueConfig, RetryConfig, validate_delivery};
use weir_config::{GoDuration, Issues, Optional, Validate};
use weir_kernel::memory;
use weir_otlp::client::{Format, HttpSettings, user_agent};
use weir_otlp::config as shared;
use weir_pdata::Signal;

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(rename = "+client")]
    pub(crate) client: HttpClientConfig,
    pub(crate) retry_on_failure: RetryConfig,
    pub(crate) sending_queue: Optional<QueueConfig>,
    encoding: Encoding,
    traces_endpoint: String,
    metrics_endpoint: String,
    logs_endpoint: String,
    profiles_endpoint: String,
}

/// How payloads are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename = "invalid encoding type: %s", rename_all = "lowercase")]
enum Encoding {
    #[default]
    Proto,
    Json,
}

impl Default for Config {
    fn default() -> Self {
        let client = HttpClientConfig {
            timeout: GoDuration::from_secs(30),
            compression: Compression::Gzip,
            write_buffer_size: 512 << 10,
            ..HttpClientConfig::default()
        };
        Config {
            client,
            retry_on_failure: RetryConfig::default(),
            sending_queue: Optional::Some(QueueConfig::default()),
            encoding: Encoding::Proto,
            traces_endpoint: String::new(),
            metrics_endpoint: String::new(),
            logs_endpoint: String::new(),
            profiles_endpoint: String::new(),
        }
    }
}

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        if self.client.endpoint.is_empty() && Signal::ALL.into_iter().all(|s| self.own_endpoint(s).is_empty())
        {
            let help = "write the address of a server, such as `endpoint: http://localhost:4318`";
            issues.at_with_help("endpoint", "at least one endpoint must be specified", help);
        }
        self.client.validate(issues);
        if self.client.timeout.is_negative() {
            issues.at("timeout", "'timeout' must be non-negative");
        }
        validate_delivery(&self.sending_queue, &self.retry_on_failure, memory::total, issues);
    }
}

/// How long an answer to a ping may take where the configuration does not say, as in Go.
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(15);

/// Idle connections to the one server, of those to all servers. 0 of the second is no limit.
fn at_most(idle: i64, in_all: i64) -> usize {
    let idle = if in_all > 0 { idle.min(in_all) } else { idle };
    usize::try_from(idle).unwrap_or(usize::MAX)
}

impl Config {
    /// The settings of the client for a signal, without TLS.
    pub(crate) fn settings(&self, signal: Signal, host: &Host) -> Result<HttpSettings, String> {
        let client = &self.client;
        let consumers = self.sending_queue.as_ref().map_or(0, |queue| queue.num_consumers);
        let idle = if client.max_idle_conns_per_host > 0 {
            client.max_idle_conns_per_host
        } else {
            consumers.max(2)
        };
        Ok(HttpSettings {
            headers: shared::headers(&client.headers)?,
            user_agent: user_agent(host.name(), host.version()),
            format: match self.encoding {
                Encoding::Proto => Format::Protobuf,
                Encoding::Json => Format::Json,
            },
            compression: shared::compression(client.compression, client.compression_params.level),
            idle_timeout: client.idle_conn_timeout.non_zero(),
            max_idle: if client.disable_keep_alives { 0 } else { at_most(idle, client.max_idle_conns) },
            max_connections: usize::try_from(client.max_conns_per_host).ok().filter(|most| *most > 0),
            http2_pings: client.http2_read_idle_timeout.non_zero().map(|interval| {
                (interval, client.http2_ping_timeout.non_zero().unwrap_or(HTTP2_PING_TIMEOUT))
            }),
            proxy_url: client.proxy_url.clone(),
            cookies: client.cookies.is_on(),
            timeout: client.timeout.non_zero(),
            ..HttpSettings::new(&self.url(signal)?)
        })
    }

    /// The URL of a signal: its own as it is, else the common one with the path of the signal behind it.
    pub(crate) fn url(&self, signal: Signal) -> Result<String, String> {
        let own = self.own_endpoint(signal);
        let url = match (own.is_empty(), self.client.endpoint.is_empty()) {
            (false, _) => own.to_owned(),
            (true, false) => format!("{}{}", self.client.endpoint.trim_end_matches('/'), signal.path()),
            (true, true) => {
                return Err(format!("either endpoint or {signal}_endpoint must be specified"));
            }
        };
        let option = if own.is_empty() { "endpoint".to_owned() } else { format!("{signal}_endpoint") };
        // The URL itself is not repeated: it may hold a password.
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(format!("{option} must be a URL that begins with http:// or https://"));
        }
        match url.parse::<http::Uri>() {
            Ok(_) => Ok(url),
            Err(e) => Err(format!("{option}: {e}: write special characters of a password as %XX")),
        }
    }

    fn own_endpoint(&self, signal: Signal) -> &str {
        match signal {
            Signal::Traces => &self.traces_endpoint,
            Signal::Metrics => &self.metrics_endpoint,
            Signal::Logs => &self.logs_endpoint,
            Signal::Profiles => &self.profiles_endpoint,
        }
    }
}
