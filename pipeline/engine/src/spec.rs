//! What to build: the configuration as the engine sees it, and the tables of factories.

use weir_component::{
    ConnectorFactory, ExporterFactory, ExtensionFactory, ProcessorFactory, ReceiverFactory,
};
use weir_config::Node;
use weir_pdata::Signal;

/// All component types of a program: one visible table.
#[derive(Debug, Clone, Copy)]
pub struct Components {
    /// Receivers.
    pub receivers: &'static [ReceiverFactory],
    /// Processors.
    pub processors: &'static [ProcessorFactory],
    /// Exporters.
    pub exporters: &'static [ExporterFactory],
    /// Connectors.
    pub connectors: &'static [ConnectorFactory],
    /// Extensions.
    pub extensions: &'static [ExtensionFactory],
}

macro_rules! find {
    ($($name:ident, $list:ident, $factory:ty;)*) => {
        impl Components {$(
            #[doc = concat!("The factory of that type or alias among the ", stringify!($list), ".")]
            pub fn $name(&self, kind: &str) -> Option<&'static $factory> {
                self.$list.iter().find(|f| f.kind == kind || f.aliases.contains(&kind))
            }
        )*}
    };
}
find! {
    receiver, receivers, ReceiverFactory;
    processor, processors, ProcessorFactory;
    exporter, exporters, ExporterFactory;
    connector, connectors, ConnectorFactory;
    extension, extensions, ExtensionFactory;
}

/// A service to run. References between its parts have been checked.
#[derive(Debug, Clone, Default)]
pub struct ServiceSpec {
    /// Configured receivers.
    pub receivers: Vec<ComponentSpec>,
    /// Configured processors.
    pub processors: Vec<ComponentSpec>,
    /// Configured exporters.
    pub exporters: Vec<ComponentSpec>,
    /// Configured connectors.
    pub connectors: Vec<ComponentSpec>,
    /// Extensions to start, in order.
    pub extensions: Vec<ComponentSpec>,
    /// Pipelines.
    pub pipelines: Vec<PipelineSpec>,
}

/// One configured component.
#[derive(Debug, Clone)]
pub struct ComponentSpec {
    /// Id as written: `otlp/2`.
    pub id: String,
    /// Its body.
    pub node: Node,
}

impl ComponentSpec {
    /// The type: what stands before the slash.
    pub fn kind(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }
}

/// One pipeline.
#[derive(Debug, Clone)]
pub struct PipelineSpec {
    /// Its signal.
    pub signal: Signal,
    /// Id as written: `traces/front`.
    pub id: String,
    /// Ids of receivers and connectors.
    pub receivers: Vec<String>,
    /// Ids of processors, in order.
    pub processors: Vec<String>,
    /// Ids of exporters and connectors.
    pub exporters: Vec<String>,
}
