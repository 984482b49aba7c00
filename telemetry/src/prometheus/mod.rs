//! The page for Prometheus: what the SDK has collected, in the text format 0.0.4, as the Collector's page has it.
//!
//! Names follow the Collector's translation and not that of the SDK's exporter for Prometheus, which doubles suffixes
//! (`_seconds_seconds_total`) and cannot keep dots for a Prometheus that takes UTF-8.

mod names;
mod text;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{InstrumentKind, ManualReader, Pipeline, Temporality};
use weir_config::telemetry::PrometheusExporter;

pub(crate) use names::Escaping;

/// One page. Cheap to clone.
#[derive(Clone)]
pub struct Page {
    address: String,
    config: Arc<PrometheusExporter>,
    reader: Reader,
}

/// What a page answers.
#[derive(Debug)]
pub struct Answer {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The metrics.
    pub text: String,
}

impl Page {
    /// A page, and the reader that a meter provider has to know.
    pub(crate) fn new(config: &PrometheusExporter) -> (Page, Reader) {
        let reader =
            Reader(Arc::new(ManualReader::builder().with_temporality(Temporality::Cumulative).build()));
        let address = address(config.host.as_deref().unwrap_or("localhost"), config.port.unwrap_or(8888));
        (Page { address, config: Arc::new(config.clone()), reader: reader.clone() }, reader)
    }

    /// Where it is to be answered, `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The metrics as they are now, for a client that accepts `accept`.
    pub fn answer(&self, accept: Option<&str>) -> Answer {
        let escaping = Escaping::of(accept.unwrap_or_default());
        let mut metrics = ResourceMetrics::default();
        // After a shutdown there is nothing to read.
        let collected = self.reader.0.collect(&mut metrics).is_ok();
        let text = if collected { text::encode(&metrics, &self.config, escaping) } else { String::new() };
        Answer { content_type: escaping.content_type(), text }
    }
}

/// An address of IPv6 stands in brackets between which it may be given already.
fn address(host: &str, port: u16) -> String {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Page({})", self.address)
    }
}

/// The SDK's reader that collects when asked, shared with the page.
#[derive(Debug, Clone)]
pub(crate) struct Reader(Arc<ManualReader>);

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv6_stands_in_brackets() {
        let cases = [
            ("fe80::1%eth0", "[fe80::1%eth0]:8888"),
            ("::1", "[::1]:8888"),
            ("[::1]", "[::1]:8888"),
            ("0.0.0.0", "0.0.0.0:8888"),
            ("a.b", "a.b:8888"),
        ];
        for (host, expected) in cases {
            let config = PrometheusExporter { host: Some(host.to_owned()), ..PrometheusExporter::default() };
            assert_eq!(Page::new(&config).0.address(), expected);
        }
    }
}
