//! From the options that components share ([`weir_config::net`]) to settings.
//!
//! What this version cannot do is refused with its name, never ignored, where ignoring it would lose data, mix
//! tenants or weaken security.

use std::io;
use std::path::PathBuf;

use http::{HeaderName, HeaderValue};
use weir_component::{BatchSettings, DeliverySettings, Failure, Host, QueueSettings, RetrySettings, Sizer};
use weir_config::net::{
    BatchConfig, Compression as Algorithm, HttpServerConfig, NetAddress, QueueConfig, RetryConfig,
    TlsClientConfig, TlsConfig, TlsServerConfig, TlsVersion, TransportType,
};
use weir_config::{GoDuration, HeaderMap, Optional, Secret, shown_name, shown_path};

use crate::client::Compression;
use crate::encoding::Encoding;
use crate::http_server::ServerLimits;
use crate::listen::{Listener, Network};
use crate::tls::{
    ClientTls, DEFAULT_INTERVAL, Files, Parameters, ServerTls, TlsVersions, chain, private_key,
    usable_authorities,
};

/// Binds a server's address for the component `id`.
///
/// # Errors
/// That the address is taken or wrong, with the cure.
pub async fn listen(host: &Host, id: &str, address: &NetAddress) -> Result<Listener, Failure> {
    let endpoint = &address.endpoint;
    let network = match address.transport {
        TransportType::Tcp => Network::Tcp,
        TransportType::Tcp4 => Network::Tcp4,
        TransportType::Tcp6 => Network::Tcp6,
        TransportType::Unix => return Listener::owned_unix(host, id, endpoint).await,
        other => {
            return Err(Failure::permanent(format!(
                "listen {endpoint}: a server takes the transports tcp, tcp4, tcp6 and unix, not {other:?}"
            )));
        }
    };
    Listener::owned(host.handover(), id, network, endpoint).await
}

/// Headers or metadata to send; their values do not appear in any debug output.
///
/// # Errors
/// Names the header that cannot be sent.
pub fn headers(headers: &HeaderMap) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let pairs = headers.iter().map(|(name, value)| {
        let parsed: HeaderName =
            name.parse().map_err(|_| format!("headers: {:?} is not a header name", shown_name(name)))?;
        let mut value: HeaderValue = (value.reveal().parse()).map_err(|_| {
            format!("headers: the value of {name:?} has characters that a header cannot have")
        })?;
        value.set_sensitive(true);
        Ok((parsed, value))
    });
    pairs.collect()
}

/// How a client compresses. `level` 0 and -1 mean the default; gzip and zlib below 1 (no compression and Huffman codes
/// alone, which save little CPU time and cost much network) are level 1.
pub fn compression(algorithm: Algorithm, level: i64) -> Compression {
    let encoding = match algorithm {
        Algorithm::Unset | Algorithm::None => Encoding::Identity,
        Algorithm::Gzip => Encoding::Gzip,
        Algorithm::Zlib => Encoding::Zlib,
        Algorithm::Deflate => Encoding::Deflate,
        Algorithm::Zstd => Encoding::Zstd,
        Algorithm::Snappy => Encoding::Snappy,
        Algorithm::SnappyFramed => Encoding::SnappyFramed,
        Algorithm::Lz4 => Encoding::Lz4,
    };
    let level = i32::try_from(level).ok().filter(|level| !matches!(level, 0 | -1));
    Compression { encoding, level }
}

/// The same for gRPC, where snappy is the framing format.
pub fn grpc_compression(algorithm: Algorithm) -> Compression {
    match compression(algorithm, 0) {
        Compression { encoding: Encoding::Snappy, level } => {
            Compression { encoding: Encoding::SnappyFramed, level }
        }
        other => other,
    }
}

/// What the engine puts in front of an exporter.
pub fn delivery(timeout: GoDuration, retry: &RetryConfig, queue: &Optional<QueueConfig>) -> DeliverySettings {
    let retry = retry.enabled.then(|| RetrySettings {
        initial_interval: retry.initial_interval.as_std(),
        randomization_factor: retry.randomization_factor,
        multiplier: retry.multiplier,
        max_interval: retry.max_interval.as_std(),
        max_elapsed_time: retry.max_elapsed_time.as_std(),
    });
    let queue = queue.as_ref().map(queue_settings);
    DeliverySettings { timeout: timeout.as_std(), retry, queue }
}

