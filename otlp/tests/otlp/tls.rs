//! TLS with certificates made for the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Response;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use weir_config::net::{TlsClientConfig, TlsConfig, TlsServerConfig};
use weir_config::{GoDuration, Optional};
use weir_otlp::client::{GrpcClient, GrpcSettings, HttpClient, HttpSettings, Target};
use weir_otlp::config::{client_tls, server_tls};
use weir_otlp::http_server::ServerLimits;
use weir_otlp::server::{Protocols, ServerSettings};
use weir_otlp::tls::{ClientTls, Parameters, ServerTls, TlsAcceptor, TlsConnector, TlsVersions};
use weir_pdata::Signal;

use crate::limits::Log;
use crate::support::{Server, sample, start, within};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: Vec<u8>,
}

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("key");
    let pem = params.self_signed(&key).expect("certificate").pem().into_bytes();
    Authority { issuer: Issuer::new(params, key), pem }
}

impl Authority {
    fn certificate(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().expect("key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("params");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())
    }
}

async fn server(authority: &Authority, client_ca: Option<Vec<u8>>, versions: TlsVersions) -> Server {
    let parameters = Parameters { versions, ..Parameters::default() };
    let (certificate, key) = authority.certificate("localhost");
    let tls = ServerTls { certificate, key, client_ca, parameters, files: None }
        .acceptor(&["h2", "http/1.1"])
        .expect("acceptor");
    start(ServerSettings { tls: Some(tls), ..ServerSettings::default() }).await
}

/// A server of that name that keeps metadata, and what a client needs to trust it.
pub(crate) async fn secured(name: &str) -> (Server, TlsConnector) {
    secured_with(name, ServerLimits::default()).await
}

pub(crate) async fn secured_with(name: &str, limits: ServerLimits) -> (Server, TlsConnector) {
    secured_on(Protocols::Both, name, limits).await
}

pub(crate) async fn secured_on(
    protocols: Protocols,
    name: &str,
    limits: ServerLimits,
) -> (Server, TlsConnector) {
    let (acceptor, client) = identity(name);
    let tls = Some(acceptor);
    let server =
        start(ServerSettings { protocols, tls, limits, include_metadata: true, ..ServerSettings::default() })
            .await;
    (server, client.connector(&["h2", "http/1.1"]).expect("connector"))
}

/// What a server of that name needs, and what a client needs to trust it.
pub(crate) fn identity(name: &str) -> (TlsAcceptor, ClientTls) {
    let ca = authority();
    let (certificate, key) = ca.certificate(name);
    let tls = ServerTls { certificate, key, client_ca: None, parameters: Parameters::default(), files: None };
    let client = ClientTls { ca: Some(ca.pem), ..ClientTls::default() };
    (tls.acceptor(&["h2", "http/1.1"]).expect("acceptor"), client)
}

fn grpc(server: &Server, tls: &ClientTls) -> GrpcClient {
    let target = Target::Tcp("localhost".to_owned(), server.address.port());
    let tls = Some(tls.connector(&["h2"]).expect("connector"));
    GrpcClient::new(GrpcSettings { tls, ..GrpcSettings::new(target) }).expect("client")
}

fn http(server: &Server, tls: &ClientTls, alpn: &'static [&'static str]) -> HttpClient {
    let url = format!("https://localhost:{}/v1/logs", server.address.port());
    let tls = Some(tls.connector(alpn).expect("connector"));
    HttpClient::new(HttpSettings { tls, ..HttpSettings::new(&url) }).expect("client")
}

#[tokio::test]
async fn both_protocols_work_over_both_versions_of_tls() {
    let ca = authority();
    let tls = ClientTls { ca: Some(ca.pem.clone()), ..ClientTls::default() };
    for versions in [TlsVersions::Only12, TlsVersions::Only13] {
        let server = server(&ca, None, versions).await;
        within(grpc(&server, &tls).export(&sample(Signal::Logs, 1))).await.expect("accepted");
        for alpn in [&["h2", "http/1.1"][..], &["http/1.1"]] {
            within(http(&server, &tls, alpn).export(&sample(Signal::Logs, 1))).await.expect("accepted");
        }
        assert_eq!(server.pipeline.payloads().len(), 3);
    }
}

