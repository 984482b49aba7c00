//! One thing that is wrong with a configuration.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::{Path, Span};

/// The most valid words that an error lists.
const MOST_ALLOWED: usize = 200;

/// What kind of mistake it is; stable names for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text is not YAML.
    Syntax,
    /// The same key twice in one mapping.
    Duplicate,
    /// A size, depth or count is over its limit.
    Limit,
    /// A file, URL or flag could not be read.
    Source,
    /// A `${...}` reference could not be resolved.
    Expansion,
    /// An option that does not exist.
    UnknownField,
    /// A value of the wrong type.
    Type,
    /// A value of the right type that cannot be used.
    Value,
    /// A component or pipeline id that is not well-formed.
    Id,
    /// A component type that does not exist.
    UnknownType,
    /// A pipeline for a signal that does not exist.
    Signal,
    /// A name that refers to nothing.
    Reference,
    /// Options that do not go together, or a required one that is missing.
    Invalid,
    /// A component that cannot start, such as one whose port is taken.
    Start,
    /// A component that nothing uses.
    Unused,
    /// A name that has been replaced.
    Deprecated,
}

impl ErrorKind {
    /// The name in `--error-format json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Duplicate => "duplicate",
            Self::Limit => "limit",
            Self::Source => "source",
            Self::Expansion => "expansion",
            Self::UnknownField => "unknown_field",
            Self::Type => "type",
            Self::Value => "value",
            Self::Id => "id",
            Self::UnknownType => "unknown_type",
            Self::Signal => "signal",
            Self::Reference => "reference",
            Self::Invalid => "invalid",
            Self::Start => "start",
            Self::Unused => "unused",
            Self::Deprecated => "deprecated",
        }
    }

    /// The step of loading that finds such mistakes.
    pub fn phase(self) -> Phase {
        match self {
            Self::Syntax | Self::Duplicate | Self::Limit | Self::Source | Self::Expansion => Phase::Resolve,
            Self::UnknownField | Self::Type | Self::Value | Self::Id | Self::UnknownType | Self::Signal => {
                Phase::Unmarshal
            }
            Self::Reference | Self::Invalid | Self::Start | Self::Unused | Self::Deprecated => {
                Phase::Validate
            }
        }
    }
}

/// Whether a configuration can be used all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can; but it is probably not what was meant.
    Warning,
}

impl Severity {
    /// The word before the message.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// The steps of loading, each with the prefix that scripts look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Reading, merging, expanding.
    Resolve,
    /// From text to typed settings.
    Unmarshal,
    /// Whether the settings make sense.
    Validate,
}

impl Phase {
    /// The prefix of the Collector's message for this step.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Resolve => "failed to get config: cannot resolve the configuration: ",
            Self::Unmarshal => "failed to get config: cannot unmarshal the configuration: ",
            Self::Validate => "invalid configuration: ",
        }
    }
}

/// One mistake: what, where, what was expected, and the cure. Its fields are those of [`Details`]; behind a box, so that
/// results stay small.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigError {
    details: Box<Details>,
}

/// The fields of a [`ConfigError`].
#[derive(Debug, Clone, PartialEq)]
pub struct Details {
    /// What kind of mistake it is.
    pub kind: ErrorKind,
    /// Whether the configuration can be used all the same.
    pub severity: Severity,
    /// Our sentence, lower case, without a full stop.
    pub message: String,
    /// The sentence with which the Collector says the same, for scripts that look for it; empty when `message` is it.
    pub core: String,
    /// Where it stands in the configuration; empty when it stands nowhere.
    pub path: Path,
    /// Where it is written; `None` when it is not written anywhere.
    pub span: Option<Span>,
    /// What was expected.
    pub expected: Option<String>,
    /// What was found; never filled for a secret.
    pub got: Option<String>,
    /// The nearest valid word.
    pub suggestion: Option<String>,
    /// The valid words, when they can be listed; at most 200.
    pub allowed: Vec<String>,
    /// The cure, when it is more than the suggestion.
    pub help: Option<String>,
    /// Other places that matter, each with a few words.
    pub related: Vec<(Span, String)>,
    /// Whether the value is a secret: then the quoted line hides it.
    pub secret: bool,
}

impl ConfigError {
    /// A mistake of which only the sentence is known yet.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let details = Details {
            kind,
            severity: Severity::Error,
            message: message.into(),
            core: String::new(),
            path: Path::new(),
            span: None,
            expected: None,
            got: None,
            suggestion: None,
            allowed: Vec::new(),
            help: None,
            related: Vec::new(),
            secret: false,
        };
        Self { details: Box::new(details) }
    }

    /// Makes it a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Says where it is written.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Says where it stands in the configuration.
    #[must_use]
    pub fn on(mut self, path: &Path) -> Self {
        self.path = path.clone();
        self
    }

    /// Adds the Collector's sentence.
    #[must_use]
    pub fn core(mut self, core: impl Into<String>) -> Self {
        self.core = core.into();
        self
    }

    /// Adds the cure.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the words that are valid here, and the nearest of them to `word` as the suggestion.
    #[must_use]
    pub fn choose<S: AsRef<str>>(mut self, word: &str, valid: &[S]) -> Self {
        self.suggestion = crate::suggest::nearest(word, valid);
        self.allowed = valid.iter().take(MOST_ALLOWED).map(|name| name.as_ref().to_owned()).collect();
        self
    }

    /// Adds another place that matters.
    #[must_use]
    pub fn related(mut self, span: Span, words: impl Into<String>) -> Self {
        self.related.push((span, words.into()));
        self
    }

    /// The line that the Collector would print for it, as far as scripts care: the place, then its sentence.
    pub fn collector_line(&self) -> String {
        let sentence = self.core_sentence();
        match self.kind.phase() {
            Phase::Resolve => sentence.to_owned(),
            Phase::Validate if self.path.is_empty() || sentence.contains(&self.path.to_string()) => {
                sentence.to_owned()
            }
            Phase::Validate => format!("{}: {sentence}", self.path),
            Phase::Unmarshal => match self.path.component_of() {
                Some((section, id)) => {
                    format!(
                        "'{section}' error reading configuration for {id:?}: decoding failed due to the following error(s): {sentence}"
                    )
                }
                None => format!("decoding failed due to the following error(s): {sentence}"),
            },
        }
    }

    /// The Collector's sentence, or ours where they are the same.
    pub fn core_sentence(&self) -> &str {
        if self.core.is_empty() { &self.message } else { &self.core }
    }
}

impl Deref for ConfigError {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.details
    }
}

impl DerefMut for ConfigError {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.details
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() && !self.message.contains(&self.path.to_string()) {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if !self.core.is_empty() && !self.message.contains(&self.core) {
            write!(f, " ({})", self.core)?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; did you mean `{suggestion}`?")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