fn queue_settings(queue: &QueueConfig) -> QueueSettings {
    QueueSettings {
        num_consumers: size(queue.num_consumers),
        queue_size: size(queue.queue_size),
        sizer: sizer(queue.effective_sizer()),
        block_on_overflow: queue.block_on_overflow,
        wait_for_result: queue.wait_for_result,
        storage: queue.storage.as_ref().map(ToString::to_string),
        batch: queue.batch.as_ref().map(|batch| batch_settings(queue, batch)),
        ..QueueSettings::default()
    }
}

fn batch_settings(queue: &QueueConfig, batch: &BatchConfig) -> BatchSettings {
    BatchSettings {
        flush_timeout: batch.flush_timeout.as_std(),
        min_size: size(batch.min_size),
        max_size: size(batch.max_size),
        sizer: sizer(queue.batch_sizer()),
        metadata_keys: batch.partition.metadata_keys.clone(),
    }
}

fn size(value: i64) -> usize {
    usize::try_from(value).unwrap_or(0)
}

fn sizer(sizer: weir_config::net::Sizer) -> Sizer {
    match sizer {
        weir_config::net::Sizer::Requests => Sizer::Requests,
        weir_config::net::Sizer::Items => Sizer::Items,
        weir_config::net::Sizer::Bytes => Sizer::Bytes,
    }
}

/// TLS of a server; `None` when it is off. Reads the files.
///
/// # Errors
/// Names the file that cannot be read or the option that is not supported.
pub fn server_tls(tls: &Optional<TlsServerConfig>) -> Result<Option<ServerTls>, String> {
    let Some(tls) = tls.as_ref() else { return Ok(None) };
    let again = tls.clone();
    let files = files(&tls.common, &tls.client_ca_file, move || read_server_tls(&again));
    Ok(Some(ServerTls { files, ..read_server_tls(tls)? }))
}

fn read_server_tls(tls: &TlsServerConfig) -> Result<ServerTls, String> {
    let certificate = own_certificate(&tls.common)?.unwrap_or_default();
    let key = own_key(&tls.common)?.unwrap_or_default();
    let client_ca = authorities(CLIENT_CA, &tls.client_ca_file, &Secret::default())?;
    Ok(ServerTls { certificate, key, client_ca, parameters: parameters(&tls.common)?, files: None })
}

/// TLS of a client. Reads the files.
///
/// # Errors
/// As [`server_tls`].
pub fn client_tls(tls: &TlsClientConfig) -> Result<ClientTls, String> {
    let again = tls.clone();
    let files = files(&tls.common, "", move || read_client_tls(&again));
    Ok(ClientTls { files, ..read_client_tls(tls)? })
}

/// The files behind settings; `None` when all of it stands in the configuration.
fn files<T: 'static>(
    tls: &TlsConfig,
    client_ca: &str,
    load: impl Fn() -> Result<T, String> + Send + Sync + 'static,
) -> Option<Files<T>> {
    let paths = [tls.cert_file.as_str(), &tls.key_file, &tls.ca_file, client_ca].into_iter();
    let paths: Vec<PathBuf> = paths.filter(|path| !path.is_empty()).map(PathBuf::from).collect();
    let interval = tls.reload_interval.non_zero().unwrap_or(DEFAULT_INTERVAL);
    (!paths.is_empty()).then(|| Files::new(paths, load, interval))
}

fn read_client_tls(tls: &TlsClientConfig) -> Result<ClientTls, String> {
    let (certificate, key) = (own_certificate(&tls.common)?, own_key(&tls.common)?);
    Ok(ClientTls {
        ca: authorities(CA, &tls.common.ca_file, &tls.common.ca_pem)?,
        system_roots: tls.common.include_system_ca_certs_pool,
        identity: certificate.zip(key),
        skip_verify: tls.insecure_skip_verify,
        parameters: if tls.is_off() { Parameters::default() } else { parameters(&tls.common)? },
        files: None,
    })
}

/// The name that a client expects in the server's certificate, when it is not that of the endpoint.
pub fn server_name(tls: &TlsClientConfig) -> Option<String> {
    Some(tls.server_name_override.clone()).filter(|name| !name.is_empty())
}

/// What cannot be loaded, in the Collector's words; `FILE` stands for its path.
const KEY_PAIR: &str = "TLS cert and key: ";
const CA: &str = "CA CertPool File: failed to load cert FILE: ";
const CLIENT_CA: &str = "client CA CertPool: failed to load CA FILE: ";

