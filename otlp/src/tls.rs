//! TLS by rustls with ring. Certificates and keys are PEM; TLS 1.2 and 1.3. Changed files are taken up by the next
//! handshake.

mod broken;
mod bundle;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod check;
mod refusal;
mod renew;
mod trusted;

use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{client, server};

pub(crate) use bundle::usable as usable_authorities;
use refusal::{Peer, explained};
use renew::Renewed;
pub use renew::{DEFAULT_INTERVAL, Files, look_again};
use trusted::{Clients, Servers, names_a_host};
use weir_config::net::{CURVES, OLDER_SUITES, SUITES_OF_13};

/// Accepts connections of clients. Cheap to clone.
#[derive(Clone)]
pub struct TlsAcceptor(Arc<Renewed<ServerConfig>>);

/// Secures connections to servers. Cheap to clone.
#[derive(Clone)]
pub struct TlsConnector(Arc<Renewed<ClientConfig>>);

impl TlsAcceptor {
    /// The handshake of a server.
    ///
    /// # Errors
    /// What the peer did wrong, or that the connection ended.
    pub async fn accept<S>(&self, stream: S) -> io::Result<server::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let accepted = tokio_rustls::TlsAcceptor::from(self.0.current().await).accept(stream).await;
        accepted.map_err(|e| explained(Peer::Client, e))
    }
}

impl TlsConnector {
    /// The handshake of a client that expects the peer to be `name`.
    ///
    /// # Errors
    /// That the peer is somebody else or does not speak TLS, or that the connection ended.
    pub async fn connect<S>(&self, name: ServerName<'static>, stream: S) -> io::Result<client::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let connected = tokio_rustls::TlsConnector::from(self.0.current().await).connect(name, stream).await;
        connected.map_err(|e| explained(Peer::Server, e))
    }
}

/// What may be negotiated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters {
    /// Versions.
    pub versions: TlsVersions,
    /// Names of the cipher suites for TLS 1.2, such as `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`. Empty: a safe list.
    pub cipher_suites: Vec<String>,
    /// `X25519`, `P256`, `P384`, in order of preference. Empty: all three.
    pub curves: Vec<String>,
}

/// Versions that may be spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersions {
    /// TLS 1.2 and 1.3.
    #[default]
    Both,
    /// TLS 1.2 only.
    Only12,
    /// TLS 1.3 only.
    Only13,
}

/// TLS of a server.
#[derive(Clone)]
pub struct ServerTls {
    /// Its certificate and the chain behind it, PEM.
    pub certificate: Vec<u8>,
    /// Its private key, PEM.
    pub key: Vec<u8>,
    /// Authorities, PEM: clients must show a certificate of one of them. Default: no client certificates.
    pub client_ca: Option<Vec<u8>>,
    /// What may be negotiated.
    pub parameters: Parameters,
    /// Where all this comes from. Default: it never changes.
    pub files: Option<Files<ServerTls>>,
}

/// TLS of a client.
#[derive(Clone, Default)]
pub struct ClientTls {
    /// Authorities, PEM. Default: those of the system.
    pub ca: Option<Vec<u8>>,
    /// Trust the system's authorities beside `ca`.
    pub system_roots: bool,
    /// The client's own certificate and key, PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Accept any certificate: encryption without authentication.
    pub skip_verify: bool,
    /// What may be negotiated.
    pub parameters: Parameters,
    /// Where all this comes from. Default: it never changes.
    pub files: Option<Files<ClientTls>>,
}

impl ServerTls {
    /// An acceptor that offers these protocols by ALPN, such as `h2`.
    ///
    /// # Errors
    /// What is wrong with a certificate or key.
    pub fn acceptor(&self, alpn: &'static [&'static str]) -> Result<TlsAcceptor, String> {
        let files = self.files.as_ref().map(|files| files.made_into(move |tls: ServerTls| tls.config(alpn)));
        Ok(TlsAcceptor(Arc::new(Renewed::new(self.config(alpn)?, files))))
    }

    fn config(&self, alpn: &[&str]) -> Result<ServerConfig, String> {
        let provider = Arc::new(self.parameters.provider()?);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions(self.parameters.versions))
            .map_err(|e| e.to_string())?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let trusted = certificates_of(pem, "client CA")?;
                let roots = Arc::new(roots_of(&trusted, "client CA")?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                let authorities = verifier.map_err(|e| format!("client CA: {e}"))?;
                builder.with_client_cert_verifier(Arc::new(Clients { authorities, trusted }))
            }
        };
        let mut config = builder
            .with_single_cert(chain(&self.certificate)?, private_key(&self.key)?)
            .map_err(|e| unusable(&e))?;
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        Ok(config)
    }
}

