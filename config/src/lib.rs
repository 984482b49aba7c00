//! From YAML to a checked service description, with positions in every error.
//!
//! Behaves as the OpenTelemetry Collector does (providers, merge, `${...}`, strictness, optional sections, messages)
//! and says where: every error has file, line, column, the YAML path, the Collector's own sentence, and the word that
//! was probably meant.
//!
//! # For components
//!
//! A component's settings are a plain serde struct. `Default` holds the component's defaults; they hold at every depth,
//! also where a nested type's own `Default` says otherwise.
//!
//! ```ignore
//! use serde::{Deserialize, Serialize};
//! use weir_config::net::{GrpcServerConfig, QueueConfig, RetryConfig, TimeoutConfig};
//! use weir_config::{GoDuration, Issues, Optional, Secret, Validate};
//!
//! #[derive(Debug, Clone, Serialize, Deserialize)]
//! #[serde(default, deny_unknown_fields)]
//! struct Config {
//!     /// The options of the server stand among those of this struct: the `+` makes it so (never `serde(flatten)`).
//!     #[serde(rename = "+server")]
//!     server: GrpcServerConfig,
//!     #[serde(rename = "+timeout")]
//!     timeout: TimeoutConfig,
//!     retry_on_failure: RetryConfig,
//!     /// On by default, `sending_queue: {enabled: false}` turns it off.
//!     sending_queue: Optional<QueueConfig>,
//!     window: GoDuration,
//!     token: Secret,
//! }
//!
//! impl Default for Config {
//!     fn default() -> Self {
//!         Self {
//!             server: GrpcServerConfig::with_endpoint("localhost:4327"),
//!             timeout: TimeoutConfig::default(),
//!             retry_on_failure: RetryConfig { initial_interval: GoDuration::from_millis(50), ..RetryConfig::default() },
//!             sending_queue: Optional::Some(QueueConfig::default()),
//!             window: GoDuration::from_mins(10),
//!             token: Secret::default(),
//!         }
//!     }
//! }
//!
//! impl Validate for Config {
//!     fn validate(&self, issues: &mut Issues) {
//!         self.server.validate(issues);
//!         issues.optional("sending_queue", &self.sending_queue);
//!         issues.section("retry_on_failure", &self.retry_on_failure);
//!         if self.window <= GoDuration::ZERO {
//!             issues.at("window", "'window' must be greater than zero");
//!         }
//!     }
//! }
//! ```
//!
//! Read and check it with [`load`], or in two steps with [`from_node`] and [`validate()`]:
//!
//! ```ignore
//! let config: Config = weir_config::load(&body, &Path::component("receivers", "grpc_connections"))?;
//! ```
//!
//! In tests, [`parse_body`] makes a body of a text:
//!
//! ```ignore
//! let config: Config = weir_config::load(&parse_body("window: 1m")?, &Path::component("processors", "x"))?;
//! ```
//!
//! # For the program
//!
//! [`ServiceConfig::load`] reads a whole configuration. It needs a [`Catalog`] of component types; a type that is
//! [`checked_by`](KnownType::checked_by) a [`check`] function has its bodies checked on the way, so that all errors of a
//! configuration come at once, as [`Diagnostics`]:
//!
//! ```ignore
//! let catalog = Catalog::new().with(Section::Receivers, KnownType::new("otlp", &[]).checked_by(check::<Config>));
//! match ServiceConfig::load(&uris, &sets, &ProcessEnv, &catalog, LoadOptions::default()) {
//!     Ok(loaded) => { /* loaded.config, loaded.warnings */ }
//!     Err(diagnostics) => eprint!("{}", diagnostics.render(is_terminal)),
//! }
//! ```
//!
//! # Rules for settings
//!
//! No `flatten`, no `untagged`, no internally tagged enums. An enum is written as one word
//! (`#[serde(rename_all = "lowercase")]`); a container name with `%q`
//! (`#[serde(rename = "unsupported compression type %q")]`) gives the Collector's sentence for an unknown word. In a
//! list of structs, nested sections have their own type's defaults.

mod catalog;
#[cfg(any(test, feature = "fuzzing"))]
pub mod check;
#[cfg(test)]
#[path = "../../fuzz/corpus.rs"]
mod corpus;
#[cfg(test)]
mod corpus_tests;
mod de;
mod diagnostics;
mod duration;
mod env;
mod error;
mod expand;
mod flag;
mod headers;
mod http_get;
mod id;
mod merge;
pub mod net;
mod node;
mod optional;
mod options;
mod path;
mod print;
mod provider;
mod resolve;
mod secret;
mod service;
mod source;
mod suggest;
pub mod telemetry;
mod tree;
mod uri;
mod validate;
pub mod yaml;

pub use catalog::{Catalog, KnownType, Offer, Section, check};
pub use de::{ConfigValue, DeError, caseless_word, from_node};
pub use diagnostics::Diagnostics;
pub use duration::{DurationError, GoDuration};
pub use env::{Env, ProcessEnv};
pub use error::{ConfigError, Details, ErrorKind, Phase, Severity};
pub use headers::HeaderMap;
pub use id::{ComponentId, IdError, PipelineId, PipelineSignal};
pub use node::{Key, Map, Node, NodeKind, Span};
pub use optional::Optional;
pub use options::{Options, Reading, Settings};
pub use path::Path;
pub use print::{Secrets, to_json, to_yaml};
pub use provider::Warning;
pub use resolve::{Request, Resolved, resolve};
pub use secret::{REDACTED, Secret, shown_name, shown_path, shown_reference};
pub use service::{Component, LoadOptions, Loaded, Pipeline, Reference, ServiceConfig};
pub use source::{Source, SourceId, SourceKind, Sources};
pub use uri::SCHEMES;
pub use validate::{Issues, Validate, validate};

/// Reads a body and checks it.
///
/// # Errors
/// All wrong values and unknown options; if there are none, all that [`Validate`] finds.
pub fn load<T: ConfigValue + Validate>(body: &Node, path: &Path) -> Result<T, Vec<ConfigError>> {
    let settings: T = from_node(body, path)?;
    let errors = validate(&settings, body, path);
    if errors.is_empty() { Ok(settings) } else { Err(errors) }
}

/// Makes a body of YAML text, for tests and examples; positions count from the start of the text.
///
/// # Errors
/// Text that is not YAML.
pub fn parse_body(text: &str) -> Result<Node, ConfigError> {
    yaml::parse(text, SourceId::default())
}