/// The own certificate; of one that cannot be used the error says where it is from.
fn own_certificate(tls: &TlsConfig) -> Result<Option<Vec<u8>>, String> {
    let Some(pem) = pem(KEY_PAIR, &tls.cert_file, &tls.cert_pem)? else { return Ok(None) };
    chain(&pem).map_err(|e| unusable(KEY_PAIR, source(&tls.cert_file, &tls.cert_pem, "cert_pem"), &e))?;
    Ok(Some(pem))
}

/// The key of [`own_certificate`].
fn own_key(tls: &TlsConfig) -> Result<Option<Vec<u8>>, String> {
    let Some(pem) = pem(KEY_PAIR, &tls.key_file, &tls.key_pem)? else { return Ok(None) };
    private_key(&pem).map_err(|e| unusable(KEY_PAIR, source(&tls.key_file, &tls.key_pem, "key_pem"), &e))?;
    Ok(Some(pem))
}

/// The authorities that can be used.
fn authorities(what: &str, file: &str, text: &Secret) -> Result<Option<Vec<u8>>, String> {
    let Some(pem) = pem(what, file, text)? else { return Ok(None) };
    let source = source(file, text, "ca_pem");
    usable_authorities(&pem, source).map(Some).map_err(|e| unusable(what, source, &e))
}

/// Where something is from, as [`pem`] has it: the option of a text comes before the file.
fn source<'a>(file: &'a str, text: &Secret, option: &'a str) -> &'a str {
    if text.is_empty() { file } else { option }
}

fn unusable(what: &str, source: &str, e: &str) -> String {
    format!("failed to load TLS config: failed to load {}{source}: {e}", what.replace(" FILE", ""))
}

fn pem(what: &str, file: &str, text: &Secret) -> Result<Option<Vec<u8>>, String> {
    if !text.is_empty() {
        return Ok(Some(text.reveal().as_bytes().to_vec()));
    }
    if file.is_empty() {
        return Ok(None);
    }
    match std::fs::read(file) {
        Ok(content) => Ok(Some(content)),
        Err(e) => {
            let file = shown_path(file);
            let what = what.replace("FILE", file);
            Err(format!("failed to load TLS config: failed to load {what}open {file}: {}", words(&e)))
        }
    }
}

/// Of a failed reading, in Go's words.
fn words(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => e.to_string(),
    }
}

fn parameters(tls: &TlsConfig) -> Result<Parameters, String> {
    if tls.tpm.enabled {
        return Err("tls::tpm: keys in a trusted platform module are not supported: use key_file".to_owned());
    }
    let lowest = TlsVersion::parse(&tls.min_version)?.unwrap_or(TlsVersion::V1_2);
    let highest = TlsVersion::parse(&tls.max_version)?.unwrap_or(TlsVersion::V1_3);
    let versions = match (lowest, highest) {
        (_, TlsVersion::V1_0 | TlsVersion::V1_1) => {
            return Err(
                "tls::max_version: TLS 1.0 and 1.1 are broken and not supported: use \"1.2\" or \"1.3\""
                    .to_owned(),
            );
        }
        (TlsVersion::V1_3, _) => TlsVersions::Only13,
        (_, TlsVersion::V1_2) => TlsVersions::Only12,
        _ => TlsVersions::Both,
    };
    Ok(Parameters {
        versions,
        cipher_suites: tls.cipher_suites.clone(),
        curves: tls.curve_preferences.clone(),
    })
}

/// Limits of a server. A time of 0 is that of `safe`, where the Collector has none.
pub fn server_limits(safe: ServerLimits, server: &HttpServerConfig) -> ServerLimits {
    ServerLimits {
        head_timeout: server.read_header_timeout.non_zero().unwrap_or(safe.head_timeout),
        idle_timeout: server.idle_timeout.non_zero().or(safe.idle_timeout),
        max_connection_idle: server.idle_timeout.non_zero().or(safe.max_connection_idle),
        body_timeout: server.read_timeout.non_zero().unwrap_or(safe.body_timeout),
        write_timeout: server.write_timeout.non_zero().unwrap_or(safe.write_timeout),
        answer_timeout: server.write_timeout.non_zero(),
        keep_alive: server.keep_alives_enabled,
        ..safe
    }
}

