//! TLS with certificates made for the test.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use weir_otlp::client::{GrpcClient, GrpcSettings, HttpClient, HttpSettings, Target};
use weir_otlp::server::ServerSettings;
use weir_otlp::tls::{ClientTls, Parameters, ServerTls, TlsVersions};
use weir_pdata::Signal;

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
    let tls = ServerTls { certificate, key, client_ca, parameters }
        .acceptor(&["h2", "http/1.1"])
        .expect("acceptor");
    start(ServerSettings { tls: Some(tls), ..ServerSettings::default() }).await
}

fn grpc(server: &Server, tls: &ClientTls) -> GrpcClient {
    let target = Target::Tcp("localhost".to_owned(), server.address.port());
    let tls = Some(tls.connector(&["h2"]).expect("connector"));
    GrpcClient::new(GrpcSettings { tls, ..GrpcSettings::new(target) }).expect("client")
}

fn http(server: &Server, tls: &ClientTls, alpn: &[&str]) -> HttpClient {
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
        };
        tls.acceptor(&["h2"]).err()
    };
    assert_eq!(with(&certificate, &key), None);
    assert!(with(b"", &key).is_some_and(|e| e.starts_with("certificate:")));
    assert!(with(&certificate, b"").is_some_and(|e| e.starts_with("private key:")));
    assert!(with(&certificate, &ca.certificate("x").1).is_some_and(|e| e.contains("certificate and key")));
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
    // The certificate of the server has an elliptic key.
    export(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"], &[]).await.expect_err("no common suite");
    assert!(export(&["TLS_RSA_WITH_RC4_128_SHA"], &[]).await.expect_err("refused").contains("cipher_suites"));
    assert!(export(&[], &["P521"]).await.expect_err("refused").contains("curve_preferences"));
}
