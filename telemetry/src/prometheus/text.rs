//! The text format 0.0.4 of Prometheus.

use std::collections::BTreeMap;

use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics};
use weir_config::telemetry::PrometheusExporter;

use super::names::{self, Escaping};
use crate::wildcard;

/// All metrics, by name.
pub(super) fn encode(metrics: &ResourceMetrics, config: &PrometheusExporter, escaping: Escaping) -> String {
    let mut families = BTreeMap::new();
    let resource: Vec<KeyValue> =
        metrics.resource().iter().map(|(k, v)| KeyValue::new(k.clone(), v.clone())).collect();
    let constant = config.with_resource_constant_labels.as_ref();
    let constant: Vec<_> =
        resource.iter().filter(|a| constant.is_some_and(|c| wildcard::selects(c, a.key.as_str()))).collect();
    for scope in metrics.scope_metrics() {
        let mut common: Vec<(String, String)> = constant.iter().map(|a| pair(a, escaping)).collect();
        if !config.without_scope_info {
            let label = |name: &str, value: Option<&str>| (name.to_owned(), value.unwrap_or("").to_owned());
            common.push(label("otel_scope_name", Some(scope.scope().name())));
            common.push(label("otel_scope_version", scope.scope().version()));
            common.push(label("otel_scope_schema_url", scope.scope().schema_url()));
        }
        for metric in scope.metrics() {
            add(&mut families, metric, &common, config, escaping);
        }
    }
    let target = Family::of("Target metadata", "gauge");
    let target = families.entry("target_info".to_owned()).or_insert(target);
    target.series.push((String::new(), resource.iter().map(|a| pair(a, escaping)).collect(), 1.0));
    // A scraper of the Collector finds these, too; here nothing can fail in between.
    let errors = "Total number of internal errors encountered by the promhttp metric handler.";
    let errors = families
        .entry("promhttp_metric_handler_errors_total".to_owned())
        .or_insert(Family::of(errors, "counter"));
    for cause in ["encoding", "gathering"] {
        errors.series.push((String::new(), vec![("cause".to_owned(), cause.to_owned())], 0.0));
    }
    let mut out = String::new();
    for (name, family) in families {
        family.write(&name, &mut out);
    }
    out
}

/// For each series the suffix of its name, its labels and its value.
type Series = Vec<(String, Labels, f64)>;

type Labels = Vec<(String, String)>;

/// Series of one name.
struct Family {
    help: String,
    kind: &'static str,
    series: Series,
}

impl Family {
    fn of(help: &str, kind: &'static str) -> Family {
        Family { help: help.to_owned(), kind, series: Vec::new() }
    }

    fn write(mut self, name: &str, out: &mut String) {
        let plain = names::is_plain(name, |c| c == ':');
        let shown = if plain { name.to_owned() } else { format!("\"{}\"", quoted(name)) };
        let help = self.help.replace('\\', "\\\\").replace('\n', "\\n");
        out.push_str(&format!("# HELP {shown} {help}\n# TYPE {shown} {}\n", self.kind));
        for (suffix, labels, value) in &mut self.series {
            // `le` comes last, as everywhere.
            labels.sort_by_key(|(name, _)| (name == "le", name.clone()));
            let mut parts: Vec<String> = Vec::new();
            if !plain {
                parts.push(format!("\"{}{suffix}\"", quoted(name)));
            }
            for (name, value) in labels.iter() {
                let value = quoted(value);
                parts.push(match names::is_plain(name, |_| false) {
                    true => format!("{name}=\"{value}\""),
                    false => format!("\"{}\"=\"{value}\"", quoted(name)),
                });
            }
            if plain {
                out.push_str(name);
                out.push_str(suffix);
            }
            if !parts.is_empty() {
                out.push_str(&format!("{{{}}}", parts.join(",")));
            }
            out.push_str(&format!(" {}\n", number(*value)));
        }
    }
}

