use serde::{Deserialize, Serialize};

use super::*;
use crate::{ConfigError, ConfigValue, GoDuration, Optional, Path, Validate, load, parse_body};

/// The settings of an exporter as components write them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Exporter {
    #[serde(rename = "+client")]
    client: GrpcClientConfig,
    #[serde(rename = "+timeout")]
    timeout: TimeoutConfig,
    retry_on_failure: RetryConfig,
    sending_queue: Optional<QueueConfig>,
}

impl Default for Exporter {
    fn default() -> Self {
        Self {
            client: GrpcClientConfig {
                compression: Compression::Gzip,
                keepalive: Optional::None,
                write_buffer_size: 512 << 10,
                ..GrpcClientConfig::default()
            },
            timeout: TimeoutConfig::default(),
            retry_on_failure: RetryConfig::default(),
            sending_queue: Optional::Some(QueueConfig::default()),
        }
    }
}

impl Validate for Exporter {
    fn validate(&self, issues: &mut crate::Issues) {
        if self.client.endpoint.is_empty() {
            issues.error("requires a non-empty \"endpoint\"");
        }
        self.client.validate(issues);
        self.timeout.validate(issues);
        issues.section("retry_on_failure", &self.retry_on_failure);
        issues.optional("sending_queue", &self.sending_queue);
    }
}

fn read<T: ConfigValue + Validate>(text: &str) -> Result<T, Vec<ConfigError>> {
    load(&parse_body(text).unwrap(), &Path::component("exporters", "x"))
}

