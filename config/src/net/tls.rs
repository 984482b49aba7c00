//! TLS for clients and servers.

use serde::{Deserialize, Serialize};

use crate::{GoDuration, Issues, Secret, Validate};

/// What clients and servers have in common. Its options stand among theirs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// File with the certificates (PEM) that the other side is checked against. Empty: those of the operating system.
    pub ca_file: String,
    /// The same as text. Not together with `ca_file`.
    pub ca_pem: Secret,
    /// File with the own certificate chain (PEM). Servers need one; clients only where the server asks for it.
    pub cert_file: String,
    /// The same as text. Not together with `cert_file`.
    pub cert_pem: Secret,
    /// File with the private key (PEM) of the own certificate. Certificate and key go together.
    pub key_file: String,
    /// The same as text. Not together with `key_file`.
    pub key_pem: Secret,
    /// Accept the certificates of the operating system in addition to `ca_file`. Off by default.
    pub include_system_ca_certs_pool: bool,
    /// Lowest TLS version: `1.0` to `1.3`, in quotes. Empty: `1.2`. Versions below 1.2 are not spoken.
    pub min_version: String,
    /// Highest TLS version. Empty: the highest known.
    pub max_version: String,
    /// Names of the cipher suites to offer for TLS 1.2, as Go names them. Empty: a safe list.
    pub cipher_suites: Vec<String>,
    /// Allow insecure suites in `cipher_suites`. They are not implemented, so that nothing changes.
    pub include_insecure_cipher_suites: bool,
    /// Curves for the key exchange in order of preference: `P256`, `P384`, `P521`, `X25519`, `X25519MLKEM768`. Empty:
    /// a safe list.
    pub curve_preferences: Vec<String>,
    /// Read certificate and key again when a connection comes in and this time has passed. 0: never.
    pub reload_interval: GoDuration,
    /// Keys in a trusted platform module.
    pub tpm: TpmConfig,
}

/// A key that a trusted platform module holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TpmConfig {
    /// Whether the key file is a TPM key. Off by default.
    pub enabled: bool,
    /// The device or socket of the module, such as `/dev/tpmrm0`.
    pub path: String,
    /// Password of the owner hierarchy.
    pub owner_auth: Secret,
    /// Password of the key.
    pub auth: Secret,
}

/// TLS of a client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsClientConfig {
    /// What clients and servers have in common.
    #[serde(rename = "+common")]
    pub common: TlsConfig,
    /// Connect without TLS, unless a CA is set. Off by default: gRPC clients use TLS even for `http://` endpoints.
    pub insecure: bool,
    /// Use TLS but accept any certificate. Off by default; only for tests.
    pub insecure_skip_verify: bool,
    /// The name to ask for and to check the certificate against. Empty: the host of the endpoint.
    pub server_name_override: String,
}

/// TLS of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsServerConfig {
    /// What clients and servers have in common.
    #[serde(rename = "+common")]
    pub common: TlsConfig,
    /// File with the certificates (PEM) that clients must show one of. Empty: clients show none.
    pub client_ca_file: String,
    /// Read `client_ca_file` again when it changes. Off by default.
    pub client_ca_file_reload: bool,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum TlsVersion {
    V1_0,
    V1_1,
    V1_2,
    V1_3,
}

impl TlsVersion {
    /// From the text of an option; `None` for an empty one.
    ///
    /// # Errors
    /// The Collector's sentence.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        match text {
            "" => Ok(None),
            "1.0" => Ok(Some(Self::V1_0)),
            "1.1" => Ok(Some(Self::V1_1)),
            "1.2" => Ok(Some(Self::V1_2)),
            "1.3" => Ok(Some(Self::V1_3)),
            other => Err(format!("unsupported TLS version: {other:?}")),
        }
    }
}

impl TlsConfig {
    /// Whether a CA is set.
    pub fn has_ca(&self) -> bool {
        !self.ca_file.is_empty() || !self.ca_pem.is_empty()
    }

    /// Whether a certificate is set.
    pub fn has_cert(&self) -> bool {
        !self.cert_file.is_empty() || !self.cert_pem.is_empty()
    }

    /// Whether a key is set.
    pub fn has_key(&self) -> bool {
        !self.key_file.is_empty() || !self.key_pem.is_empty()
    }

    fn versions(&self, issues: &mut Issues) {
        const VERSIONS: &str = "versions are \"1.0\", \"1.1\", \"1.2\" and \"1.3\", in quotes";
        let lowest = TlsVersion::parse(&self.min_version);
        let highest = TlsVersion::parse(&self.max_version);
        if let Err(error) = &lowest {
            issues.at_with_help("min_version", format!("invalid TLS min_version: {error}"), VERSIONS);
        }
        if let Err(error) = &highest {
            issues.at_with_help("max_version", format!("invalid TLS max_version: {error}"), VERSIONS);
        }
        if let (Ok(lowest), Ok(Some(highest))) = (lowest, highest)
            && highest < lowest.unwrap_or(TlsVersion::V1_2)
        {
            issues.at(
                "max_version",
                "invalid TLS configuration: min_version cannot be greater than max_version",
            );
        }
    }