/// A server of HTTP/2 that counts its connections and says nothing on the first one once that has had an answer.
async fn deaf_after_one_answer(acceptor: TlsAcceptor) -> (u16, Arc<AtomicUsize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("address").port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut tasks = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, number) = (acceptor.clone(), counted.fetch_add(1, Ordering::Relaxed));
            tasks.spawn(async move {
                let stream = acceptor.accept(stream).await.expect("secured");
                let mut connection = h2::server::handshake(stream).await.expect("greeted");
                let mut answers = 0;
                while let Some(Ok((_request, mut respond))) = connection.accept().await {
                    if number == 0 && answers == 1 {
                        std::future::pending::<()>().await;
                    }
                    respond.send_response(Response::new(()), true).expect("answered");
                    answers += 1;
                }
            });
        }
    });
    (port, connections, server)
}

#[tokio::test]
async fn a_connection_of_http2_that_leaves_two_requests_unanswered_is_replaced() {
    let (acceptor, tls) = identity("localhost");
    let (port, connections, _server) = deaf_after_one_answer(acceptor).await;
    let tls = Some(tls.connector(&["h2", "http/1.1"]).expect("connector"));
    let settings = HttpSettings { tls, ..HttpSettings::new(&format!("https://localhost:{port}/v1/logs")) };
    let client = HttpClient::new(settings).expect("client");
    let payload = sample(Signal::Logs, 1);
    within(client.export(&payload)).await.expect("answered");
    for _ in 0..2 {
        let attempt = client.export(&payload);
        assert!(tokio::time::timeout(Duration::from_millis(200), attempt).await.is_err(), "it is deaf");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    for _ in 0..2 {
        within(client.export(&payload)).await.expect("answered");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_unknown_authority_is_refused_unless_verification_is_off() {
    let server = server(&authority(), None, TlsVersions::Both).await;
    let stranger = ClientTls { ca: Some(authority().pem), ..ClientTls::default() };
    let failure =
        within(grpc(&server, &stranger).export(&sample(Signal::Logs, 1))).await.expect_err("refused");
    assert!(failure.is_retryable() && failure.message().contains("certificate"), "{failure}");
    let trusting = ClientTls { skip_verify: true, ..ClientTls::default() };
    within(grpc(&server, &trusting).export(&sample(Signal::Logs, 1))).await.expect("accepted");
}

#[tokio::test]
async fn clients_without_a_certificate_are_refused_when_one_is_demanded() {
    let ca = authority();
    let server = server(&ca, Some(ca.pem.clone()), TlsVersions::Both).await;
    let without = ClientTls { ca: Some(ca.pem.clone()), ..ClientTls::default() };
    within(grpc(&server, &without).export(&sample(Signal::Logs, 1))).await.expect_err("refused");
    let with = ClientTls { identity: Some(ca.certificate("client")), ..without };
    within(grpc(&server, &with).export(&sample(Signal::Logs, 1))).await.expect("accepted");
}

/// A certificate of its own authority and its key.
fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate().expect("key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
    // As `openssl req -x509` has it.
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    let certificate = params.self_signed(&key).expect("certificate");
    (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())
}

/// How an export ends when both sides show this certificate and trust nothing but `trusted`.
async fn mutual(
    (certificate, key): (Vec<u8>, Vec<u8>),
    trusted: Vec<u8>,
    versions: TlsVersions,
) -> Result<(), String> {
    let parameters = Parameters { versions, ..Parameters::default() };
    let server = ServerTls {
        certificate: certificate.clone(),
        key: key.clone(),
        client_ca: Some(trusted.clone()),
        parameters,
        files: None,
    };
    let tls = Some(server.acceptor(&["h2"]).expect("acceptor"));
    let server = start(ServerSettings { tls, ..ServerSettings::default() }).await;
    let identity = Some((certificate, key));
    let client = ClientTls { ca: Some(trusted), identity, ..ClientTls::default() };
    let answer = within(grpc(&server, &client).export(&sample(Signal::Logs, 1))).await;
    answer.map(drop).map_err(|failure| failure.to_string())
}

#[tokio::test]
async fn a_peer_whose_own_certificate_is_trusted_is_taken_and_nobody_else_of_its_kind() {
    let its_own = self_signed(|_| {});
    let pinned = authority().certificate("localhost");
    for versions in [TlsVersions::Only12, TlsVersions::Only13] {
        for identity in [&its_own, &pinned] {
            mutual(identity.clone(), identity.0.clone(), versions).await.expect("accepted");
        }
    }
    let both = [its_own.0, pinned.0].concat();
    let refused = mutual(self_signed(|_| {}), both.clone(), TlsVersions::Both).await.expect_err("another");
    assert!(refused.contains("add this certificate itself to `ca_file`"), "{refused}");
    let stranger = self_signed(|params| {
        params.is_ca = IsCa::NoCa;
        params.distinguished_name.push(DnType::CommonName, "stranger");
    });
    let refused = mutual(stranger, both, TlsVersions::Both).await.expect_err("another");
    assert!(refused.contains("add the authority, or this certificate itself"), "{refused}");
}

#[tokio::test]
async fn a_trusted_certificate_is_of_no_use_without_its_key() {
    let (trusted, _) = self_signed(|_| {});
    let chain = vec![CertificateDer::from_pem_slice(&trusted).expect("a certificate")];
    let stolen = PrivateKeyDer::from_pem_slice(&self_signed(|_| {}).1).expect("a key");
    let key = rustls::crypto::ring::sign::any_supported_type(&stolen).expect("of a kind that is known");
    let shown = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&[version]).expect("a version");
        let server = builder.with_no_client_auth().with_cert_resolver(Arc::<SingleCertAndKey>::clone(&shown));
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let client = ClientTls { ca: Some(trusted.clone()), ..ClientTls::default() };
        let client = client.connector(&[]).expect("connector");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
        let name = "localhost".try_into().expect("a name");
        let (_, connected) =
            within(async { tokio::join!(acceptor.accept(theirs), client.connect(name, ours)) }).await;
        let refused = connected.expect_err("refused").to_string();
        assert!(refused.contains("BadSignature"), "{refused}");
    }
}

#[tokio::test]
async fn a_trusted_certificate_of_a_peer_has_to_be_of_its_time_purpose_and_name() {
    type Change = fn(&mut CertificateParams);
    let cases: [(Change, &str); 5] = [
        (|params| params.subject_alt_names.clear(), "issue it again with `subjectAltName = DNS:NAME`"),
        (|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1), "expired"),
        (|params| params.not_before = rcgen::date_time_ymd(2200, 1, 1), "not valid yet"),
        (
            |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning],
            "issue it again with `extendedKeyUsage = serverAuth`",
        ),
        (
            |params| params.subject_alt_names = vec![SanType::DnsName("other".try_into().expect("a name"))],
            "not valid for name",
        ),
    ];
    for (change, expected) in cases {
        let identity = self_signed(change);
        let refused = mutual(identity.clone(), identity.0, TlsVersions::Both).await.expect_err(expected);
        assert!(refused.contains(expected), "{refused}");
    }
    let any = self_signed(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]);
    mutual(any.clone(), any.0, TlsVersions::Both).await.expect("any purpose");
}

