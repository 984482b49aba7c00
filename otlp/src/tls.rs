//! TLS by rustls with ring. Certificates and keys are PEM; TLS 1.2 and 1.3.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
pub use tokio_rustls::{TlsAcceptor, TlsConnector};

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
}

impl ServerTls {
    /// An acceptor that offers these protocols by ALPN, such as `h2`.
    ///
    /// # Errors
    /// What is wrong with a certificate or key.
    pub fn acceptor(&self, alpn: &[&str]) -> Result<TlsAcceptor, String> {
        let provider = Arc::new(self.parameters.provider()?);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions(self.parameters.versions))
            .map_err(|e| e.to_string())?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let roots = Arc::new(roots_of(pem, "client CA")?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|e| format!("client CA: {e}"))?)
            }
        };
        let mut config = builder
            .with_single_cert(chain(&self.certificate)?, private_key(&self.key)?)
            .map_err(|e| format!("certificate and key: {e}"))?;
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ClientTls {
    /// A connector that offers these protocols by ALPN.
    ///
    /// # Errors
    /// What is wrong with a certificate or key, or that there is no authority to trust.
    pub fn connector(&self, alpn: &[&str]) -> Result<TlsConnector, String> {
        let provider = Arc::new(self.parameters.provider()?);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions(self.parameters.versions))
            .map_err(|e| e.to_string())?;
        let builder = if self.skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(chain(certificate)?, private_key(key)?)
                .map_err(|e| format!("certificate and key: {e}"))?,
        };
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        Ok(TlsConnector::from(Arc::new(config)))
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = match &self.ca {
            Some(pem) => roots_of(pem, "CA")?,
            None => RootCertStore::empty(),
        };
        if self.ca.is_none() || self.system_roots {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        if roots.is_empty() {
            return Err(
                "this system has no trusted authorities: install ca-certificates or set `ca_file`".to_owned()
            );
        }
        Ok(roots)
    }
}

impl Parameters {
    fn provider(&self) -> Result<CryptoProvider, String> {
        let mut provider = ring::default_provider();
        if !self.cipher_suites.is_empty() {
            let wanted =
                |name: Option<&str>| self.cipher_suites.iter().any(|suite| Some(suite.as_str()) == name);
            // As in Go, the list says nothing about TLS 1.3, whose suites are all good.
            provider.cipher_suites.retain(|s| s.tls13().is_some() || wanted(s.suite().as_str()));
            let some = provider.cipher_suites.iter().any(|s| s.tls13().is_none());
            if !some && self.versions != TlsVersions::Only13 {
                return Err(format!("cipher_suites: none of {:?} is supported", self.cipher_suites));
            }
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

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => {
            Err("certificate: no CERTIFICATE section in the PEM text".to_owned())
        }
        Ok(chain) => Ok(chain),
        Err(e) => Err(format!("certificate: {e}")),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|e| format!("private key: {e}"))
}

fn roots_of(pem: &[u8], what: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(pem).map_err(|e| format!("{what} {e}"))? {
        roots.add(certificate).map_err(|e| format!("{what} certificate: {e}"))?;
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