    /// What can be negotiated here, which is less than in the Collector.
    fn negotiable(&self, issues: &mut Issues) {
        if self.tpm.enabled {
            let message = "keys in a trusted platform module are not supported";
            issues.within("tpm", |issues| issues.at_with_help("enabled", message, "use key_file"));
        }
        let [lowest, highest] =
            [&self.min_version, &self.max_version].map(|version| TlsVersion::parse(version).ok().flatten());
        if highest
            .is_some_and(|highest| highest < TlsVersion::V1_2 && lowest.is_some_and(|low| low <= highest))
        {
            let message = "TLS 1.0 and 1.1 are broken and not supported";
            issues.at_with_help("max_version", message, "use \"1.2\" or \"1.3\"");
        }
        self.suites(lowest == Some(TlsVersion::V1_3), highest == Some(TlsVersion::V1_2), issues);
        if let Some(unknown) = self.curve_preferences.iter().find(|name| !CURVES.contains(&name.as_str())) {
            let message = format!("invalid curve type: {unknown}. Expected values are {CURVES:?}");
            issues.at("curve_preferences", message);
        } else if !self.curve_preferences.is_empty()
            && !self.curve_preferences.iter().any(|name| CURVES_HERE.contains(&name.as_str()))
        {
            let message = format!("none of {:?} is supported", self.curve_preferences);
            issues.at_with_help(
                "curve_preferences",
                message,
                format!("supported are {}", CURVES_HERE.join(", ")),
            );
        }
    }

    fn suites(&self, is_13_alone: bool, is_12_alone: bool, issues: &mut Issues) {
        let any_of = |list: &[&str]| self.cipher_suites.iter().any(|name| list.contains(&name.as_str()));
        let known = |name: &str| {
            SUITES_HERE.contains(&name) || OLDER_SUITES.contains(&name) || SUITES_OF_13.contains(&name)
        };
        if let Some(unknown) = self.cipher_suites.iter().find(|name| !known(name)) {
            issues.at_with_help(
                "cipher_suites",
                format!("invalid TLS cipher suite: {unknown:?}"),
                format!("supported are {}", SUITES_HERE.join(", ")),
            );
            return;
        }
        // With suites of TLS 1.3 alone, that alone is spoken.
        let goes_without = is_13_alone || (!is_12_alone && any_of(&SUITES_OF_13));
        if !self.cipher_suites.is_empty() && !any_of(&SUITES_HERE) && !goes_without {
            issues.at_with_help(
                "cipher_suites",
                format!("none of {:?} is supported", self.cipher_suites),
                format!("supported are {}", SUITES_HERE.join(", ")),
            );
        }
    }
}

/// The curves of the Collector. Those that are not here are passed over.
pub const CURVES: [&str; 5] = ["P256", "P384", "P521", "X25519", "X25519MLKEM768"];
/// Those that are here.
const CURVES_HERE: [&str; 3] = ["X25519", "P256", "P384"];

/// Suites of TLS 1.2 that are here.
const SUITES_HERE: [&str; 6] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];
/// Those that only the Collector has, because they are of an older kind. They are passed over.
pub const OLDER_SUITES: [&str; 4] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
];
/// Suites of TLS 1.3 by the names of the Collector.
pub const SUITES_OF_13: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

impl Validate for TlsConfig {
    fn validate(&self, issues: &mut Issues) {
        if !self.ca_file.is_empty() && !self.ca_pem.is_empty() {
            issues.at("ca_pem", "provide either a CA file or the PEM-encoded string, but not both");
        }
        if !self.cert_file.is_empty() && !self.cert_pem.is_empty() {
            issues.at("cert_pem", "provide either certificate file or PEM, but not both");
        }
        if !self.key_file.is_empty() && !self.key_pem.is_empty() {
            issues.at("key_pem", "provide either key file or PEM, but not both");
        }
        if self.has_cert() != self.has_key() {
            issues.error("TLS configuration must include both certificate and key (CertFile/CertPem and KeyFile/KeyPem)");
        }
        self.versions(issues);
    }
}

impl TlsClientConfig {
    /// Whether the rest of the section says nothing: without a CA, `insecure` leaves TLS out, or as it is by default for an
    /// endpoint that asks for it.
    pub fn is_off(&self) -> bool {
        self.insecure && !self.common.has_ca()
    }
}

impl Validate for TlsClientConfig {
    fn validate(&self, issues: &mut Issues) {
        self.common.validate(issues);
        if !self.is_off() {
            self.common.negotiable(issues);
        }
    }
}

impl Validate for TlsServerConfig {
    fn validate(&self, issues: &mut Issues) {
        if !self.common.has_cert() && !self.common.has_key() {
            issues.error("TLS configuration must include both certificate and key for server connections");
        }
        self.common.validate(issues);
        self.common.negotiable(issues);
    }
}
