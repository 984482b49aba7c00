//! Which items a processor works on: `include` and `exclude`.
//!
//! An item is worked on when it matches `include`, if that is given, and does not match `exclude`. Within one of them
//! all properties that are given must match, of a list of names one.

mod attributes;
mod config;
mod names;
mod rule;
mod selections;

use weir_pdata::{Signal, view};

use crate::Problem;
pub use config::{MatchConfig, MatchProperties};
use rule::Rule;
pub use selections::Selections;

/// Checked `include` and `exclude` for one signal.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    include: Option<Rule>,
    exclude: Option<Rule>,
}

impl Selection {
    /// Checks the options for a signal.
    ///
    /// # Errors
    /// The first thing that is wrong, in which section.
    pub fn new(config: &MatchConfig, signal: Signal) -> Result<Selection, (&'static str, Problem)> {
        let rule = |name, properties: &Option<MatchProperties>| match properties {
            None => Ok(None),
            Some(properties) => Rule::new(properties, signal).map_err(|problem| (name, problem)),
        };
        Ok(Selection {
            include: rule("include", &config.include)?,
            exclude: rule("exclude", &config.exclude)?,
        })
    }

    /// A selector to take along through one request.
    pub fn selector(&self) -> Selector<'_> {
        Selector { selection: self, resource: Matches::default(), scope: Matches::default() }
    }
}

/// Decides item by item; what the resource and the scope say is remembered for the items below them.
#[derive(Debug)]
pub struct Selector<'s> {
    selection: &'s Selection,
    resource: Matches,
    /// With what the resource says.
    scope: Matches,
}

/// Whether what is at hand matches, as far as it is asked.
#[derive(Debug, Clone, Copy, Default)]
struct Matches {
    include: bool,
    exclude: bool,
}

impl Selector<'_> {
    /// Takes note of a resource; `false` when nothing below it is worked on.
    pub fn enter_resource(&mut self, resource: view::Resource<'_>) -> bool {
        self.resource = Matches {
            include: self.selection.include.as_ref().is_none_or(|rule| rule.resource(resource)),
            exclude: self.selection.exclude.as_ref().is_some_and(|rule| rule.resource(resource)),
        };
        self.resource.include
    }

    /// Takes note of a scope below that resource; `false` when nothing below it is worked on.
    pub fn enter_scope(&mut self, scope: view::Scope<'_>) -> bool {
        let Matches { include, exclude } = self.resource;
        self.scope = Matches {
            include: include && self.selection.include.as_ref().is_none_or(|rule| rule.scope(scope)),
            exclude: exclude && self.selection.exclude.as_ref().is_some_and(|rule| rule.scope(scope)),
        };
        self.scope.include
    }

    /// Whether a span below that scope is worked on.
    pub fn span(&self, span: view::Span<'_>) -> bool {
        self.decide(|rule| rule.span(span))
    }

    /// Whether a log record below that scope is worked on.
    pub fn log_record(&self, record: view::LogRecord<'_>) -> bool {
        self.decide(|rule| rule.log_record(record))
    }

    /// Whether a metric below that scope is worked on.
    pub fn metric(&self, metric: view::Metric<'_>) -> bool {
        self.decide(|rule| rule.metric(metric))
    }

    fn decide(&self, matches: impl Fn(&Rule) -> bool) -> bool {
        self.scope.include
            && self.selection.include.as_ref().is_none_or(&matches)
            && !(self.scope.exclude && self.selection.exclude.as_ref().is_some_and(matches))
    }
}

#[cfg(test)]
mod tests;
