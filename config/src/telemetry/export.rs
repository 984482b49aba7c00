//! Ways out for own logs, metrics and traces.

use serde::{Deserialize, Serialize};

use crate::{HeaderMap, Secret};

/// Standard output; without options.
pub type Console = super::Empty;

/// One way out for spans or log records: `batch` or `simple`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryProcessor {
    /// Gathered, then sent.
    pub batch: Option<BatchProcessor>,
    /// Sent one by one.
    pub simple: Option<SimpleProcessor>,
}

/// Gathered, then sent. Times in milliseconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchProcessor {
    /// To whom.
    pub exporter: PushExporter,
    /// Longest time of one transmission; 30000 when not given.
    pub export_timeout: Option<i64>,
    /// Most items of one transmission; 512 when not given.
    pub max_export_batch_size: Option<i64>,
    /// Most items that wait; 2048 when not given.
    pub max_queue_size: Option<i64>,
    /// Time between two transmissions; 5000 (logs: 1000) when not given.
    pub schedule_delay: Option<i64>,
}

/// Sent one by one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimpleProcessor {
    /// To whom.
    pub exporter: PushExporter,
}

/// To whom spans or log records are sent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PushExporter {
    /// A receiver of OTLP.
    pub otlp: Option<OtlpExporter>,
    /// Standard output.
    pub console: Option<Console>,
}

/// A receiver of OTLP.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpExporter {
    /// `http/protobuf`, `grpc` or `grpc/protobuf`; has to be given.
    pub protocol: Option<String>,
    /// URL. Without a scheme it is `https://`, or `http://` with `insecure`.
    pub endpoint: Option<String>,
    /// Do not use TLS for an endpoint without a scheme.
    pub insecure: Option<bool>,
    /// `gzip` or `none`.
    pub compression: Option<String>,
    /// Milliseconds that one transmission may take; 10000 when not given.
    pub timeout: Option<i64>,
    /// Headers, as a mapping or as a list.
    pub headers: HeaderMap,
    /// Headers as one text, `a=b,c=d`; secret, as their values are.
    pub headers_list: Option<Secret>,
    /// File with the certificates (PEM) that the server is checked against.
    pub certificate: Option<String>,
    /// File with the own certificate (PEM).
    pub client_certificate: Option<String>,
    /// File with the key of it.
    pub client_key: Option<String>,
}

impl OtlpExporter {
    /// The endpoint with its scheme; `None` when none is given.
    pub fn url(&self) -> Option<String> {
        let endpoint = self.endpoint.as_deref()?;
        if endpoint.starts_with("https://") || endpoint.starts_with("http://") {
            return Some(endpoint.to_owned());
        }
        let scheme = if self.insecure == Some(true) { "http" } else { "https" };
        Some(format!("{scheme}://{endpoint}"))
    }
}

/// A receiver of OTLP for metrics.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpMetricExporter {
    /// What all OTLP exporters have.
    #[serde(rename = "+otlp")]
    pub otlp: OtlpExporter,
    /// `cumulative` (when not given), `delta` or `lowmemory`.
    pub temporality_preference: Option<String>,
    /// `explicit_bucket_histogram` (when not given) or `base2_exponential_bucket_histogram`.
    pub default_histogram_aggregation: Option<String>,
}
