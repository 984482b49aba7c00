//! How the engine learns of components: plain tables of factories, no registration at link time.

use std::fmt;
use std::sync::Arc;

use weir_config::{ConfigError, Node, Options, Path};
use weir_pdata::Signal;

use crate::{BatchSettings, Clock, DeliverySettings, Exporter, Extension, Host, Receiver, Stage, Transform};

/// How mature a component is, in the Collector's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stability {
    /// May change in any release.
    Development,
    /// Fit for trials.
    Alpha,
    /// Fit for production; options may still change with notice.
    Beta,
    /// Fit for production.
    Stable,
}

impl Stability {
    /// The Collector's sentence for the log.
    pub fn note(self) -> &'static str {
        match self {
            Stability::Development => "Development component. May change in the future.",
            Stability::Alpha => "Alpha component. May change in the future.",
            Stability::Beta => "Beta component. May change in the future.",
            Stability::Stable => "Stable component.",
        }
    }
}

/// How mature a component is for each of its signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maturity {
    general: Stability,
    except: &'static [(Signal, Stability)],
}

impl Maturity {
    /// The same for all.
    pub const fn all(general: Stability) -> Maturity {
        Maturity { general, except: &[] }
    }

    /// The same for all but these.
    pub const fn but(general: Stability, except: &'static [(Signal, Stability)]) -> Maturity {
        Maturity { general, except }
    }

    /// For a signal.
    pub fn of(&self, signal: Signal) -> Stability {
        let own = self.except.iter().find(|(own, _)| *own == signal);
        own.map_or(self.general, |(_, stability)| *stability)
    }
}

/// What a factory is given: one component as configured.
#[derive(Debug, Clone)]
pub struct Build<'a> {
    /// Component id as written, such as `otlp/2`.
    pub id: &'a str,
    /// Its body; null when nothing was written.
    pub node: &'a Node,
    /// Where the body stands.
    pub path: Path,
    /// The agent around it.
    pub host: &'a Host,
    /// Time, for a [`Transform`] that needs it; the others get theirs with their context.
    pub clock: Clock,
}

impl Build<'_> {
    /// The body as the component's own type.
    ///
    /// # Errors
    /// All mistakes in the body, each with its position.
    pub fn config<T: weir_config::ConfigValue>(&self) -> Result<T, BuildError> {
        weir_config::from_node(self.node, &self.path).map_err(BuildError)
    }

    /// The body as the component's own type, checked by its own rules.
    ///
    /// # Errors
    /// All mistakes in the body, each with its position.
    pub fn checked<T: weir_config::ConfigValue + weir_config::Validate>(&self) -> Result<T, BuildError> {
        weir_config::load(self.node, &self.path).map_err(BuildError)
    }

    /// A mistake that names this component.
    pub fn invalid(&self, message: impl Into<String>) -> BuildError {
        let mut error = ConfigError::new(weir_config::ErrorKind::Invalid, message).on(&self.path);
        error.span = Some(self.node.span);
        BuildError(vec![error])
    }
}

/// Why a component could not be built.
#[derive(Debug)]
pub struct BuildError(pub Vec<ConfigError>);

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for BuildError {}

impl From<Vec<ConfigError>> for BuildError {
    fn from(errors: Vec<ConfigError>) -> Self {
        BuildError(errors)
    }
}

type Create<T> = fn(&Build<'_>) -> Result<T, BuildError>;
type CreateFor<T> = fn(&Build<'_>, Signal) -> Result<T, BuildError>;

/// Makes receivers.
#[derive(Debug, Clone, Copy)]
pub struct ReceiverFactory {
    /// Type as written in the configuration.
    pub kind: &'static str,
    /// Older names of the type.
    pub aliases: &'static [&'static str],
    /// Signals it can deliver.
    pub signals: &'static [Signal],
    /// How mature it is for each signal.
    pub stability: Maturity,
    /// `metadata.yaml` of the component: what it is, its options, its metrics.
    pub metadata: &'static str,
    /// What it can be configured with: `Options::of::<Config>()`.
    pub options: Options,
    /// Makes one; nothing is opened or started yet.
    pub create: Create<Box<dyn Receiver>>,
}

/// A processor of either shape.
pub enum Processor {
    /// Inline.
    Transform(Arc<dyn Transform>),
    /// In a task of its own.
    Stage(Box<dyn Stage>),
    /// A stage that acknowledges what it holds. Where a durable queue stands behind, the engine leaves it out and batches
    /// by the same settings behind that queue, so that senders hear success when their data is on disk and not before.
    Batch(Box<dyn Stage>, BatchSettings),
}

/// Makes processors.
#[derive(Debug, Clone, Copy)]
pub struct ProcessorFactory {
    /// Type as written in the configuration.
    pub kind: &'static str,
    /// Older names of the type.
    pub aliases: &'static [&'static str],
    /// Signals it works on.
    pub signals: &'static [Signal],
    /// How mature it is for each signal.
    pub stability: Maturity,
    /// `metadata.yaml` of the component.
    pub metadata: &'static str,
    /// What it can be configured with: `Options::of::<Config>()`.
    pub options: Options,
    /// One instance for all pipelines in which an id stands, instead of one for each. Only a [`Stage`] may be shared.
    pub shared: bool,
    /// Makes one.
    pub create: Create<Processor>,
}

/// An exporter and what is to stand in front of it.
pub struct ExporterParts {
    /// Sends.
    pub exporter: Arc<dyn Exporter>,
    /// Queue, batching, timeout, retries.
    pub delivery: DeliverySettings,
}

/// Makes exporters, one instance for each id and signal.
#[derive(Debug, Clone, Copy)]
pub struct ExporterFactory {
    /// Type as written in the configuration.
    pub kind: &'static str,
    /// Older names of the type.
    pub aliases: &'static [&'static str],
    /// Signals it can send.
    pub signals: &'static [Signal],
    /// How mature it is for each signal.
    pub stability: Maturity,
    /// `metadata.yaml` of the component.
    pub metadata: &'static str,
    /// What it can be configured with: `Options::of::<Config>()`.
    pub options: Options,
    /// Makes one for a signal.
    pub create: CreateFor<ExporterParts>,
}

/// Makes connectors, one instance for each id and signal that comes in.
#[derive(Debug, Clone, Copy)]
pub struct ConnectorFactory {
    /// Type as written in the configuration.
    pub kind: &'static str,
    /// Older names of the type.
    pub aliases: &'static [&'static str],
    /// From which signal to which.
    pub pairs: &'static [(Signal, Signal)],
    /// How mature it is for each signal.
    pub stability: Maturity,
    /// `metadata.yaml` of the component.
    pub metadata: &'static str,
    /// What it can be configured with: `Options::of::<Config>()`.
    pub options: Options,
    /// Makes one for a signal that comes in.
    pub create: CreateFor<Box<dyn Stage>>,
}

/// Makes extensions.
#[derive(Debug, Clone, Copy)]
pub struct ExtensionFactory {
    /// Type as written in the configuration.
    pub kind: &'static str,
    /// Older names of the type.
    pub aliases: &'static [&'static str],
    /// How mature it is.
    pub stability: Stability,
    /// `metadata.yaml` of the component.
    pub metadata: &'static str,
    /// What it can be configured with: `Options::of::<Config>()`.
    pub options: Options,
    /// What components may ask of it that name it in their options, as its capabilities. After a reload one that offers
    /// something lives on until they have ended.
    pub offers: &'static [weir_config::Offer],
    /// Makes one.
    pub create: Create<Box<dyn Extension>>,
}
