//! What is wrong with a configuration.

use weir_config::{ConfigError, ErrorKind};

use crate::spec::{ComponentSpec, ServiceSpec};

/// One thing that keeps a configuration from being built.
#[derive(Debug)]
pub struct Problem(pub ConfigError);

impl Problem {
    /// One of the graph, shown at a connector.
    pub(crate) fn with_connector(spec: &ServiceSpec, id: &str, message: String) -> Problem {
        Problem::with(&spec.connectors, id, message)
    }

    /// One of the graph, shown at a processor.
    pub(crate) fn with_processor(spec: &ServiceSpec, id: &str, message: String) -> Problem {
        Problem::with(&spec.processors, id, message)
    }

    fn with(list: &[ComponentSpec], id: &str, message: String) -> Problem {
        let mut error = ConfigError::new(ErrorKind::Invalid, message);
        error.span = list.iter().find(|own| own.id == id).map(|own| own.node.span);
        Problem(error)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