impl Validate for Servers {
    fn validate(&self, issues: &mut crate::Issues) {
        issues.optional("grpc", &self.grpc);
        issues.optional("http", &self.http);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Servers {
    grpc: Optional<GrpcServerConfig>,
    http: Optional<HttpServerConfig>,
}

impl Default for Servers {
    fn default() -> Self {
        Self {
            grpc: Optional::Default(GrpcServerConfig {
                read_buffer_size: 524_288,
                ..GrpcServerConfig::with_endpoint("localhost:4317")
            }),
            http: Optional::Default(HttpServerConfig::with_endpoint("localhost:4318")),
        }
    }
}

#[test]
fn an_exporter_with_inlined_settings_reads_all_of_them() {
    let text = "endpoint: a:1\ncompression: zstd\ntimeout: 9s\ntls: {insecure: true, ca_file: x}\nheaders: {k: v}\n\
                sending_queue: {queue_size: 5, batch: }\nretry_on_failure: {enabled: false}\nkeepalive: {}\n";
    let exporter: Exporter = read(text).unwrap();
    assert_eq!(exporter.client.endpoint, "a:1");
    assert_eq!(exporter.client.compression, Compression::Zstd);
    assert_eq!(
        exporter.client.write_buffer_size,
        512 << 10,
        "a default of the component, not of the shared struct"
    );
    assert_eq!(exporter.timeout.timeout, GoDuration::from_secs(9));
    assert!(exporter.client.tls.insecure && exporter.client.tls.common.ca_file == "x");
    assert!(exporter.client.keepalive.is_on());
    let queue = exporter.sending_queue.as_ref().unwrap();
    assert_eq!((queue.queue_size, queue.num_consumers, queue.batch.is_on()), (5, 10, true));
    assert!(!exporter.retry_on_failure.enabled);
}

#[test]
fn a_batch_counts_what_the_queue_counts_where_anything_is_written_about_it() {
    let cases = [
        ("batch: ", Sizer::Items),
        ("batch: {}", Sizer::Items),
        ("sizer: bytes, batch: ", Sizer::Items),
        ("sizer: requests, batch: ", Sizer::Items),
        ("sizer: bytes, queue_size: 8192, batch: {}", Sizer::Bytes),
        ("sizer: bytes, queue_size: 8192, batch: {flush_timeout: 1s}", Sizer::Bytes),
        ("sizer: bytes, batch: {sizer: items}", Sizer::Items),
    ];
    for (text, sizer) in cases {
        let exporter: Exporter = read(&format!("endpoint: a:1\nsending_queue: {{{text}}}")).expect(text);
        assert_eq!(exporter.sending_queue.as_ref().map(QueueConfig::batch_sizer), Some(sizer), "{text}");
    }
}

#[test]
fn a_server_keeps_the_components_address_when_other_options_are_written() {
    let servers: Servers = read("grpc: {max_recv_msg_size_mib: 8}\nhttp:\n").unwrap();
    let grpc = servers.grpc.as_ref().unwrap();
    assert_eq!((grpc.address.endpoint.as_str(), grpc.max_message_bytes()), ("localhost:4317", 8 << 20));
    assert_eq!(grpc.read_buffer_size, 524_288);
    let http = servers.http.as_ref().unwrap();
    assert_eq!((http.address.endpoint.as_str(), http.max_body_bytes()), ("localhost:4318", 20 << 20));
    assert_eq!(http.write_timeout, GoDuration::from_secs(30));
}

/// Text, and the parts of the messages expected, one per error.
type Case = (&'static str, &'static [&'static str]);

#[test]
fn exporters_are_refused_with_the_collectors_sentences() {
    let cases: &[Case] = &[
        ("{}", &["exporters::x: requires a non-empty \"endpoint\""]),
        ("endpoint: localhost", &["address localhost: missing port in address"]),
        ("endpoint: a:b", &["invalid port \"b\""]),
        ("endpoint: a:1\nblancer_name: x", &["has invalid keys: blancer_name"]),
        ("endpoint: a:1\nbalancer_name: x", &["invalid balancer_name: x"]),
        ("endpoint: a:1\ncompression: gzp", &["unsupported compression type \"gzp\""]),
        ("endpoint: a:1\ncompression: lz4", &["unsupported compression type \"lz4\""]),
        ("endpoint: a:1\ntimeout: -1s", &["exporters::x: 'timeout' must be non-negative"]),
        (
            "endpoint: a:1\ntls: {ca_file: a, ca_pem: b}",
            &["exporters::x::tls: provide either a CA file or the PEM-encoded string, but not both"],
        ),
        (
            "endpoint: a:1\ntls: {cert_file: a}",
            &[
                "TLS configuration must include both certificate and key (CertFile/CertPem and KeyFile/KeyPem)",
            ],
        ),
        (
            "endpoint: a:1\ntls: {min_version: '1.9'}",
            &["invalid TLS min_version: unsupported TLS version: \"1.9\""],
        ),
        (
            "endpoint: a:1\ntls: {min_version: 1.2}",
            &["expected type 'string', got unconvertible type 'float64'"],
        ),
        (
            "endpoint: a:1\ntls: {min_version: '1.3', max_version: '1.2'}",
            &["min_version cannot be greater than max_version"],
        ),
        ("endpoint: a:1\ntls: {max_version: '1.1'}", &["min_version cannot be greater than max_version"]),
        (
            "endpoint: a:1\ntls: {min_version: '1.0', max_version: '1.1'}",
            &["exporters::x::tls: TLS 1.0 and 1.1 are broken and not supported"],
        ),
        (
            "endpoint: a:1\ntls: {tpm: {enabled: true}}",
            &["exporters::x::tls::tpm: keys in a trusted platform"],
        ),
        ("endpoint: a:1\ntls: {cipher_suites: [FOO]}", &["invalid TLS cipher suite: \"FOO\""]),
        (
            "endpoint: a:1\ntls: {cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]}",
            &["none of [\"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA\"] is supported"],
        ),
        (
            "endpoint: a:1\ntls: {curve_preferences: [P521], cipher_suites: [TLS_AES_128_GCM_SHA256]}",
            &["none of [\"P521\"] is supported"],
        ),
        (
            "endpoint: a:1\ntls: {curve_preferences: [P25519]}",
            &["invalid curve type: P25519. Expected values are"],
        ),
        ("endpoint: a:1\ntls: {curve_preferences: [P521, P256]}", &[]),
        ("endpoint: a:1\ntls: {insecure: true, curve_preferences: [P521], tpm: {enabled: true}}", &[]),
        (
            "endpoint: a:1\nmiddlewares: [{id: a/b}]",
            &["failed to resolve middleware \"a/b\": middleware not found"],
        ),
        (
            "endpoint: a:1\nsending_queue: {num_consumers: 0, queue_size: -1}",
            &["`num_consumers` must be positive", "`queue_size` must be positive"],
        ),
        (
            "endpoint: a:1\nsending_queue: {storage: file_storage, wait_for_result: true}",
            &["`wait_for_result` is not supported"],
        ),
        ("endpoint: a:1\nsending_queue: {num_consumers: 1000000000}", &["must be at most 65535"]),
        (
            "endpoint: a:1\nsending_queue: {sizer: bytes, queue_size: 10000, batch: {min_size: 10, max_size: 10001}}",
            &["`max_size` (10001) must be less than or equal to `queue_size` (10000)"],
        ),
        ("endpoint: a:1\nsending_queue: {blocking: true}", &["has invalid keys: blocking"]),
        ("endpoint: a:1\nsending_queue: {sizer: foo}", &["\"foo\""]),
        (
            "endpoint: a:1\nsending_queue: {batch: {sizer: requests}}",
            &[
                "`min_size` must be less than or equal to `queue_size`",
                "`batch` supports only `items` or `bytes` sizer, found \"requests\"",
            ],
        ),
        (
            "endpoint: a:1\nsending_queue: {sizer: items, batch: {}}",
            &["`min_size` must be less than or equal to `queue_size`"],
        ),
        (
            "endpoint: a:1\nsending_queue: {batch: {max_size: 5}}",
            &["`max_size` (5) must be greater or equal to `min_size` (8192)"],
        ),
        (
            "endpoint: a:1\nsending_queue: {batch: {flush_timeout: 0}}",
            &["`flush_timeout` must be positive, found 0"],
        ),
        (
            "endpoint: a:1\nsending_queue: {batch: {partition: {metadata_keys: [a, A]}}}",
            &["duplicate entry in metadata_keys: \"a\""],
        ),
        ("endpoint: a:1\nsending_queue: {enabled: false, queue_size: -1}", &[]),
        (
            "endpoint: a:1\nretry_on_failure: {max_elapsed_time: 1s}",
            &["must not be less than 'initial_interval'", "must not be less than 'max_interval'"],
        ),
        (
            "endpoint: a:1\nretry_on_failure: {randomization_factor: 2}",
            &["'randomization_factor' must be within [0, 1]"],
        ),
        ("endpoint: a:1\nretry_on_failure: {enabled: false, randomization_factor: 2}", &[]),
        (
            "endpoint: a:1\nheaders: [{name: a, value: b}, {name: a, value: c}]",
            &["exporters::x::headers: duplicate keys in map-style list: [a]"],
        ),
        ("endpoint: a:1\nauth: {authenticator: a b}", &["invalid character(s) in type \"a b\""]),
    ];
    for (text, expected) in cases {
        let errors = read::<Exporter>(text).err().unwrap_or_default();
        assert_eq!(errors.len(), expected.len(), "{text}: {errors:#?}");
        for (error, part) in errors.iter().zip(*expected) {
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }
}

#[test]
fn servers_are_refused_with_the_collectors_sentences() {
    let cases: &[Case] = &[
        ("grpc: {transport: foo}", &["'grpc.transport' unsupported transport type \"foo\""]),
        ("grpc: {transport: ''}", &["invalid transport type \"\""]),
        ("http: {transport: udp}", &["a server cannot listen by the transport \"udp\""]),
        (
            "grpc: {middlewares: [{id: a}]}\nhttp: {middlewares: [{id: b}, {id: c}]}",
            &["resolve middleware \"a\"", "resolve middleware \"b\""],
        ),
        (
            "http: {tls: {cert_pem: a, key_pem: b, cipher_suites: [FOO]}}",
            &["exporters::x::http::tls: invalid TLS cipher suite: \"FOO\""],
        ),
        (
            "grpc: {max_recv_msg_size_mib: -1}",
            &["invalid max_recv_msg_size_mib value, must be between 1 and"],
        ),
        ("grpc: {read_buffer_size: -1}", &["invalid read_buffer_size value: -1"]),
        (
            "http: {tls: {}}",
            &[
                "exporters::x::http::tls: TLS configuration must include both certificate and key for server connections",
            ],
        ),
        ("http: {endpont: x}", &["did you mean `endpoint`"]),
        ("http: {auth: {authenticatr: x}}", &["did you mean `authenticator`"]),
        (
            "grpc: {keepalive: {server_parameters: {time: 5}, enforcement_policy: {min_time: x}}}",
            &["time: invalid duration \"x\""],
        ),
        ("http: {cors: {allowed_origins: 'http://a,http://b', max_age: x}}", &["expected type 'int'"]),
    ];
    for (text, expected) in cases {
        let errors = read::<Servers>(text).err().unwrap_or_default();
        assert_eq!(errors.len(), expected.len(), "{text}: {errors:#?}");
        for (error, part) in errors.iter().zip(*expected) {
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }
}

#[test]
fn an_http_client_checks_the_level_of_its_compression() {
    for (compression, level, valid) in [
        ("gzip", 9, true),
        ("gzip", -2, true),
        ("gzip", 10, false),
        ("zstd", 22, true),
        ("snappy", 1, false),
        ("lz4", 0, true),
    ] {
        let text =
            format!("endpoint: http://a\ncompression: {compression}\ncompression_params: {{level: {level}}}");
        let result = read::<HttpClientConfig>(&text);
        assert_eq!(result.is_ok(), valid, "{text}");
        if let Err(errors) = result {
            let sentence =
                format!("unsupported parameters {{Level:{level}}} for compression type \"{compression}\"");
            assert!(errors[0].message.contains(&sentence), "{}", errors[0]);
        }
    }
}
