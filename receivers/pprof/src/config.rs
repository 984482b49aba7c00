//! Options of the receiver.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_config::net::{AuthConfig, HttpClientConfig, HttpServerConfig, TlsClientConfig};
use weir_config::{GoDuration, HeaderMap, Issues, Optional, Validate};

use crate::endpoint::{Endpoint, Url};

/// The most targets of one receiver: each costs a connection and, at its interval, up to `max_body_size` of memory.
const MAX_TARGETS: usize = 256;
/// The most that `max_body_size` may be.
const MAX_BODY: u64 = 1 << 30;
const DEFAULT_PATH: &str = "/debug/pprof";

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) collection_interval: GoDuration,
    pub(crate) initial_delay: GoDuration,
    pub(crate) timeout: GoDuration,
    pub(crate) max_body_size: u64,
    pub(crate) ignore_functions: Vec<String>,
    pub(crate) targets: Vec<TargetConfig>,
    pub(crate) remote: Optional<RemoteConfig>,
    file: Optional<FileConfig>,
    #[serde(rename = "self")]
    own: Optional<SelfConfig>,
    server: Optional<HttpServerConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            collection_interval: GoDuration::from_secs(15),
            initial_delay: GoDuration::from_secs(1),
            timeout: GoDuration::from_secs(10),
            max_body_size: 64 << 20,
            ignore_functions: Vec::new(),
            targets: Vec::new(),
            remote: Optional::None,
            file: Optional::None,
            own: Optional::None,
            server: Optional::None,
        }
    }
}

/// A service to scrape.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TargetConfig {
    endpoint: String,
    service_name: String,
    path: String,
    profiles: Vec<ProfileName>,
    tls: TlsClientConfig,
    headers: HeaderMap,
    auth: Optional<AuthConfig>,
}

impl Default for TargetConfig {
    fn default() -> Self {
        TargetConfig {
            endpoint: String::new(),
            service_name: String::new(),
            path: DEFAULT_PATH.to_owned(),
            profiles: ProfileName::DEFAULT.to_vec(),
            tls: TlsClientConfig::default(),
            headers: HeaderMap::default(),
            auth: Optional::None,
        }
    }
}

/// A profile that says something of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename = "unknown profile %q", rename_all = "lowercase")]
pub(crate) enum ProfileName {
    /// What every goroutine does.
    Goroutine,
    /// Memory in use and allocated.
    Heap,
    /// The same numbers as `heap`.
    Allocs,
    /// Who held contended mutexes.
    Mutex,
    /// Goroutines that nothing can wake any more; Go 1.27 and later.
    #[serde(rename = "goroutineleak")]
    GoroutineLeak,
    /// Clients that are not closed, from the companion module.
    #[serde(rename = "grpc.clientconn")]
    ClientConn,
}

impl ProfileName {
    /// In the order in which they are asked for.
    pub(crate) const ALL: [ProfileName; 6] = [
        ProfileName::Goroutine,
        ProfileName::Heap,
        ProfileName::Allocs,
        ProfileName::Mutex,
        ProfileName::ClientConn,
        ProfileName::GoroutineLeak,
    ];
    /// Those that are asked for by default: not the one that makes the target collect its garbage.
    pub(crate) const DEFAULT: [ProfileName; 5] = [
        ProfileName::Goroutine,
        ProfileName::Heap,
        ProfileName::Allocs,
        ProfileName::Mutex,
        ProfileName::ClientConn,
    ];

    /// Its name in the configuration and last element of its path.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ProfileName::Goroutine => "goroutine",
            ProfileName::Heap => "heap",
            ProfileName::Allocs => "allocs",
            ProfileName::Mutex => "mutex",
            ProfileName::GoroutineLeak => "goroutineleak",
            ProfileName::ClientConn => "grpc.clientconn",
        }
    }
}

/// The mode `remote` of the Collector's receiver: one URL.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RemoteConfig {
    collection_interval: GoDuration,
    initial_delay: GoDuration,
    #[serde(rename = "+client")]
    client: HttpClientConfig,
}

/// The mode `file` of the Collector's receiver.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct FileConfig {
    include: String,
    collection_interval: GoDuration,
    initial_delay: GoDuration,
    timeout: GoDuration,
}

/// The mode `self` of the Collector's receiver.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct SelfConfig {
    block_profile_fraction: i64,
    mutex_profile_fraction: i64,
    collection_interval: GoDuration,
    initial_delay: GoDuration,
    timeout: GoDuration,
}

