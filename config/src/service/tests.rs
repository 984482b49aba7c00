use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::*;
use crate::catalog::{KnownType, check};
use crate::{GoDuration, Issues, Offer, Optional, Options, Secret, Secrets, Severity, Validate, net};

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Otlp {
    protocols: Protocols,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Protocols {
    grpc: Optional<net::GrpcServerConfig>,
    http: Optional<net::HttpServerConfig>,
}

impl Default for Protocols {
    fn default() -> Self {
        Self {
            grpc: Optional::Default(net::GrpcServerConfig::with_endpoint("localhost:4317")),
            http: Optional::Default(net::HttpServerConfig::with_endpoint("localhost:4318")),
        }
    }
}

impl Validate for Otlp {
    fn validate(&self, issues: &mut Issues) {
        if !self.protocols.grpc.is_on() && !self.protocols.http.is_on() {
            issues.error("must specify at least one protocol when using the OTLP receiver");
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Batch {
    timeout: GoDuration,
    send_batch_size: u32,
    token: Secret,
}

impl Validate for Batch {
    fn validate(&self, _issues: &mut Issues) {}
}

fn catalog() -> Catalog {
    others().with(Section::Extensions, KnownType::new("health_check", &[]))
}

/// All but extensions.
fn others() -> Catalog {
    Catalog::new()
        .with(
            Section::Receivers,
            KnownType::new("otlp", &[]).with_options(Options::of::<Otlp>()).checked_by(check::<Otlp>),
        )
        .with(Section::Receivers, KnownType::new("nop", &[]))
        .with(
            Section::Processors,
            KnownType::new("batch", &[]).with_options(Options::of::<Batch>()).checked_by(check::<Batch>),
        )
        .with(Section::Exporters, KnownType::new("debug", &[]))
        .with(Section::Exporters, KnownType::new("otlp_grpc", &["otlp"]))
        .with(Section::Exporters, KnownType::new("nop", &[]))
        .with(Section::Connectors, KnownType::new("forward", &[]))
        .with(Section::Connectors, KnownType::new("nop", &[]))
}

fn load_with(text: &str, options: LoadOptions) -> Result<Loaded, Diagnostics> {
    let env: HashMap<String, String> = HashMap::new();
    ServiceConfig::load(&[format!("yaml:{text}")], &[], &env, &catalog(), options)
}

fn errors(text: &str) -> Vec<ConfigError> {
    load_with(text, LoadOptions::default())
        .map(|_| Vec::new())
        .unwrap_or_else(|diagnostics| diagnostics.errors().to_vec())
}

const GOOD: &str = "
receivers: {otlp: {protocols: {grpc: }}, nop/1: }
processors: {batch: , batch/2: {timeout: 1s}}
exporters: {debug: , otlp: , nop/1: }
connectors: {forward: }
extensions: {health_check: }
service:
  extensions: [health_check]
  telemetry: {metrics: {level: detailed}}
  pipelines:
    traces: {receivers: [otlp, otlp], processors: [batch/2, batch], exporters: [debug, forward, debug]}
    traces/2: {receivers: [forward], exporters: [otlp]}
";

#[test]
fn a_configuration_becomes_components_and_pipelines() {
    let loaded = load_with(GOOD, LoadOptions::default()).unwrap();
    let config = &loaded.config;
    let ids = |references: &[Reference]| {
        references.iter().map(|own| own.id.to_string()).collect::<Vec<_>>().join(" ")
    };
    let traces = &config.pipelines[&"traces".parse().unwrap()];
    assert_eq!(ids(&traces.receivers), "otlp", "receivers once");
    assert_eq!(ids(&traces.processors), "batch/2 batch", "processors in order");
    assert_eq!(ids(&traces.exporters), "debug forward");
    assert_eq!(ids(&config.extensions), "health_check");
    assert_eq!(config.components(Section::Receivers).count(), 2);
    let batch = config.component(Section::Processors, &"batch/2".parse().unwrap()).unwrap();
    assert_eq!(batch.body.get(&["timeout"]).and_then(Node::as_str), Some("1s"));
    assert_eq!(loaded.sources.position(batch.span), "yaml::3:23");
    assert_eq!(config.telemetry.metrics.level, crate::telemetry::MetricsLevel::Detailed);
}

/// A change to the good configuration, and the sentences expected, each with the line it stands in.
type Case = (&'static str, &'static str, &'static str, &'static [(u32, ErrorKind, &'static str)]);

#[test]
fn wrong_configurations_get_the_collectors_sentences() {
    use ErrorKind::{Duplicate, Id, Invalid, Reference, Signal, Type, UnknownField, UnknownType};
    let cases: &[Case] = &[
        (
            "unknown section",
            "extensions: {",
            "extnsions: {",
            &[(6, UnknownField, "'otelcol.configSettings' has invalid keys: extnsions")],
        ),
        (
            "unknown option of the service",
            "  telemetry:",
            "  telemtry:",
            &[(9, UnknownField, "'service' has invalid keys: telemtry")],
        ),
        (
            "unknown option of telemetry",
            "metrics: {level",
            "metrics: {address: x, level",
            &[(9, UnknownField, "has invalid keys: address")],
        ),
        (
            "unknown option of a pipeline",
            "exporters: [otlp]",
            "exporter: x, exporters: [otlp]",
            &[(12, UnknownField, "'service.pipelines[traces/2]' has invalid keys: exporter")],
        ),
        (
            "unknown option of a component",
            "timeout: 1s",
            "timeut: 1s",
            &[(3, UnknownField, "'[batch/2]' has invalid keys: timeut")],
        ),
        (
            "value of a component",
            "timeout: 1s",
            "timeout: 1d",
            &[(3, ErrorKind::Value, "'timeout' time: unknown unit \"d\" in duration \"1d\"")],
        ),
        (
            "component without a protocol",
            "{grpc: }",
            "",
            &[(
                2,
                Invalid,
                "receivers::otlp: must specify at least one protocol when using the OTLP receiver",
            )],
        ),
        (
            "unknown type",
            "debug: ,",
            "debgu: ,",
            &[(
                4,
                UnknownType,
                "unknown type: \"debgu\" for id: \"debgu\" (valid values: [debug nop otlp otlp_grpc])",
            )],
        ),
        (
            "unknown option of a pipeline that was meant for a known one",
            "exporters: [otlp]",
            "exporter: [otlp]",
            &[(12, UnknownField, "'service.pipelines[traces/2]' has invalid keys: exporter")],
        ),
        (
            "old type",
            "debug: ,",
            "debug: , logging/2: ,",
            &[(4, UnknownType, "the logging exporter has been deprecated, use the debug exporter instead")],
        ),
        (
            "malformed id",
            "nop/1: }\nprocessors",
            "nop/: }\nprocessors",
            &[(2, Id, "in \"nop/\" id: the part after / should not be empty")],
        ),
        (
            "malformed id, symbol",
            "batch/2: {",
            "batch/+: {",
            &[
                (3, Id, "in \"+\" id: invalid character(s) in name \"+\""),
                (11, Reference, "references processor \"batch/2\" which is not configured"),
            ],
        ),
        (
            "ids equal after trimming",
            "batch: ,",
            "batch: , ' batch ': ,",
            &[(3, Duplicate, "duplicate name \" batch \" after unmarshaling batch")],
        ),
        (
            "unknown signal",
            "traces/2:",
            "trace/2:",
            &[(12, Signal, "in \"trace/2\" id: unknown pipeline signal: \"trace\"")],
        ),
        (
            "reference of a receiver",
            "receivers: [forward]",
            "receivers: [forwrd]",
            &[(
                12,
                Reference,
                "service::pipelines::traces/2: references receiver \"forwrd\" which is not configured",
            )],
        ),
        (
            "reference of an extension",
            "[health_check]",
            "[helth_check]",
            &[(
                8,
                Reference,
                "service::extensions: references extension \"helth_check\" which is not configured",
            )],
        ),
        (
            "reference in the wrong place",
            "processors: [batch/2, batch]",
            "processors: [debug]",
            &[(
                11,
                Reference,
                "service::pipelines::traces: references processor \"debug\" which is not configured",
            )],
        ),
        (
            "processor twice",
            "[batch/2, batch]",
            "[batch, batch/2, batch]",
            &[(11, Invalid, "service::pipelines::traces: references processor \"batch\" multiple times")],
        ),
        (
            "no receiver",
            "receivers: [forward], ",
            "",
            &[(12, Invalid, "service::pipelines::traces/2: must have at least one receiver")],
        ),
        (
            "no exporter",
            ", exporters: [otlp]",
            ", exporters: []",
            &[(12, Invalid, "service::pipelines::traces/2: must have at least one exporter")],
        ),
        (
            "empty pipeline",
            "{receivers: [forward], exporters: [otlp]}",
            "",
            &[
                (12, Invalid, "service::pipelines::traces/2: must have at least one receiver"),
                (12, Invalid, "service::pipelines::traces/2: must have at least one exporter"),
            ],
        ),
        (
            "a string for a list of ids",
            "receivers: [forward]",
            "receivers: 'otlp,forward'",
            &[(
                12,
                Type,
                "'service.pipelines[traces/2].receivers' source data must be an array or slice, got string",
            )],
        ),
        (
            "a number in a list of ids",
            "exporters: [otlp]",
            "exporters: [otlp, 5]",
            &[(12, Type, "'service.pipelines[traces/2].exporters[1]' expected a map or struct, got \"int\"")],
        ),
        (
            "a malformed id in a list",
            "exporters: [otlp]",
            "exporters: [otlp, a b]",
            &[(12, Id, "in \"a b\" id: invalid character(s) in type \"a b\"")],
        ),
        (
            "a list for a section",
            "connectors: {forward: }",
            "connectors: [forward]",
            &[
                (5, Type, "'connectors' expected a map or struct, got \"slice\""),
                (11, Reference, "references exporter \"forward\" which is not configured"),
                (12, Reference, "references receiver \"forward\" which is not configured"),
            ],
        ),
        (
            "connector and exporter of one id",
            "connectors: {forward: }",
            "connectors: {forward: , nop/1: }",
            &[
                (
                    5,
                    Invalid,
                    "connectors::nop/1: ambiguous ID: Found both \"nop/1\" exporter and \"nop/1\" connector. Change one of the components' IDs to eliminate ambiguity (e.g. rename \"nop/1\" connector to \"nop/1/connector\")",
                ),
                (5, Invalid, "connectors::nop/1: ambiguous ID: Found both \"nop/1\" receiver and"),
            ],
        ),
        (
            "profiles without the gate",
            "traces/2:",
            "profiles:",
            &[(
                12,
                Invalid,
                "service::pipelines: pipeline \"profiles\": profiling signal support is at alpha level, gated under the \"service.profilesSupport\" feature gate",
            )],
        ),
    ];
    for (name, from, to, expected) in cases {
        assert!(GOOD.contains(from), "{name}: nothing to change");
        let errors = errors(&GOOD.replace(from, to));
        let found: Vec<_> = errors.iter().map(|error| (error.span.unwrap().line, error.kind)).collect();
        let wanted: Vec<_> = expected.iter().map(|(line, kind, _)| (*line, *kind)).collect();
        assert_eq!(found, wanted, "{name}: {errors:#?}");
        for (error, (_, _, sentence)) in errors.iter().zip(*expected) {
            let line = error.collector_line();
            assert!(line.contains(sentence), "{name}: {line}");
        }
    }
}

#[test]
fn near_words_are_suggested() {
    let cases: &[(&str, &str, &str)] = &[
        ("exporters: {debug: ,", "exporters: {debgu: ,", "debug"),
        ("exporters: {debug: , otlp:", "exporters: {debug: , otlp_grcp:", "otlp_grpc"),
        ("traces/2:", "trace/2:", "traces"),
        ("traces/2:", "metric/2:", "metrics"),
        ("receivers: [forward]", "receivers: [forwrd]", "forward"),
        ("[health_check]", "[healthcheck]", "health_check"),
        ("  pipelines:", "  pipelnes:", "pipelines"),
    ];
    for (from, to, suggestion) in cases {
        let errors = errors(&GOOD.replace(from, to));
        assert_eq!(errors[0].suggestion.as_deref(), Some(*suggestion), "{to}: {:?}", errors[0]);
    }
}

#[test]
fn what_is_missing_is_said_in_the_collectors_order() {
    let none = "service::pipelines: service must have at least one pipeline";
    let cases: &[(&str, &[&str])] = &[
        ("", &["empty configuration file", none]),
        ("{}", &["empty configuration file", none]),
        ("service:", &["empty configuration file", none]),
        ("receivers: {nop: }", &["no exporter configuration specified in config", none]),
        ("exporters: {nop: }", &["no receiver configuration specified in config", none]),
        ("receivers: {nop: }\nexporters: {nop: }", &[none]),
        ("receivers: {nop: }\nexporters: {nop: }\nservice: {pipelines: {}}", &[none]),
    ];
    for (text, sentences) in cases {
        let mut found: Vec<String> =
            errors(text).iter().map(|error| error.core_sentence().to_owned()).collect();
        found.sort();
        assert_eq!(found, *sentences, "{text}");
    }
    let options = LoadOptions { allow_no_pipelines: true, ..LoadOptions::default() };
    assert!(load_with("receivers: {nop: }", options).is_ok());
    assert!(load_with("service:", options).is_err());
    let options = LoadOptions { profiles: true, ..LoadOptions::default() };
    assert!(load_with(&GOOD.replace("traces/2:", "profiles:"), options).is_ok());
}

#[test]
fn a_null_body_of_a_component_is_checked_with_its_defaults() {
    let text = GOOD.replace("otlp: {protocols: {grpc: }}", "otlp: ");
    assert_eq!(
        errors(&text)[0].core_sentence(),
        "must specify at least one protocol when using the OTLP receiver"
    );
}

#[test]
fn unused_components_are_known() {
    let loaded = load_with(GOOD, LoadOptions::default()).unwrap();
    let unused = loaded.config.unused();
    let paths: Vec<String> = unused.iter().map(|note| note.path.to_string()).collect();
    assert_eq!(paths, ["receivers::nop/1", "exporters::nop/1"]);
    assert!(unused.iter().all(|note| note.severity == Severity::Warning && note.span.is_some()));
}

#[test]
fn an_old_name_is_noted_where_it_is_written() {
    let loaded = load_with(GOOD, LoadOptions::default()).unwrap();
    let notes: Vec<(&str, bool)> =
        loaded.notes.iter().map(|note| (note.message.as_str(), note.span.is_some())).collect();
    assert_eq!(notes, [("\"otlp\" alias is deprecated; use \"otlp_grpc\" instead", true)]);
}

#[test]
fn a_lenient_reading_leaves_unknown_options_out_with_a_warning() {
    let text = GOOD.replace("timeout: 1s", "timeout: 1s, bar: 1");
    let options = LoadOptions { lenient: true, ..LoadOptions::default() };
    let loaded = load_with(&text, options).unwrap();
    let paths: Vec<String> = loaded.notes.iter().map(|note| note.path.to_string()).collect();
    assert_eq!(paths, ["processors::batch/2::bar", "exporters::otlp"]);
    let body = &loaded.config.component(Section::Processors, &"batch/2".parse().unwrap()).unwrap().body;
    assert!(body.get(&["bar"]).is_none() && body.get(&["timeout"]).is_some());
    let wrong = load_with(&text.replace("timeout: 1s", "timeout: x"), options).unwrap_err();
    assert_eq!(wrong.errors().iter().map(|error| error.kind).collect::<Vec<_>>(), [ErrorKind::Value]);
}

#[test]
fn the_effective_configuration_has_all_defaults() {
    let loaded = load_with(GOOD, LoadOptions::default()).unwrap();
    let yaml = loaded.effective(&catalog()).unwrap().to_yaml(Secrets::Redacted).unwrap();
    for part in ["send_batch_size: 0\n", "timeout: 1s\n", "endpoint: localhost:4317\n", "level: Normal\n"] {
        assert!(yaml.contains(part), "{part} is not in\n{yaml}");
    }
}

#[test]
fn without_checks_what_does_not_make_sense_is_read_all_the_same() {
    let text = GOOD.replace("protocols: {grpc: }", "").replace("[otlp]", "[oltp]");
    let options = LoadOptions { unchecked: true, ..LoadOptions::default() };
    load_with(&text, options).unwrap();
    let wrong = load_with(&text.replace("timeout: 1s", "timeout: x, bar: 1"), options).unwrap_err();
    let kinds: Vec<ErrorKind> = wrong.errors().iter().map(|error| error.kind).collect();
    assert_eq!(kinds, [ErrorKind::Value, ErrorKind::UnknownField]);
}

#[test]
fn an_extension_that_a_component_names_has_to_run() {
    let text = GOOD.replace(
        "exporters: {debug: , otlp: ",
        "exporters: {debug: , otlp: {sending_queue: {storage: disk}, auth: {authenticator: helth_check}}",
    );
    let found = errors(&text);
    let said: Vec<(&str, Option<&str>, u32)> = found
        .iter()
        .map(|error| (error.core_sentence(), error.suggestion.as_deref(), error.span.unwrap().column))
        .collect();
    let expected = [
        ("no storage client extension found", None, 54),
        (
            "failed to resolve authenticator \"helth_check\": authenticator not found",
            Some("health_check"),
            83,
        ),
    ];
    assert_eq!(said, expected);
    let off = text.replace("{storage: disk}", "{storage: disk, enabled: false}").replace("helth", "health");
    assert!(load_with(&off, LoadOptions::default()).is_ok());
    let not_running = off.replace("extensions: [health_check]", "extensions: []");
    let help = errors(&not_running)[0].help.clone().unwrap();
    assert_eq!(help, "add health_check to service::extensions");
    let off = load_with(&off, LoadOptions::default()).unwrap();
    let notes: Vec<(u32, &str)> = off
        .notes
        .iter()
        .filter(|note| note.kind == ErrorKind::Unused)
        .map(|note| (note.span.unwrap().column, note.message.as_str()))
        .collect();
    let kept = "exporters::otlp::sending_queue::storage: the queue is off, so nothing is kept in \"disk\"";
    assert_eq!(notes, [(54, kept)]);
    let unused = text.replace("exporters: [otlp]}", "exporters: [debug]}");
    assert!(load_with(&unused, LoadOptions::default()).is_ok());
}

#[test]
fn a_queue_on_disk_whose_first_failure_drops_what_it_keeps_is_warned_of() {
    let noted = |queue: &str, retries: &str| {
        let otlp = format!("otlp: {{sending_queue: {queue}, retry_on_failure: {retries}}}");
        let text = GOOD.replace("otlp: ,", &format!("{otlp},")).replace("health_check", "disk");
        let catalog =
            others().with(Section::Extensions, KnownType::new("disk", &[]).offering(&[Offer::Storage]));
        let env: HashMap<String, String> = HashMap::new();
        let uris = [format!("yaml:{text}")];
        let loaded = ServiceConfig::load(&uris, &[], &env, &catalog, LoadOptions::default()).unwrap();
        let unused = loaded.notes.iter().filter(|note| note.kind == ErrorKind::Unused);
        unused.map(|note| (note.span.unwrap().line, note.message.clone())).collect::<Vec<_>>()
    };
    let path = "exporters::otlp::retry_on_failure::enabled";
    let said = format!("{path}: the first failure drops what \"disk\" keeps");
    assert_eq!(noted("{storage: disk}", "{enabled: false}"), [(4, said)]);
    for (queue, retries) in [("{storage: disk}", "{max_elapsed_time: 0}"), ("{}", "{enabled: false}")] {
        assert_eq!(noted(queue, retries), [], "{queue} {retries}");
    }
}

#[test]
fn an_extension_that_a_component_names_has_to_be_of_a_type_that_can_do_it() {
    let text = GOOD
        .replace(
            "exporters: {debug: , otlp: ",
            "exporters: {debug: , otlp: {sending_queue: {storage: health_check}, auth: {authenticator: health_check}}",
        );
    let said = |offers: &'static [Offer]| {
        let health = KnownType::new("health_check", &[]).offering(offers);
        let disk = KnownType::new("disk", &[]).offering(&[Offer::Storage]);
        let catalog = others().with(Section::Extensions, health).with(Section::Extensions, disk);
        let env: HashMap<String, String> = HashMap::new();
        let uris = [format!("yaml:{text}")];
        let loaded = ServiceConfig::load(&uris, &[], &env, &catalog, LoadOptions::default());
        loaded.err().map(|found| found.errors().to_vec()).unwrap_or_default()
    };
    assert_eq!(said(&[Offer::Storage, Offer::Authentication]), []);
    let found = said(&[]);
    assert_eq!(found.len(), 2);
    let (storage, auth) = (&found[0], &found[1]);
    assert_eq!(storage.core_sentence(), "requested extension is not a storage extension");
    assert_eq!(storage.help.as_deref(), Some("a storage is one of the type disk"));
    assert_eq!((storage.span.unwrap().column, auth.span.unwrap().column), (54, 91));
    assert_eq!(said(&[Offer::Storage]).len(), 1);
}

#[test]
fn errors_of_all_sections_are_reported_at_once() {
    let text = GOOD
        .replace("timeout: 1s", "timeout: x, bar: 1")
        .replace("[otlp]", "[oltp]")
        .replace("traces:", "trces:");
    let kinds: Vec<ErrorKind> = errors(&text).iter().map(|error| error.kind).collect();
    assert_eq!(kinds, [ErrorKind::Value, ErrorKind::UnknownField, ErrorKind::Signal, ErrorKind::Reference]);
}

proptest::proptest! {
    #[test]
    fn no_configuration_makes_the_reader_panic(
        text in "((receivers|exporters|service|pipelines|traces|otlp|nop|debug|telemetry|metrics|extensions|- |x/1): ?[0-9a-z~\\[\\]{}.,-]{0,8}\n {0,4}){0,10}"
    ) {
        let _ignored = errors(&text);
    }
}

#[test]
fn the_text_of_very_many_errors_grows_with_their_number_only() {
    let count = 2000;
    let unknown: String = (0..count).map(|number| format!("unknown{number}: 1\n")).collect();
    let errors = errors(&format!("{GOOD}{unknown}"));
    assert_eq!(errors.len(), count);
    let core = errors[0].core.as_str();
    assert!(core.starts_with("'otelcol.configSettings' has invalid keys: unknown0, unknown1, "), "{core}");
    assert!(errors.iter().all(|error| error.core.len() < 1000), "{core}");
}