#[tokio::test]
async fn a_certificate_of_an_authority_that_another_has_signed_is_refused_with_the_cure() {
    let ca = authority();
    let key = KeyPair::generate().expect("key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.signed_by(&key, &ca.issuer).expect("signed").pem().into_bytes();
    let identity = (certificate, key.serialize_pem().into_bytes());
    let refused = mutual(identity, ca.pem, TlsVersions::Both).await.expect_err("refused");
    assert!(refused.contains("`basicConstraints = CA:FALSE`"), "{refused}");
}

/// Sends that to a port for TLS, and reads until it is closed.
async fn knock(server: &Server, bytes: &[u8]) {
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    stream.write_all(bytes).await.expect("written");
    stream.shutdown().await.expect("said that this is all");
    drop(within(stream.read_to_end(&mut Vec::new())).await);
}

async fn says(log: &Log, what: &str) -> String {
    let said = async {
        while !log.0.lock().expect("lock").contains(what) {
            tokio::task::yield_now().await;
        }
    };
    within(said).await;
    std::mem::take(&mut *log.0.lock().expect("lock"))
}

#[tokio::test]
async fn the_log_says_why_a_handshake_failed_once_a_minute_and_nothing_of_who_only_looked() {
    let (log, _logging) = Log::listen();
    let ca = authority();
    for protocols in [Protocols::Grpc, Protocols::Http] {
        let (server, _) = secured_on(protocols, "localhost", ServerLimits::default()).await;
        knock(&server, b"").await;
        knock(&server, b"GET / HTTP/1.1\r\n\r\n").await;
        let said = says(&log, "a TLS handshake failed").await;
        let endpoint = format!("endpoint=\"{}\"", server.address);
        assert!(said.contains(&endpoint) && said.contains("address=\"127.0.0.1:"), "{said}");
        assert!(said.contains("failed=1 ") && said.contains("does not speak TLS"), "{said}");
        knock(&server, b"GET / HTTP/1.1\r\n\r\n").await;
        assert_eq!(*log.0.lock().expect("lock"), "", "once a minute");
        let limits = ServerLimits { handshake_timeout: Duration::from_millis(1), ..ServerLimits::default() };
        let (server, _) = secured_on(protocols, "localhost", limits).await;
        let _silent = TcpStream::connect(server.address).await.expect("connected");
        says(&log, "it was not done within 1ms").await;
    }
    let server = server(&ca, Some(ca.pem.clone()), TlsVersions::Both).await;
    let without = ClientTls { ca: Some(ca.pem.clone()), ..ClientTls::default() };
    assert!(!connects(&server, &without).await);
    says(&log, "the peer has shown no certificate, which `client_ca_file` demands").await;
}

#[tokio::test]
async fn a_server_in_clear_text_is_named_as_such() {
    let server = start(ServerSettings::default()).await;
    let tls = ClientTls { ca: Some(authority().pem), ..ClientTls::default() };
    let failure = within(grpc(&server, &tls).export(&sample(Signal::Logs, 1))).await.expect_err("refused");
    assert!(failure.message().contains("insecure: true"), "{failure}");
}

#[test]
fn damaged_certificates_and_keys_are_named() {
    let ca = authority();
    let (certificate, key) = ca.certificate("localhost");
    let with = |certificate: &[u8], key: &[u8]| {
        let tls = ServerTls {
            certificate: certificate.into(),
            key: key.into(),
            client_ca: None,
            parameters: Parameters::default(),
            files: None,
        };
        tls.acceptor(&["h2"]).err()
    };
    assert_eq!(with(&certificate, &key), None);
    assert!(with(b"", &key).is_some_and(|e| e.starts_with("certificate:")));
    assert!(with(&certificate, b"").is_some_and(|e| e.starts_with("private key:")));
    assert!(with(&certificate, &ca.certificate("x").1).is_some_and(|e| e.contains("is not that of")));
    let of_no_kind = with(&certificate, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----");
    assert!(of_no_kind.as_ref().is_some_and(|e| e.contains("RSA of 2048 to 4096 bits")), "{of_no_kind:?}");
    assert!(ClientTls { ca: Some(b"x".to_vec()), ..ClientTls::default() }.connector(&[]).is_err());
}

#[tokio::test]
async fn cipher_suites_and_curves_are_a_choice_among_the_safe_ones() {
    let ca = authority();
    let server = server(&ca, None, TlsVersions::Only12).await;
    let export = async |suites: &[&str], curves: &[&str]| {
        let parameters = Parameters {
            cipher_suites: suites.iter().map(ToString::to_string).collect(),
            curves: curves.iter().map(ToString::to_string).collect(),
            ..Parameters::default()
        };
        let tls = ClientTls { ca: Some(ca.pem.clone()), parameters, ..ClientTls::default() };
        tls.connector(&["h2"]).map(drop)?;
        within(grpc(&server, &tls).export(&sample(Signal::Logs, 1))).await.map_err(|e| e.to_string())
    };
    export(&["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"], &["P384", "P521"]).await.expect("accepted");
    let of_13 = ["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"];
    let beside = [&of_13[..], &["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]].concat();
    export(&beside, &[]).await.expect("suites of TLS 1.3 do no harm");
    export(&of_13, &[]).await.expect_err("alone they leave TLS 1.2 none");
    // The certificate of the server has an elliptic key.
    export(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"], &[]).await.expect_err("no common suite");
    assert!(
        export(&["TLS_RSA_WITH_RC4_128_SHA"], &[])
            .await
            .expect_err("refused")
            .contains("invalid TLS cipher suite")
    );
    let older = export(&["TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"], &[]).await.expect_err("refused");
    assert!(older.contains("cipher_suites: none of"), "{older}");
    assert!(export(&[], &["P25519"]).await.expect_err("refused").contains("invalid curve type: P25519"));
    assert!(export(&[], &["P521"]).await.expect_err("refused").contains("curve_preferences"));
}

/// A folder with a certificate and a key that can be replaced at once.
struct Identity(tempfile::TempDir);

impl Identity {
    fn new() -> Identity {
        Identity(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("text").to_owned()
    }

    /// As certificates are renewed: a new file takes the place of the old.
    fn put(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path("new"), content).expect("written");
        std::fs::rename(self.path("new"), self.path(name)).expect("renamed");
    }

    fn put_pair(&self, (certificate, key): (Vec<u8>, Vec<u8>)) {
        self.put("cert", &certificate);
        self.put("key", &key);
    }

    /// Files that are looked at in every handshake.
    fn config(&self) -> TlsConfig {
        TlsConfig {
            cert_file: self.path("cert"),
            key_file: self.path("key"),
            reload_interval: GoDuration::from_nanos(1),
            ..TlsConfig::default()
        }
    }
}

/// Whether a new connection is accepted.
async fn connects(server: &Server, tls: &ClientTls) -> bool {
    within(grpc(server, tls).export(&sample(Signal::Logs, 1))).await.is_ok()
}

#[tokio::test]
async fn a_server_takes_up_changed_files_with_the_next_connection_and_keeps_the_old_over_damaged_ones() {
    let (first, second, files) = (authority(), authority(), Identity::new());
    files.put_pair(first.certificate("localhost"));
    let config = TlsServerConfig { common: files.config(), ..TlsServerConfig::default() };
    let tls =
        server_tls(&Optional::Some(config)).expect("read").expect("on").acceptor(&["h2"]).expect("usable");
    let server = start(ServerSettings { tls: Some(tls), ..ServerSettings::default() }).await;
    let trusting = |ca: &Authority| ClientTls { ca: Some(ca.pem.clone()), ..ClientTls::default() };
    let old = grpc(&server, &trusting(&first));
    within(old.export(&sample(Signal::Logs, 1))).await.expect("accepted");
    files.put_pair(second.certificate("localhost"));
    assert!(connects(&server, &trusting(&second)).await);
    assert!(!connects(&server, &trusting(&first)).await);
    files.put("cert", b"nonsense");
    assert!(connects(&server, &trusting(&second)).await);
    within(old.export(&sample(Signal::Logs, 1))).await.expect("its connection goes on");
}

#[tokio::test]
async fn authorities_of_clients_and_identities_of_clients_are_taken_up_too() {
    let (ca, first, second) = (authority(), authority(), authority());
    let (files, theirs) = (Identity::new(), Identity::new());
    files.put_pair(ca.certificate("localhost"));
    files.put("clients", &first.pem);
    let client_ca_file = files.path("clients");
    let config = TlsServerConfig { common: files.config(), client_ca_file, client_ca_file_reload: true };
    let tls =
        server_tls(&Optional::Some(config)).expect("read").expect("on").acceptor(&["h2"]).expect("usable");
    let server = start(ServerSettings { tls: Some(tls), ..ServerSettings::default() }).await;
    theirs.put_pair(first.certificate("client"));
    theirs.put("ca", &ca.pem);
    let common = TlsConfig { ca_file: theirs.path("ca"), ..theirs.config() };
    let tls = client_tls(&TlsClientConfig { common, ..TlsClientConfig::default() }).expect("read");
    // One connector throughout, which follows its files; each client makes a new connection.
    let tls = tls.connector(&["h2"]).expect("usable");
    let connects = async || {
        let target = Target::Tcp("localhost".to_owned(), server.address.port());
        let settings = GrpcSettings { tls: Some(tls.clone()), ..GrpcSettings::new(target) };
        within(GrpcClient::new(settings).expect("client").export(&sample(Signal::Logs, 1))).await.is_ok()
    };
    assert!(connects().await);
    files.put("clients", &second.pem);
    assert!(!connects().await);
    theirs.put_pair(second.certificate("client"));
    assert!(connects().await);
}
