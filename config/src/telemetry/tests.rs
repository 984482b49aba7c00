use super::*;
use crate::{ConfigError, Path, Secrets, load, parse_body, to_yaml};

fn read(text: &str) -> Result<TelemetryConfig, Vec<ConfigError>> {
    load(&parse_body(text).unwrap(), &Path::new().field("service").field("telemetry"))
}

#[test]
fn the_default_is_a_page_for_prometheus_and_lines_on_standard_error() {
    let config = read("").unwrap();
    assert_eq!(config, read("logs:\nmetrics:\ntraces: {}\nresource:\n").unwrap());
    let prometheus =
        config.metrics.readers[0].pull.as_ref().and_then(|pull| pull.exporter.prometheus.clone()).unwrap();
    assert_eq!((prometheus.host.as_deref(), prometheus.port), (Some("localhost"), Some(8888)));
    assert!(prometheus.without_units && prometheus.without_scope_info && prometheus.without_type_suffix);
    assert_eq!((config.logs.level, config.logs.encoding), (LogLevel::Info, LogEncoding::Console));
}

#[test]
fn both_forms_of_headers_and_resources_are_read() {
    let text = "
logs: {level: DEBUG, encoding: json, sampling: {initial: 5}, initial_fields: {a: 1}}
metrics:
  level: Detailed
  readers:
  - periodic:
      interval: 1000
      exporter: {otlp: {protocol: http/protobuf, endpoint: 127.0.0.1:4318, headers: {k: v}, temporality_preference: delta}}
  - pull: {exporter: {prometheus: {host: 0.0.0.0, port: 9999, without_units: false}}}
  views:
  - selector: {instrument_name: a.*}
    stream: {aggregation: {drop: {}}}
traces:
  propagators: [tracecontext, b3]
  processors:
  - batch: {exporter: {otlp: {protocol: grpc, endpoint: http://a:4317, headers: [{name: k, value: v}]}}}
  - simple: {exporter: {console: {}}}
  sampler: {parent_based: {root: {trace_id_ratio_based: {ratio: 0.01}}}}
resource: {service.name: mine, service.instance.id: , host: ~}
";
    let config = read(text).unwrap();
    assert_eq!((config.logs.level, config.logs.encoding), (LogLevel::Debug, LogEncoding::Json));
    assert_eq!(config.logs.sampling, Some(LogSampling { initial: 5, ..LogSampling::default() }));
    let otlp =
        config.metrics.readers[0].periodic.as_ref().and_then(|reader| reader.exporter.otlp.clone()).unwrap();
    assert_eq!(otlp.otlp.url().as_deref(), Some("https://127.0.0.1:4318"));
    assert_eq!(otlp.otlp.headers.get("k").map(crate::Secret::reveal), Some("v"));
    assert_eq!(otlp.temporality_preference.as_deref(), Some("delta"));
    let page =
        config.metrics.readers[1].pull.as_ref().and_then(|pull| pull.exporter.prometheus.clone()).unwrap();
    assert!(!page.without_units && page.without_scope_info);
    let attributes: Vec<_> = config.resource.legacy.iter().collect();
    assert_eq!(attributes.len(), 3);
    assert_eq!(config.resource.legacy["service.name"].as_deref(), Some("mine"));
    assert_eq!(config.resource.legacy["service.instance.id"], None);
    let config = read("resource: {attributes: [{name: a, value: 1}]}").unwrap();
    assert_eq!(config.resource.attributes[0].value, serde_json::json!(1));
}

#[test]
fn wrong_telemetry_gets_the_collectors_sentence() {
    let cases: &[(&str, &str)] = &[
        ("unknown: 1", "'service.telemetry' has invalid keys: unknown"),
        ("metrics: {address: localhost:8888}", "has invalid keys: address"),
        ("metrics: {level: high}", "unknown metrics level \"high\""),
        ("logs: {level: verbose}", "unrecognized level: \"verbose\""),
        ("logs: {encoding: xml}", "no encoder registered for name \"xml\""),
        (
            "metrics: {readers: []}",
            "collector telemetry metrics reader should exist when metric level is not none",
        ),
        (
            "metrics: {views: [{}]}",
            "service::telemetry::metrics::views can only be set when service::telemetry::metrics::level is detailed",
        ),
        (
            "resource: {attributes: [{name: a, value: b}], c: d}",
            "resource::attributes cannot be used together with legacy inline resource attributes",
        ),
        (
            "resource: {attributes_list: a=b}",
            "resource::attributes_list is not currently supported, please use resource::attributes",
        ),
        ("resource: {a: 5}", "expected type 'string', got unconvertible type 'int'"),
        ("traces: {propagators: [jaeger], processors: [{}]}", "unsupported trace propagator"),
        ("metrics: {readers: [{pull: {exporter: {prometheus: {port: 70000}}}}]}", "70000 overflows uint16"),
    ];
    for (text, sentence) in cases {
        let errors = read(text).unwrap_err();
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        assert!(errors[0].to_string().contains(sentence), "{text}: {}", errors[0]);
    }
    assert!(read("metrics: {level: none, readers: []}").is_ok());
    assert!(read("traces: {propagators: [jaeger]}").is_ok(), "nobody gets traces");
    let errors = read("metrics: {address: localhost:8888}").unwrap_err();
    assert!(errors[0].help.as_ref().is_some_and(|help| help.contains("readers:")));
}

#[test]
fn headers_are_not_printed_in_either_form() {
    let text = "
metrics:
  readers:
  - periodic: {exporter: {otlp: {protocol: grpc, endpoint: a, headers: {k: hunter2}, headers_list: k=hunter2}}}
";
    let config = read(text).unwrap();
    assert!(!to_yaml(&config, Secrets::Redacted).unwrap().contains("hunter2"));
    assert!(to_yaml(&config, Secrets::Shown).unwrap().contains("headers_list: k=hunter2"));
}