/// One target as it is scraped, whichever option it came from.
#[derive(Debug, Clone)]
pub(crate) struct TargetSettings {
    pub(crate) endpoint: Endpoint,
    /// In front of a profile's name, without a slash at its end.
    pub(crate) path: String,
    pub(crate) profiles: Vec<ProfileName>,
    /// `service.name`, may be empty.
    pub(crate) service: String,
    /// Whether another target has the same `service.name`.
    pub(crate) shares_service: bool,
    pub(crate) tls: TlsClientConfig,
    pub(crate) headers: HeaderMap,
    /// Which extension signs the requests.
    pub(crate) auth: Optional<AuthConfig>,
    pub(crate) interval: Duration,
    pub(crate) delay: Duration,
    pub(crate) timeout: Duration,
}

impl Config {
    /// All targets.
    ///
    /// # Errors
    /// What is wrong with the endpoint of one; none in a configuration that is valid.
    pub(crate) fn settings(&self) -> Result<Vec<TargetSettings>, String> {
        let mut all: Vec<TargetSettings> = Vec::new();
        for target in &self.targets {
            all.push(TargetSettings {
                endpoint: target.url()?.endpoint,
                path: target.path.trim_end_matches('/').to_owned(),
                profiles: asked(&target.profiles),
                service: target.service_name.clone(),
                shares_service: false,
                tls: target.tls.clone(),
                headers: target.headers.clone(),
                auth: target.auth.clone(),
                interval: self.collection_interval.as_std(),
                delay: self.initial_delay.as_std(),
                timeout: self.timeout.as_std(),
            });
        }
        if let Some(remote) = self.remote.as_ref() {
            all.push(remote.settings(self)?);
        }
        let services: Vec<String> = all.iter().map(|t| t.service.clone()).collect();
        for target in &mut all {
            target.shares_service = services.iter().filter(|s| **s == target.service).count() > 1;
        }
        Ok(all)
    }
}

impl TargetSettings {
    /// How messages call it: `checkout (http://127.0.0.1:6060)`.
    pub(crate) fn name(&self) -> String {
        if self.service.is_empty() {
            self.endpoint.to_string()
        } else {
            format!("{} ({})", self.service, self.endpoint)
        }
    }
}

/// Each once, in the order in which they are asked for.
fn asked(profiles: &[ProfileName]) -> Vec<ProfileName> {
    ProfileName::ALL.into_iter().filter(|p| profiles.contains(p)).collect()
}

impl TargetConfig {
    fn url(&self) -> Result<Url, String> {
        let url = Url::parse(&self.endpoint)?;
        if url.path != "/" || url.query.is_some() {
            return Err("takes scheme, host and port only: write the rest under `path`".to_owned());
        }
        Ok(url)
    }
}

impl RemoteConfig {
    fn settings(&self, config: &Config) -> Result<TargetSettings, String> {
        let url = Url::parse(&self.client.endpoint)?;
        let (path, profiles) = self.profiles(&url)?;
        let or = |own: GoDuration, general: GoDuration| own.non_zero().unwrap_or(general.as_std());
        Ok(TargetSettings {
            endpoint: url.endpoint,
            path,
            profiles,
            service: String::new(),
            shares_service: false,
            tls: self.client.tls.clone(),
            headers: self.client.headers.clone(),
            auth: self.client.auth.clone(),
            interval: or(self.collection_interval, config.collection_interval),
            delay: or(self.initial_delay, config.initial_delay),
            timeout: or(self.client.timeout, config.timeout),
        })
    }