impl ClientTls {
    /// A connector that offers these protocols by ALPN.
    ///
    /// # Errors
    /// What is wrong with a certificate or key, or that there is no authority to trust.
    pub fn connector(&self, alpn: &'static [&'static str]) -> Result<TlsConnector, String> {
        let files = self.files.as_ref().map(|files| files.made_into(move |tls: ClientTls| tls.config(alpn)));
        Ok(TlsConnector(Arc::new(Renewed::new(self.config(alpn)?, files))))
    }

    pub(crate) fn config(&self, alpn: &[&str]) -> Result<ClientConfig, String> {
        let provider = Arc::new(self.parameters.provider()?);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions(self.parameters.versions))
            .map_err(|e| e.to_string())?;
        let verifier: Arc<dyn ServerCertVerifier> = if self.skip_verify {
            Arc::new(AnyCertificate(provider))
        } else {
            Arc::new(self.servers(provider)?)
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(chain(certificate)?, private_key(key)?)
                .map_err(|e| unusable(&e))?,
        };
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        Ok(config)
    }

    fn servers(&self, provider: Arc<CryptoProvider>) -> Result<Servers, String> {
        let mut trusted = match &self.ca {
            Some(pem) => certificates_of(pem, "CA")?,
            None => Vec::new(),
        };
        let mut roots = roots_of(&trusted, "CA")?;
        if self.ca.is_none() || self.system_roots {
            let of_the_system = rustls_native_certs::load_native_certs().certs;
            roots.add_parsable_certificates(of_the_system.iter().cloned());
            // Most are of authorities, of which every client would keep a copy in vain.
            trusted.extend(of_the_system.into_iter().filter(names_a_host));
        }
        if roots.is_empty() {
            return Err(
                "this system has no trusted authorities: install ca-certificates or set `ca_file`".to_owned()
            );
        }
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Servers { authorities: authorities.map_err(|e| format!("CA: {e}"))?, trusted })
    }
}

impl Parameters {
    fn provider(&self) -> Result<CryptoProvider, String> {
        let mut provider = ring::default_provider();
        if !self.cipher_suites.is_empty() {
            let known = |name: &str| {
                OLDER_SUITES.contains(&name)
                    || SUITES_OF_13.contains(&name)
                    || provider.cipher_suites.iter().any(|suite| suite.suite().as_str() == Some(name))
            };
            if let Some(unknown) = self.cipher_suites.iter().find(|name| !known(name)) {
                return Err(format!("invalid TLS cipher suite: {unknown:?}"));
            }
            let wanted =
                |name: Option<&str>| self.cipher_suites.iter().any(|suite| Some(suite.as_str()) == name);
            // As in Go, the list says nothing about TLS 1.3, whose suites are all good.
            provider.cipher_suites.retain(|s| s.tls13().is_some() || wanted(s.suite().as_str()));
            let some = provider.cipher_suites.iter().any(|s| s.tls13().is_none());
            // With suites of TLS 1.3 alone, that alone is spoken.
            let is_13_alone = self.versions == TlsVersions::Both
                && self.cipher_suites.iter().any(|name| SUITES_OF_13.contains(&name.as_str()));
            if !some && self.versions != TlsVersions::Only13 && !is_13_alone {
                return Err(format!("cipher_suites: none of {:?} is supported", self.cipher_suites));
            }
        }
        if let Some(unknown) = self.curves.iter().find(|name| !CURVES.contains(&name.as_str())) {
            return Err(format!("invalid curve type: {unknown}. Expected values are {CURVES:?}"));
        }
        if !self.curves.is_empty() {
            let groups = self.curves.iter().filter_map(|name| match name.as_str() {
                "X25519" => Some(ring::kx_group::X25519),
                "P256" => Some(ring::kx_group::SECP256R1),
                "P384" => Some(ring::kx_group::SECP384R1),
                _ => None,
            });
            provider.kx_groups = groups.collect();
            if provider.kx_groups.is_empty() {
                return Err(format!(
                    "curve_preferences: none of {:?} is supported: X25519, P256, P384 are",
                    self.curves
                ));
            }
        }
        Ok(provider)
    }
}

fn versions(which: TlsVersions) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];
    match which {
        TlsVersions::Both => &BOTH,
        TlsVersions::Only12 => &BOTH[..1],
        TlsVersions::Only13 => &BOTH[1..],
    }
}

/// The first is that of the peer, the others are those behind it.
pub(crate) fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => {
            Err("certificate: no CERTIFICATE section in the PEM text; DER becomes PEM by \
                                              `openssl x509 -inform der`"
                .to_owned())
        }
        Ok(chain) => Ok(chain),
        Err(e) => Err(format!("certificate: {}", broken::words(&e))),
    }
}

/// What is wrong with a certificate and its key, and what may be used instead.
fn unusable(e: &rustls::Error) -> String {
    match e {
        rustls::Error::InconsistentKeys(_) => {
            format!("certificate and key: {e}: the key is not that of the certificate")
        }
        _ => format!(
            "certificate and key: {e}; a certificate has to be of X.509 version 3, a key RSA of 2048 to 4096 bits, ECDSA with \
             P-256 or P-384, or Ed25519"
        ),
    }
}

pub(crate) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|e| {
        let has = |text: &[u8]| memchr::memmem::find(pem, text).is_some();
        if has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"4,ENCRYPTED") {
            return "private key: it is encrypted, and there is no option for a passphrase: decrypt it with `openssl pkey \
                    -in FILE -out NEW` into a file that only the agent may read"
                .to_owned();
        }
        match e {
            pem::Error::NoItemsFound => "private key: no PRIVATE KEY section in the PEM text".to_owned(),
            e => format!("private key: {}", broken::words(&e)),
        }
    })
}

fn certificates_of(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    chain(pem).map_err(|e| format!("{what} {e}"))
}

fn roots_of(certificates: &[CertificateDer<'static>], what: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).map_err(|e| format!("{what} certificate: {e}"))?;
    }
    Ok(roots)
}

/// Verifies only that the peer has the key of the certificate that it shows.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