/// Cross-origin rules; `None` without origins.
pub fn cors(server: &HttpServerConfig) -> Option<crate::server::Cors> {
    let cors = server.cors.as_ref().filter(|cors| !cors.allowed_origins.is_empty())?;
    Some(crate::server::Cors {
        allowed_origins: cors.allowed_origins.clone(),
        allowed_headers: cors.allowed_headers.clone(),
        exposed_headers: cors.exposed_headers.clone(),
        max_age: std::time::Duration::from_secs(u64::try_from(cors.max_age).unwrap_or(0)),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_config::{Issues, Validate};

    use super::*;

    #[test]
    fn the_defaults_of_the_options_are_the_defaults_of_the_engine() {
        let queue = Optional::Some(QueueConfig::default());
        let settings = delivery(GoDuration::from_secs(5), &RetryConfig::default(), &queue);
        assert_eq!(settings, DeliverySettings::default());
    }

    #[test]
    fn switched_off_sections_are_off() {
        let retry = RetryConfig { enabled: false, ..RetryConfig::default() };
        let settings = delivery(GoDuration::ZERO, &retry, &Optional::None);
        assert_eq!((settings.timeout, settings.retry, settings.queue), (Duration::ZERO, None, None));
    }

    #[test]
    fn batches_inherit_the_sizer_of_the_queue() {
        let node = weir_config::parse_body("{sizer: bytes, batch: {min_size: 7}}").expect("YAML");
        let path = weir_config::Path::component("exporters", "x");
        let queue = Optional::Some(weir_config::load::<QueueConfig>(&node, &path).expect("accepted"));
        let queue = delivery(GoDuration::ZERO, &RetryConfig::default(), &queue).queue.expect("on");
        assert_eq!(queue.sizer, Sizer::Bytes);
        assert_eq!(
            queue.batch,
            Some(BatchSettings { min_size: 7, sizer: Sizer::Bytes, ..BatchSettings::default() })
        );
    }

    #[test]
    fn a_queue_knows_its_storage_and_a_batch_its_partition() {
        let mut batch = BatchConfig::default();
        batch.partition.metadata_keys = vec!["tenant".to_owned()];
        let storage = "file_storage/q".parse().ok();
        let queue = QueueConfig { storage, batch: Optional::Some(batch), ..QueueConfig::default() };
        let settings = delivery(GoDuration::ZERO, &RetryConfig::default(), &Optional::Some(queue));
        let queue = settings.queue.expect("on");
        assert_eq!(queue.storage.as_deref(), Some("file_storage/q"));
        assert_eq!(queue.batch.expect("a batch").metadata_keys, ["tenant"]);
    }

    #[test]
    fn a_secret_in_the_place_of_a_name_or_of_a_path_is_not_repeated() {
        for name in ["authorization:Bearer hunter2", "authorization: hunter2", "authorization=hunter2"] {
            let error =
                headers(&[(name, Secret::default())].into_iter().collect()).expect_err("no header name");
            assert!(error.contains("authorization") && !error.contains("hunter2"), "{error}");
        }
        let key = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----";
        let error = pem(KEY_PAIR, key, &Secret::default()).expect_err("no such file");
        assert!(error.contains("open [REDACTED]: ") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn files_of_tls_are_looked_at_every_10_seconds_unless_it_is_said_how_often() {
        let interval = |reload_interval: GoDuration| {
            let tls = TlsConfig { ca_file: "ca.pem".to_owned(), reload_interval, ..TlsConfig::default() };
            files(&tls, "", || Ok(())).expect("a file").interval
        };
        assert_eq!(TlsConfig::default().reload_interval, GoDuration::ZERO);
        assert_eq!([interval(GoDuration::ZERO), DEFAULT_INTERVAL], [Duration::from_secs(10); 2]);
        assert_eq!(interval(GoDuration::from_secs(3600)), Duration::from_secs(3600));
    }

    #[test]
    fn versions_of_tls_are_a_range() {
        let of = |min: &str, max: &str| {
            let tls = TlsConfig {
                min_version: min.to_owned(),
                max_version: max.to_owned(),
                ..TlsConfig::default()
            };
            parameters(&tls).map(|p| p.versions)
        };
        assert_eq!(of("", ""), Ok(TlsVersions::Both));
        assert_eq!(of("1.0", "1.2"), Ok(TlsVersions::Only12));
        assert_eq!(of("1.3", ""), Ok(TlsVersions::Only13));
        assert!(of("1.0", "1.1").is_err());
    }

    #[test]
    fn of_suites_and_curves_validation_takes_what_tls_takes() {
        let suites = [
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
            "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
            "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
            "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
            "TLS_AES_128_GCM_SHA256",
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
            "TLS_RSA_WITH_RC4_128_SHA",
        ];
        let curves = ["P256", "P384", "P521", "X25519", "X25519MLKEM768", "P25519"];
        let (mut taken, mut refused) = (0, 0);
        let mut check = |common: TlsConfig| {
            let tls = TlsClientConfig { common, insecure_skip_verify: true, ..TlsClientConfig::default() };
            let mut issues = Issues::default();
            tls.validate(&mut issues);
            let made = client_tls(&tls).and_then(|tls| tls.config(&[])).map(drop);
            assert_eq!(
                issues.messages().is_empty(),
                made.is_ok(),
                "{made:?} {:?} {tls:?}",
                issues.messages()
            );
            *if made.is_ok() { &mut taken } else { &mut refused } += 1;
        };
        for (min_version, max_version) in [("", ""), ("1.3", ""), ("", "1.2"), ("1.0", "1.1"), ("1.0", "1.3")]
        {
            let versions = || TlsConfig {
                min_version: min_version.to_owned(),
                max_version: max_version.to_owned(),
                ..TlsConfig::default()
            };
            for (first, second) in suites.iter().flat_map(|a| suites.map(|b| (*a, b))) {
                let cipher_suites = vec![first.to_owned(), second.to_owned()];
                check(TlsConfig { cipher_suites, ..versions() });
            }
            for (first, second) in curves.iter().flat_map(|a| curves.map(|b| (*a, b))) {
                check(TlsConfig {
                    curve_preferences: vec![first.to_owned(), second.to_owned()],
                    ..versions()
                });
            }
        }
        assert!(taken > 100 && refused > 100, "{taken} {refused}");
    }

    #[test]
    fn an_idle_timeout_is_for_both_versions_of_http() {
        let safe = ServerLimits::default();
        let of = |idle_timeout| {
            let server = HttpServerConfig { idle_timeout, ..HttpServerConfig::default() };
            let limits = server_limits(safe.clone(), &server);
            (limits.idle_timeout, limits.max_connection_idle)
        };
        assert_eq!(of(GoDuration::ZERO), (safe.idle_timeout, safe.max_connection_idle));
        let set = Some(Duration::from_secs(7));
        assert_eq!(of(GoDuration::from_secs(7)), (set, set));
    }

    #[test]
    fn a_write_timeout_bounds_the_whole_answer_and_without_one_peers_have_to_take_something() {
        let safe = ServerLimits::default();
        let of = |write_timeout| {
            let server = HttpServerConfig { write_timeout, ..HttpServerConfig::default() };
            let limits = server_limits(safe.clone(), &server);
            (limits.write_timeout, limits.answer_timeout)
        };
        assert_eq!(of(GoDuration::ZERO), (safe.write_timeout, None));
        let set = Duration::from_secs(7);
        assert_eq!(of(GoDuration::from_secs(7)), (set, Some(set)));
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_file_and_the_cure() {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.to_str().expect("text").to_owned()
        };
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(Vec::new()).expect("params");
        let good = params.self_signed(&key).expect("a certificate").pem();
        let tls = |cert_file: &str, key_file: &str, ca_file: &str| {
            let [cert_file, key_file, ca_file] = [cert_file, key_file, ca_file].map(str::to_owned);
            let common = TlsConfig { cert_file, key_file, ca_file, ..TlsConfig::default() };
            client_tls(&TlsClientConfig { common, ..TlsClientConfig::default() }).err()
        };
        let (cert, plain) = (put("cert", &good), put("key", &key.serialize_pem()));
        let half = put("half", &good[..good.len() / 2]);
        assert_eq!(tls(&cert, &plain, &cert), None);
        let encrypted = [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END EC PRIVATE KEY-----\n",
        ];
        for text in encrypted {
            let locked = put("locked", text);
            let refused = tls(&cert, &locked, "").expect("refused");
            assert!(refused.contains(&format!("{locked}: private key: it is encrypted")), "{refused}");
            assert!(refused.contains("`openssl pkey -in"), "{refused}");
        }
        let refused = tls(&half, &plain, "").expect("refused");
        assert!(refused.contains(&format!("{half}: certificate: missing section end")), "{refused}");
        let refused = tls("", "", &half).expect("refused");
        assert!(
            refused.contains(&format!("{half}: no certificate can be used: certificate 1:")),
            "{refused}"
        );
    }

    #[test]
    fn missing_files_are_named() {
        let mut tls = TlsServerConfig::default();
        tls.common.cert_file = "/no/such/file.pem".to_owned();
        let refused = server_tls(&Optional::Some(tls)).err().expect("refused");
        let go = "failed to load TLS config: failed to load TLS cert and key: open /no/such/file.pem: no such file";
        assert!(refused.starts_with(go), "{refused}");
    }
}
