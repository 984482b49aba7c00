//! `include` and `exclude` for all signals of a processor.

use weir_component::{Build, BuildError, Failure};
use weir_config::{Issues, Node, Path};
use weir_pdata::Signal;

use super::{MatchConfig, Selection};
use crate::Problem;

/// A [`Selection`] for each signal for which the options make sense. A processor does not know in which pipelines it
/// stands when it is made, so what is wrong for one signal only is told when it is put into such a pipeline.
#[derive(Debug)]
pub struct Selections(Vec<(Signal, Result<Selection, BuildError>)>);

impl Selections {
    /// Checks the options for these signals.
    ///
    /// # Errors
    /// What is wrong, when it is so for all signals.
    pub fn new(
        config: &MatchConfig,
        signals: &[Signal],
        build: &Build<'_>,
    ) -> Result<Selections, BuildError> {
        let selection = |signal| {
            Selection::new(config, signal)
                .map_err(|(section, problem)| error(section, problem, build.node, &build.path))
        };
        let mut all: Vec<_> = signals.iter().map(|signal| (*signal, selection(*signal))).collect();
        match all.iter().all(|(_, result)| result.is_err()).then(|| all.remove(0)) {
            Some((_, Err(error))) => Err(error),
            _ => Ok(Selections(all)),
        }
    }

    /// Whether the options make sense for a signal.
    ///
    /// # Errors
    /// What is wrong.
    pub fn accepts(&self, signal: Signal) -> Result<(), BuildError> {
        match self.find(signal) {
            Some(Err(error)) => Err(BuildError(error.0.clone())),
            _ => Ok(()),
        }
    }

    /// What is selected of a signal.
    ///
    /// # Errors
    /// The options make no sense for that signal.
    pub fn of(&self, signal: Signal) -> Result<&Selection, Failure> {
        match self.find(signal) {
            Some(Ok(selection)) => Ok(selection),
            Some(Err(error)) => Err(Failure::permanent(error.to_string())),
            None => Err(Failure::permanent(format!("include and exclude know no {signal}"))),
        }
    }

    fn find(&self, signal: Signal) -> Option<&Result<Selection, BuildError>> {
        self.0.iter().find(|(s, _)| *s == signal).map(|(_, result)| result)
    }
}

fn error(section: &'static str, problem: Problem, node: &Node, path: &Path) -> BuildError {
    let mut issues = Issues::default();
    issues.within(section, |issues| issues.at(problem.option, problem.message));
    BuildError(issues.into_errors(node, path))
}