fn add(
    families: &mut BTreeMap<String, Family>,
    metric: &Metric,
    common: &[(String, String)],
    config: &PrometheusExporter,
    escaping: Escaping,
) {
    let (kind, series) = match metric.data() {
        AggregatedMetrics::F64(data) => series(data, |v| v, common, escaping),
        AggregatedMetrics::U64(data) => series(data, |v| v as f64, common, escaping),
        AggregatedMetrics::I64(data) => series(data, |v| v as f64, common, escaping),
    };
    if series.is_empty() {
        return;
    }
    let name = escaping.metric(metric.name());
    // As in the Collector: either option brings both kinds of suffixes.
    let name = if config.without_units && config.without_type_suffix {
        name.into_owned()
    } else {
        names::with_suffixes(&name, metric.unit(), kind == "counter", kind == "gauge")
    };
    let family = families.entry(name).or_insert_with(|| Family::of(metric.description(), kind));
    // A view may give two metrics one name; those of another type would make the page unreadable.
    if family.kind == kind {
        family.series.extend(series);
    }
}

fn series<T: Copy>(
    data: &MetricData<T>,
    value: impl Fn(T) -> f64,
    common: &[(String, String)],
    escaping: Escaping,
) -> (&'static str, Series) {
    let labels = |attributes: &mut dyn Iterator<Item = &KeyValue>| {
        let own = attributes.map(|a| pair(a, escaping));
        own.chain(common.iter().cloned()).collect::<Vec<_>>()
    };
    let mut out = Vec::new();
    let kind = match data {
        MetricData::Gauge(gauge) => {
            for point in gauge.data_points() {
                out.push((String::new(), labels(&mut point.attributes()), value(point.value())));
            }
            "gauge"
        }
        MetricData::Sum(sum) => {
            for point in sum.data_points() {
                out.push((String::new(), labels(&mut point.attributes()), value(point.value())));
            }
            if sum.is_monotonic() { "counter" } else { "gauge" }
        }
        MetricData::Histogram(histogram) => {
            for point in histogram.data_points() {
                let labels = labels(&mut point.attributes());
                let mut below = 0;
                for (bound, count) in
                    point.bounds().chain(std::iter::once(f64::INFINITY)).zip(point.bucket_counts())
                {
                    below += count;
                    let mut labels = labels.clone();
                    labels.push(("le".to_owned(), number(bound)));
                    out.push(("_bucket".to_owned(), labels, below as f64));
                }
                out.push(("_sum".to_owned(), labels.clone(), value(point.sum())));
                out.push(("_count".to_owned(), labels, point.count() as f64));
            }
            "histogram"
        }
        // The text format has no form for them; the Collector's page leaves them out as well.
        MetricData::ExponentialHistogram(_) => "",
    };
    (kind, out)
}

fn pair(attribute: &KeyValue, escaping: Escaping) -> (String, String) {
    (escaping.label(attribute.key.as_str()).into_owned(), attribute.value.to_string())
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

/// A number as Go writes it: values of `le` name series, and `1e+06` is another name than `1000000`.
fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let shortest = format!("{value:e}");
    match shortest
        .split_once('e')
        .and_then(|(digits, exponent)| Some((digits, exponent.parse::<i32>().ok()?)))
    {
        Some((digits, exponent)) if value != 0.0 && !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_does() {
        for (value, text) in [
            (0.0, "0"),
            (0.005, "0.005"),
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (16_777_216.0, "1.6777216e+07"),
            (1.5e-5, "1.5e-05"),
            (1.898_147_79, "1.89814779"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn text_cannot_break_out_of_its_quotation_marks() {
        let mut family = Family::of("one\ntwo \\", "gauge");
        family.series.push((String::new(), vec![("a".to_owned(), "x\"\n\\".to_owned())], 1.0));
        let mut out = String::new();
        family.write("m", &mut out);
        assert_eq!(out, "# HELP m one\\ntwo \\\\\n# TYPE m gauge\nm{a=\"x\\\"\\n\\\\\"} 1\n");
    }

    #[test]
    fn names_that_are_not_plain_stand_in_the_braces() {
        let mut family = Family::of("h", "histogram");
        family.series.push(("_sum".to_owned(), vec![("url.path".to_owned(), "/".to_owned())], 2.0));
        let mut out = String::new();
        family.write("http.size", &mut out);
        assert!(out.ends_with("{\"http.size_sum\",\"url.path\"=\"/\"} 2\n"), "{out}");
    }
}
