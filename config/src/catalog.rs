//! Which component types there are.

use std::fmt;
use std::sync::Arc;

use crate::{ConfigError, ConfigValue, Node, Options, Path, Validate};

/// Checks the body of a component without building it.
type Check = Arc<dyn Fn(&Node, &Path) -> Vec<ConfigError> + Send + Sync>;

/// The five sections of components.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// `receivers`
    Receivers,
    /// `processors`
    Processors,
    /// `exporters`
    Exporters,
    /// `connectors`
    Connectors,
    /// `extensions`
    Extensions,
}

impl Section {
    /// All of them, in the order in which they are read.
    pub const ALL: [Self; 5] =
        [Self::Receivers, Self::Processors, Self::Exporters, Self::Connectors, Self::Extensions];

    /// The key in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receivers => "receivers",
            Self::Processors => "processors",
            Self::Exporters => "exporters",
            Self::Connectors => "connectors",
            Self::Extensions => "extensions",
        }
    }

    /// One component of it: `receiver`.
    pub const fn singular(self) -> &'static str {
        match self {
            Self::Receivers => "receiver",
            Self::Processors => "processor",
            Self::Exporters => "exporter",
            Self::Connectors => "connector",
            Self::Extensions => "extension",
        }
    }
}

/// What a type of extension can do for components that name one in their options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// Checks callers or signs requests: `auth::authenticator`.
    Authentication,
    /// Keeps queues: `sending_queue::storage`.
    Storage,
}

/// A component type.
#[derive(Clone)]
pub struct KnownType {
    name: &'static str,
    aliases: &'static [&'static str],
    options: Option<Options>,
    check: Option<Check>,
    offers: Option<&'static [Offer]>,
}

impl fmt::Debug for KnownType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KnownType({}, {:?})", self.name, self.aliases)
    }
}

impl KnownType {
    /// A type, with the deprecated names that it is still known by.
    pub const fn new(name: &'static str, aliases: &'static [&'static str]) -> Self {
        Self { name, aliases, options: None, check: None, offers: None }
    }

    /// Says what it can be configured with; without it nothing of it is printed, and no unknown option is let pass.
    #[must_use]
    pub const fn with_options(mut self, options: Options) -> Self {
        self.options = Some(options);
        self
    }

    /// Says what it can do for others; without it, it is taken for able to do anything.
    #[must_use]
    pub const fn offering(mut self, offers: &'static [Offer]) -> Self {
        self.offers = Some(offers);
        self
    }

    /// Whether it can do this for others.
    pub(crate) fn can(&self, offer: Offer) -> bool {
        self.offers.is_none_or(|offers| offers.contains(&offer))
    }

    /// Has the bodies of this type checked while the configuration is read, so that their errors are reported together
    /// with all others: `KnownType::new("batch", &[]).checked_by(check::<batch::Config>)`.
    #[must_use]
    pub fn checked_by(
        mut self,
        check: impl Fn(&Node, &Path) -> Vec<ConfigError> + Send + Sync + 'static,
    ) -> Self {
        self.check = Some(Arc::new(check));
        self
    }

    /// What it can be configured with.
    pub const fn options(&self) -> Option<Options> {
        self.options
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// Reads and checks a body as settings of type `T`.
pub fn check<T: ConfigValue + Validate>(body: &Node, path: &Path) -> Vec<ConfigError> {
    crate::load::<T>(body, path).err().unwrap_or_default()
}

/// All component types.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    types: Vec<(Section, KnownType)>,
}

impl Catalog {
    /// Without any type.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a type to a section.
    #[must_use]
    pub fn with(mut self, section: Section, known: KnownType) -> Self {
        self.types.push((section, known));
        self
    }

    /// The type of this name or alias.
    pub fn find(&self, section: Section, name: &str) -> Option<&KnownType> {
        self.of(section).find(|known| known.name == name || known.aliases.contains(&name))
    }

    /// Checks a body, if its type says how.
    pub(crate) fn check(&self, section: Section, name: &str, body: &Node, path: &Path) -> Vec<ConfigError> {
        self.find(section, name)
            .and_then(|known| known.check.as_ref())
            .map(|check| check(body, path))
            .unwrap_or_default()
    }

    /// All names of a section, aliases included, sorted.
    pub fn names(&self, section: Section) -> Vec<&'static str> {
        let mut names: Vec<&'static str> =
            self.of(section).flat_map(|known| known.aliases.iter().copied().chain([known.name])).collect();
        names.sort_unstable();
        names
    }

    /// Names of the types of extensions that can do this for others.
    pub(crate) fn offering(&self, offer: Offer) -> Vec<&'static str> {
        self.of(Section::Extensions).filter(|known| known.can(offer)).map(|known| known.name).collect()
    }

    fn of(&self, section: Section) -> impl Iterator<Item = &KnownType> {
        self.types.iter().filter(move |(own, _)| *own == section).map(|(_, known)| known)
    }
}