    /// The URL of one profile, or of the directory of all.
    fn profiles(&self, url: &Url) -> Result<(String, Vec<ProfileName>), String> {
        if url.query.is_some() {
            return Err(
                "takes no parameters: profiles are read as they are, without debug and seconds".to_owned()
            );
        }
        let path = url.path.trim_end_matches('/');
        let (directory, last) = path.rsplit_once('/').unwrap_or(("", ""));
        match last {
            "" => Ok((DEFAULT_PATH.to_owned(), ProfileName::DEFAULT.to_vec())),
            "goroutine" => Ok((directory.to_owned(), vec![ProfileName::Goroutine])),
            "heap" | "allocs" | "mutex" | "block" | "threadcreate" | "profile" | "trace" => Err(format!(
                "a profile {last} does not tell what is open: end it with /debug/pprof, of which all profiles are read \
                 that do, or with /debug/pprof/goroutine"
            )),
            _ => Ok((path.to_owned(), ProfileName::DEFAULT.to_vec())),
        }
    }
}

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        positive(issues, "collection_interval", self.collection_interval);
        positive(issues, "timeout", self.timeout);
        if self.initial_delay.is_negative() {
            issues.at("initial_delay", "'initial_delay' must not be negative");
        }
        if !(1..=MAX_BODY).contains(&self.max_body_size) {
            issues.at("max_body_size", format!("'max_body_size' must be between 1 and {MAX_BODY} bytes"));
        }
        self.validate_modes(issues);
        issues.within("targets", |issues| {
            for (i, target) in self.targets.iter().enumerate() {
                issues.section(i.to_string(), target);
            }
            if self.targets.len() > MAX_TARGETS {
                issues
                    .error(format!("at most {MAX_TARGETS} targets: add a second receiver, such as pprof/2"));
            }
        });
        issues.optional("remote", &self.remote);
        if let Ok(targets) = self.settings() {
            let same = |a: &TargetSettings, b: &TargetSettings| a.endpoint == b.endpoint && a.path == b.path;
            let twice =
                targets.iter().enumerate().find(|(i, t)| targets.iter().skip(i + 1).any(|o| same(t, o)));
            if let Some((_, target)) = twice {
                let message = format!(
                    "{}{} is a target twice: its goroutines would count twice",
                    target.endpoint, target.path
                );
                issues.at("targets", message);
            }
        }
    }
}

