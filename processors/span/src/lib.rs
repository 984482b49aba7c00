//! Renames spans from and to attributes, and sets their status.

mod config;
mod rename;

use std::sync::Arc;

use prost::Message as _;
use weir_component::{
    Build, BuildError, Context, Failure, Maturity, Processor, ProcessorFactory, Stability, Transform, Verdict,
};
use weir_pdata::edit::{Editor, Message, Then};
use weir_pdata::otlp::trace::v1::Status;
use weir_pdata::{Payload, Signal, view};
use weir_processing::{Selections, Selector};

use config::Config;
use rename::Rename;

/// Fields of a `Span`.
const NAME: u32 = 5;
const STATUS: u32 = 15;

/// Makes `span` processors.
pub const FACTORY: ProcessorFactory = ProcessorFactory {
    kind: "span",
    aliases: &[],
    signals: &[Signal::Traces],
    stability: Maturity::all(Stability::Alpha),
    metadata: include_str!("../metadata.yaml"),
    options: weir_config::Options::of::<Config>(),
    shared: false,
    create,
};

fn create(build: &Build<'_>) -> Result<Processor, BuildError> {
    let config: Config = build.checked()?;
    let selections = Selections::new(&config.matching, &[Signal::Traces], build)?;
    let rename = Rename::new(&config.name).map_err(|(_, why)| build.invalid(why))?;
    let status = config.status.as_ref().map(|status| {
        let code = status.code() as i32;
        Status { message: status.description.clone(), code }.encode_to_vec()
    });
    Ok(Processor::Transform(Arc::new(Span { selections, rename, status })))
}

struct Span {
    selections: Selections,
    rename: Rename,
    /// The encoded status to set.
    status: Option<Vec<u8>>,
}

impl Transform for Span {
    fn apply(&self, payload: &mut Payload, _: &Context) -> Result<Verdict, Failure> {
        let selector = self.selections.of(payload.signal())?.selector();
        payload.edit(&mut Apply { span: self, selector });
        Ok(Verdict::Pass)
    }
}

struct Apply<'a> {
    span: &'a Span,
    selector: Selector<'a>,
}

impl Editor for Apply<'_> {
    fn resource(&mut self, below: view::Resource<'_>, _: &mut Message<'_, '_>) -> Then {
        if self.selector.enter_resource(below) { Then::Descend } else { Then::Keep }
    }

    fn scope(&mut self, below: view::Scope<'_>, _: &mut Message<'_, '_>) -> Then {
        if self.selector.enter_scope(below) { Then::Descend } else { Then::Keep }
    }

    fn item(&mut self, item: &mut Message<'_, '_>) -> Then {
        let Some(span) = item.as_span().filter(|span| self.selector.span(*span)) else {
            return Then::Keep;
        };
        if let Some(name) =
            item.attributes().and_then(|attributes| self.span.rename.apply(span.name(), attributes))
        {
            item.set(NAME, name.as_bytes());
        }
        if let Some(status) = &self.span.status {
            item.set(STATUS, status);
        }
        Then::Keep
    }
}

#[cfg(test)]
mod tests;
