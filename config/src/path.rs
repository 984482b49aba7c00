//! Where a value stands in the configuration.

use std::fmt;

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Step {
    /// A named option.
    Field(String),
    /// A key chosen by the user, such as a component id.
    Key(String),
    /// A place in a list, from 0.
    Index(usize),
}

/// The way from the top of the configuration to a value: `receivers::otlp::protocols::grpc`.
///
/// The Collector's messages name a value relative to its component and in another notation (`'protocols.grpc'`);
/// a path remembers where its component begins, so that both can be printed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Path {
    steps: Vec<Step>,
    root: usize,
}

impl Path {
    /// The top of the configuration.
    pub fn new() -> Self {
        Self::default()
    }

    /// The body of a component: `Path::component("receivers", "otlp/2")`.
    pub fn component(section: &str, id: &str) -> Self {
        let mut path = Self::new().field(section).key(id);
        path.root = path.steps.len();
        path
    }

    /// A body without a component around it, for tests and for settings read on their own.
    pub fn parse(text: &str) -> Self {
        let steps = text.split("::").filter(|step| !step.is_empty());
        Self { steps: steps.map(|step| Step::Field(step.to_owned())).collect(), root: 0 }
    }

    /// One step down to a named option.
    pub fn field(&self, name: &str) -> Self {
        self.with(Step::Field(name.to_owned()))
    }

    /// One step down to a key chosen by the user.
    pub fn key(&self, name: &str) -> Self {
        self.with(Step::Key(name.to_owned()))
    }

    /// One step down to a place in a list, from 0.
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    /// The place that holds this one; `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        let (_, steps) = self.steps.split_last()?;
        Some(Self { steps: steps.to_vec(), root: self.root })
    }

    /// Section and id of the component that it lies in.
    pub fn component_of(&self) -> Option<(String, String)> {
        match (self.root, self.steps.as_slice()) {
            (2, [section, id, ..]) => Some((section.text(), id.text())),
            _ => None,
        }
    }

    /// Whether it is the body of a component.
    pub fn is_body(&self) -> bool {
        self.root > 0 && self.steps.len() == self.root
    }

    /// The last step as text, empty at the top.
    pub fn last(&self) -> String {
        self.steps.last().map(Step::text).unwrap_or_default()
    }

    /// All steps as text.
    pub fn steps(&self) -> impl Iterator<Item = String> + '_ {
        self.steps.iter().map(Step::text)
    }

    /// Whether it is the top.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The name within its component as the Collector writes it: `protocols.grpc.headers[x]`.
    /// The body of a component itself is `[id]`.
    pub fn relative(&self) -> String {
        let own = self.steps.get(self.root..).unwrap_or_default();
        if own.is_empty() {
            return self.steps.last().map(|step| format!("[{}]", step.text())).unwrap_or_default();
        }
        let mut text = String::new();
        for step in own {
            match step {
                Step::Field(name) if text.is_empty() => text.push_str(name),
                Step::Field(name) => {
                    text.push('.');
                    text.push_str(name);
                }
                other => {
                    text.push('[');
                    text.push_str(&other.text());
                    text.push(']');
                }
            }
        }
        text
    }

    /// The same place, counted from here as the root of a component.
    pub fn rooted(mut self) -> Self {
        self.root = self.steps.len();
        self
    }

    /// The same with the names of options as sentences may quote them ([`crate::shown_name`]).
    pub(crate) fn shown(mut self) -> Self {
        for step in self.steps.iter_mut().skip(self.root) {
            if let Step::Field(name) | Step::Key(name) = step {
                *name = crate::shown_name(name);
            }
        }
        self
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.steps.clone();
        steps.push(step);
        Self { steps, root: self.root }
    }
}

impl Step {
    fn text(&self) -> String {
        match self {
            Self::Field(name) | Self::Key(name) => name.clone(),
            Self::Index(index) => index.to_string(),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.steps.iter().enumerate() {
            if position > 0 {
                f.write_str("::")?;
            }
            f.write_str(&step.text())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prints_in_both_notations() {
        let path = Path::component("receivers", "otlp/2").field("protocols").field("grpc");
        assert_eq!(path.to_string(), "receivers::otlp/2::protocols::grpc");
        assert_eq!(path.relative(), "protocols.grpc");
        assert_eq!(path.field("headers").key("x").relative(), "protocols.grpc.headers[x]");
        assert_eq!(path.field("actions").index(0).field("key").relative(), "protocols.grpc.actions[0].key");
        assert_eq!(Path::component("receivers", "nop").relative(), "[nop]");
        assert_eq!(
            path.parent().map(|path| path.to_string()).as_deref(),
            Some("receivers::otlp/2::protocols")
        );
    }
}