impl Config {
    fn validate_modes(&self, issues: &mut Issues) {
        const CURE: &str = "scrape the service instead: targets: [{endpoint: \"http://127.0.0.1:6060\", service_name: my-service}]";
        let unsupported: [(&'static str, bool, &str); 3] = [
            (
                "file",
                self.file.is_on(),
                "profiles in files are not read by this version: they do not say which process is which",
            ),
            ("self", self.own.is_on(), "this agent is no Go program and has no Go profiles of its own"),
            ("server", self.server.is_on(), "profiles that services push are not taken by this version"),
        ];
        for (option, on, message) in unsupported {
            if on {
                issues.at_with_help(option, message, CURE);
            }
        }
        let any = unsupported.iter().any(|(_, on, _)| *on);
        if self.targets.is_empty() && !self.remote.is_on() && !any {
            issues.at_with_help("targets", "requires at least one target", CURE);
        }
    }
}

impl Validate for TargetConfig {
    fn validate(&self, issues: &mut Issues) {
        if let Err(error) = self.url() {
            let help = "write it as http://127.0.0.1:6060";
            issues.at_with_help("endpoint", format!("'endpoint' {error}"), help);
        }
        if !self.path.starts_with('/')
            || self.path.contains(['?', '#'])
            || self.path.parse::<http::Uri>().is_err()
        {
            issues.at("path", "'path' must be an absolute path without parameters, such as /debug/pprof");
        }
        if !self.profiles.contains(&ProfileName::Goroutine) {
            issues.at_with_help(
                "profiles",
                "'profiles' must hold goroutine, which tells what is open",
                "the others only say more about it",
            );
        }
        issues.section("tls", &self.tls);
        issues.section("headers", &self.headers);
    }
}

impl Validate for RemoteConfig {
    fn validate(&self, issues: &mut Issues) {
        self.client.validate(issues);
        if self.client.endpoint.is_empty() {
            issues.at("endpoint", "remote.endpoint must be specified");
        } else if let Err(error) = Url::parse(&self.client.endpoint).and_then(|url| self.profiles(&url)) {
            issues.at("endpoint", format!("'endpoint' {error}"));
        }
        if !self.client.proxy_url.is_empty() {
            issues
                .at("proxy_url", "'proxy_url' is not supported by this version: targets are asked directly");
        }
        for (option, value) in [
            ("collection_interval", self.collection_interval),
            ("initial_delay", self.initial_delay),
            ("timeout", self.client.timeout),
        ] {
            if value.is_negative() {
                issues.at(option, format!("'{option}' must not be negative"));
            }
        }
    }
}

fn positive(issues: &mut Issues, option: &'static str, value: GoDuration) {
    if value <= GoDuration::ZERO {
        issues.at(option, format!("'{option}' must be greater than zero"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(body: &str) -> Result<Config, String> {
        let node = weir_config::parse_body(body).expect("YAML");
        let path = weir_config::Path::component("receivers", "pprof");
        weir_config::load(&node, &path).map_err(|errors| {
            errors
                .iter()
                .map(|e| format!("{e} {}", e.help.clone().unwrap_or_default()))
                .collect::<Vec<_>>()
                .join("\n")
        })
    }

    #[test]
    fn a_target_has_defaults_for_all_but_its_endpoint() {
        let config =
            load("targets: [{endpoint: 'http://127.0.0.1:6060', service_name: checkout}]").expect("valid");
        let settings = config.settings().expect("valid");
        let target = settings.first().expect("one target");
        assert_eq!((target.path.as_str(), target.service.as_str()), ("/debug/pprof", "checkout"));
        assert_eq!(target.profiles, ProfileName::DEFAULT);
        let seconds = [target.interval, target.delay, target.timeout].map(|d| d.as_secs());
        assert_eq!((seconds, config.max_body_size), ([15, 1, 10], 64 << 20));
    }

    #[test]
    fn a_list_of_profiles_replaces_the_default() {
        let body = "targets: [{endpoint: 'http://h:1', path: /p/, profiles: [grpc.clientconn, goroutine, goroutine]}]";
        let settings = load(body).expect("valid").settings().expect("valid");
        assert_eq!(settings[0].profiles, [ProfileName::Goroutine, ProfileName::ClientConn]);
        assert_eq!(settings[0].path, "/p");
    }

    #[test]
    fn a_remote_endpoint_names_the_directory_or_the_goroutines() {
        let remote = |url: &str| {
            let settings = load(&format!("remote: {{endpoint: '{url}', timeout: 3s}}"))?.settings()?;
            Ok::<_, String>((
                settings[0].path.clone(),
                settings[0].profiles.len(),
                settings[0].timeout.as_secs(),
            ))
        };
        assert_eq!(remote("http://h:1"), Ok(("/debug/pprof".to_owned(), 5, 3)));
        assert_eq!(remote("http://h:1/x/pprof/"), Ok(("/x/pprof".to_owned(), 5, 3)));
        assert_eq!(remote("http://h:1/debug/pprof/goroutine"), Ok(("/debug/pprof".to_owned(), 1, 3)));
        let cpu = remote("http://h:1/debug/pprof/profile").expect_err("a CPU profile");
        assert!(cpu.contains("a profile profile does not tell what is open"), "{cpu}");
        assert!(
            remote("http://h:1/debug/pprof/goroutine?debug=2").expect_err("text").contains("no parameters")
        );
        assert!(load("remote: {}").expect_err("nothing").contains("remote.endpoint must be specified"));
    }

    #[test]
    fn modes_that_give_no_evidence_are_refused_with_the_cure() {
        for (body, why) in [
            ("file: {include: /tmp/*}", "profiles in files are not read"),
            ("self: {}", "this agent is no Go program"),
            ("server: {endpoint: 'localhost:1'}", "profiles that services push"),
            ("{}", "requires at least one target"),
        ] {
            let error = load(body).expect_err(body);
            assert!(error.contains(why) && error.contains("targets: [{endpoint:"), "{error}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place_and_cure() {
        let one = |options: &str| {
            load(&format!("targets: [{{endpoint: 'http://h:1', {options}}}]")).expect_err(options)
        };
        assert!(one("service_nam: x").contains("service_name"), "{}", one("service_nam: x"));
        assert!(one("profiles: [goroutines]").contains("goroutine"));
        assert!(one("profiles: [heap]").contains("must hold goroutine"));
        assert!(one("path: debug").contains("'path' must be an absolute path"));
        let whole = |body: &str| load(body).expect_err(body);
        assert!(
            whole("targets: [{endpoint: '127.0.0.1:6060'}]").contains("write it as http://127.0.0.1:6060")
        );
        assert!(whole("targets: [{endpoint: 'http://h:1/debug/pprof'}]").contains("under `path`"));
        let twice =
            whole("targets: [{endpoint: 'http://h:1'}, {endpoint: 'http://h:1', path: /debug/pprof/}]");
        assert!(twice.contains("http://h:1/debug/pprof is a target twice"), "{twice}");
        assert!(
            whole("collection_interval: 0s\nremote: {endpoint: 'http://h'}").contains("greater than zero")
        );
        assert!(whole("max_body_size: 0\nremote: {endpoint: 'http://h'}").contains("max_body_size"));
    }

    #[test]
    fn an_error_does_not_repeat_a_password() {
        let error = load("targets: [{endpoint: 'http://me:secret@h:1/path'}]").expect_err("a path");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn targets_of_one_service_know_of_each_other() {
        let body = "targets: [{endpoint: 'http://a:1', service_name: x}, {endpoint: 'http://b:1', service_name: x}, {endpoint: 'http://c:1', service_name: y}]";
        let settings = load(body).expect("valid").settings().expect("valid");
        assert_eq!(settings.iter().map(|t| t.shares_service).collect::<Vec<_>>(), [true, true, false]);
    }
}
