//! Whether settings that are well-formed also make sense.

use crate::{ConfigError, ErrorKind, Node, Optional, Path, Span};

/// Settings that can be checked beyond their types.
pub trait Validate {
    /// Says everything that is wrong.
    fn validate(&self, issues: &mut Issues);
}

/// What is wrong with settings, gathered on a walk through them.
#[derive(Debug, Default)]
pub struct Issues {
    here: Vec<String>,
    found: Vec<Issue>,
}

#[derive(Debug)]
struct Issue {
    place: Vec<String>,
    /// The option at the place whose line is quoted.
    option: Option<&'static str>,
    message: String,
    help: Option<String>,
    /// The value of the option is not quoted.
    secret: bool,
}

impl Issues {
    /// The settings at this place are wrong as a whole. Messages are the Collector's, where it has one.
    pub fn error(&mut self, message: impl Into<String>) {
        self.push(None, message.into(), None);
    }

    /// As [`Issues::error`], and the line of this option is the one to quote.
    pub fn at(&mut self, option: &'static str, message: impl Into<String>) {
        self.push(Some(option), message.into(), None);
    }

    /// As [`Issues::at`], where the value may be a secret: it is not quoted.
    pub fn at_secret(&mut self, option: &'static str, message: impl Into<String>) {
        self.at(option, message);
        if let Some(issue) = self.found.last_mut() {
            issue.secret = true;
        }
    }

    /// As [`Issues::at`], with the cure.
    pub fn at_with_help(
        &mut self,
        option: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Some(option), message.into(), Some(help.into()));
    }

    /// Goes into a section.
    pub fn within(&mut self, section: impl Into<String>, check: impl FnOnce(&mut Self)) {
        self.here.push(section.into());
        check(self);
        self.here.pop();
    }

    /// Checks a section.
    pub fn section<T: Validate>(&mut self, section: impl Into<String>, settings: &T) {
        self.within(section, |issues| settings.validate(issues));
    }

    /// Checks a section that can be off.
    pub fn optional<T: Validate>(&mut self, section: impl Into<String>, settings: &Optional<T>) {
        if let Some(settings) = settings.as_ref() {
            self.section(section, settings);
        }
    }

    /// The messages without their places, for tests.
    pub fn messages(&self) -> Vec<&str> {
        self.found.iter().map(|issue| issue.message.as_str()).collect()
    }

    /// The errors with their places in the body that the settings were read from.
    pub fn into_errors(self, body: &Node, path: &Path) -> Vec<ConfigError> {
        let errors = self.found.into_iter().map(|issue| {
            let place = issue.place.iter().fold(path.clone(), |path, step| path.field(step));
            let mut steps: Vec<&str> = issue.place.iter().map(String::as_str).collect();
            steps.extend(issue.option);
            let message = format!("{place}: {}", issue.message);
            let mut error = ConfigError::new(ErrorKind::Invalid, message).core(issue.message).on(&place);
            error.span = Some(locate(body, &steps));
            error.help = issue.help;
            error.secret = issue.secret;
            error
        });
        errors.collect()
    }

    fn push(&mut self, option: Option<&'static str>, message: String, help: Option<String>) {
        self.found.push(Issue { place: self.here.clone(), option, message, help, secret: false });
    }
}

/// Checks settings; the errors get the positions of the body they were read from.
pub fn validate<T: Validate>(settings: &T, body: &Node, path: &Path) -> Vec<ConfigError> {
    let mut issues = Issues::default();
    settings.validate(&mut issues);
    issues.into_errors(body, path)
}

/// The position of the deepest of these steps that was written.
fn locate(body: &Node, steps: &[&str]) -> Span {
    let (mut node, mut span) = (body, body.span);
    for step in steps {
        match &node.kind {
            crate::NodeKind::Map(map) => match map.entry(step) {
                Some((key, value)) => (node, span) = (value, key.span),
                None => break,
            },
            crate::NodeKind::Seq(items) => {
                match step.parse::<usize>().ok().and_then(|index| items.get(index)) {
                    Some(item) => (node, span) = (item, item.span),
                    None => break,
                }
            }
            _ => break,
        }
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SourceId, yaml};

    struct Settings;

    impl Validate for Settings {
        fn validate(&self, issues: &mut Issues) {
            issues.error("as a whole");
            issues.within("tls", |issues| {
                issues.at("cert_file", "written");
                issues.at("key_file", "not written");
            });
            issues.within("targets", |issues| issues.within("1", |issues| issues.at("port", "in a list")));
        }
    }

    #[test]
    fn an_issue_points_at_the_deepest_place_that_was_written() {
        let body = yaml::parse("tls:\n  cert_file: x\ntargets:\n- port: 1\n- port: 2\n", SourceId::default())
            .unwrap();
        let errors = validate(&Settings, &body, &Path::component("exporters", "otlp"));
        let shown: Vec<(u32, String)> =
            errors.iter().map(|error| (error.span.unwrap().line, error.message.clone())).collect();
        let expected = [
            (1, "exporters::otlp: as a whole"),
            (2, "exporters::otlp::tls: written"),
            (1, "exporters::otlp::tls: not written"),
            (5, "exporters::otlp::targets::1: in a list"),
        ];
        assert_eq!(shown, expected.map(|(line, text)| (line, text.to_owned())));
    }
}
