//! The one table of component types. A new component is one line here.

use weir_component::{Build, BuildError, Clock, Host, Stability};
use weir_config::{Catalog, KnownType, Node, Path, Section};
use weir_engine::Components;
use weir_pdata::Signal;

/// Everything this program can be configured with.
pub(crate) const COMPONENTS: Components = Components {
    receivers: &[
        weir_receiver_grpc_connections::FACTORY,
        weir_receiver_nop::FACTORY,
        weir_receiver_otlp::FACTORY,
        weir_receiver_pprof::FACTORY,
        weir_receiver_socket_diag::FACTORY,
    ],
    processors: &[
        weir_processor_attributes::FACTORY,
        weir_processor_batch::FACTORY,
        weir_processor_leak_detection::FACTORY,
        weir_processor_memory_limiter::FACTORY,
        weir_processor_probabilistic_sampler::FACTORY,
        weir_processor_resource::FACTORY,
        weir_processor_span::FACTORY,
    ],
    exporters: &[
        weir_exporter_debug::FACTORY,
        weir_exporter_file::FACTORY,
        weir_exporter_nop::FACTORY,
        weir_exporter_otlp_grpc::FACTORY,
        weir_exporter_otlp_http::FACTORY,
    ],
    connectors: &[weir_connector_connections::FACTORY, weir_connector_forward::FACTORY],
    extensions: &[
        weir_extension_basicauth::FACTORY,
        weir_extension_bearertokenauth::FACTORY,
        weir_extension_file_storage::FACTORY,
        weir_extension_headers_setter::FACTORY,
        weir_extension_health_check::FACTORY,
        weir_extension_pprof::FACTORY,
        weir_extension_zpages::FACTORY,
    ],
};

/// The same for the configuration: names, and a check of each body by building the component and forgetting it.
pub(crate) fn catalog(host: &Host, clock: &Clock) -> Catalog {
    let mut catalog = Catalog::new();
    let known = |kind, aliases, options, create: Try| {
        let (host, clock) = (host.clone(), clock.clone());
        KnownType::new(kind, aliases).with_options(options).checked_by(move |node: &Node, path: &Path| {
            let build =
                Build { id: &path.last(), node, path: path.clone(), host: &host, clock: clock.clone() };
            create(&build).err().map(|e| e.0).unwrap_or_default()
        })
    };
    for f in COMPONENTS.receivers {
        let create = f.create;
        let tried = known(f.kind, f.aliases, f.options, Box::new(move |b| create(b).map(drop)));
        catalog = catalog.with(Section::Receivers, tried);
    }
    for f in COMPONENTS.processors {
        let create = f.create;
        let tried = known(f.kind, f.aliases, f.options, Box::new(move |b| create(b).map(drop)));
        catalog = catalog.with(Section::Processors, tried);
    }
    for f in COMPONENTS.exporters {
        let (create, signals) = (f.create, f.signals);
        // Which signals it is for is not known here: it is wrong when it is wrong for all.
        let attempts = move |b: &Build<'_>| {
            let mut tried = signals.iter().map(|s| create(b, *s).map(drop));
            let first = tried.next().unwrap_or(Ok(()));
            if first.is_err() && tried.any(|t| t.is_ok()) { Ok(()) } else { first }
        };
        catalog = catalog.with(Section::Exporters, known(f.kind, f.aliases, f.options, Box::new(attempts)));
    }
    for f in COMPONENTS.connectors {
        let (create, from) = (f.create, f.pairs[0].0);
        let tried = known(f.kind, f.aliases, f.options, Box::new(move |b| create(b, from).map(drop)));
        catalog = catalog.with(Section::Connectors, tried);
    }
    for f in COMPONENTS.extensions {
        let create = f.create;
        let tried = known(f.kind, f.aliases, f.options, Box::new(move |b| create(b).map(drop)));
        catalog = catalog.with(Section::Extensions, tried.offering(f.offers));
    }
    catalog
}

/// How mature the type of this name or alias is for a signal; extensions have none.
pub(crate) fn stability(section: Section, kind: &str, signal: Option<Signal>) -> Option<Stability> {
    let is = |name: &str, aliases: &[&str]| name == kind || aliases.contains(&kind);
    let maturity = match section {
        Section::Receivers => COMPONENTS.receivers.iter().find(|f| is(f.kind, f.aliases))?.stability,
        Section::Processors => COMPONENTS.processors.iter().find(|f| is(f.kind, f.aliases))?.stability,
        Section::Exporters => COMPONENTS.exporters.iter().find(|f| is(f.kind, f.aliases))?.stability,
        Section::Connectors => COMPONENTS.connectors.iter().find(|f| is(f.kind, f.aliases))?.stability,
        Section::Extensions => {
            return COMPONENTS.extensions.iter().find(|f| is(f.kind, f.aliases)).map(|f| f.stability);
        }
    };
    signal.map(|signal| maturity.of(signal))
}

/// Builds a component and forgets it.
type Try = Box<dyn Fn(&Build<'_>) -> Result<(), BuildError> + Send + Sync>;
