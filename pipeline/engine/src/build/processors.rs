//! Processors in one pipeline: in their sender's task, stages of their own, or left out.

use std::sync::Arc;

use weir_component::{Output, Port, Processor, Stage, Transform};

use super::{Builder, Tools, find, signature};
use crate::batch;
use crate::counted::{Flow, Outgoing, Timing};
use crate::graph::Connections;
use crate::inline::Inline;
use crate::running::{Key, Running, WayIn};
use crate::spec::{ComponentSpec, PipelineSpec};
use crate::stage::MailboxMaker;

/// Where a processor stands that is one instance for each pipeline.
struct Place<'a> {
    id: &'a str,
    pipeline: &'a PipelineSpec,
    flow: Flow,
    /// What follows.
    next: Output,
    /// Whether senders are refused while a stage waits for what follows.
    refuses: bool,
}

impl Place<'_> {
    fn key(&self) -> Key {
        Key::Stage(self.pipeline.id.clone(), self.id.to_owned())
    }

    /// The one way out, to `output`.
    fn port(&self, output: Output) -> Port {
        Port { signal: self.pipeline.signal, pipeline: self.pipeline.id.clone(), output }
    }
}

impl<'a> Builder<'a> {
    /// The way into a processor of the pipeline `at`, in front of `next`.
    pub(super) fn processor(
        &mut self,
        connections: &Connections<'_>,
        id: &'a str,
        at: usize,
        next: Output,
    ) -> Option<Output> {
        let pipeline = &self.spec.pipelines[at];
        let spec = find(&self.spec.processors, id)?;
        let factory = self.components.processor(spec.kind())?;
        if !factory.signals.contains(&pipeline.signal) {
            let message = format!("failed to create \"{id}\" processor, in pipeline \"{}\"", pipeline.id);
            self.unsupported("processors", spec, message);
            return None;
        }
        let flow = Flow::new(id, pipeline.signal, &self.tools.host);
        let mut place = Place { id, pipeline, flow, next, refuses: false };
        if factory.shared {
            return self.shared_port(id, spec, place.port(place.next.clone()), &place.flow);
        }
        if self.batches_behind(&place, at) {
            return Some(place.next);
        }
        if batch::may_refuse(self, connections, at) {
            place.refuses = true;
            place.next = Output::new(Arc::new(batch::Patient(place.next)));
        }
        match self.kept(&place.key(), spec) {
            Some(node) => self.kept_processor(node, place),
            None => self.new_processor(spec, at, place),
        }
    }

    /// Whether it is a batch processor in front of a durable queue, behind which the batching happens instead.
    fn batches_behind(&self, place: &Place<'_>, at: usize) -> bool {
        let behind = self.durable.contains(&at) && batch::settings(self, place.id).is_some();
        if behind {
            tracing::info!(
                otelcol.component.id = place.id,
                otelcol.component.kind = "processor",
                pipeline = %place.pipeline.id,
                "A durable queue stands behind: batching by these settings happens behind it, and behind the queues of exporters \
                 beside it"
            );
        }
        behind
    }

    fn kept_processor(&mut self, node: Running, place: Place<'_>) -> Option<Output> {
        let port = place.port(place.next.clone());
        let mailbox = self.turn(place.key(), node, vec![port])?;
        self.parts.refusals.push((mailbox.clone(), place.refuses));
        Some(Output::new(Arc::new(mailbox.port(0, place.flow.incoming))))
    }

    fn new_processor(&mut self, spec: &'a ComponentSpec, at: usize, place: Place<'_>) -> Option<Output> {
        let create = self.components.processor(spec.kind())?.create;
        let processor = create(&self.build("processors", spec));
        match self.keep(processor)? {
            Processor::Transform(transform) => self.inline(transform, place),
            Processor::Stage(stage) => Some(self.stage_of_its_own(spec, stage, place)),
            Processor::Batch(stage, _) => {
                batch::warn_of_early_answers(self, place.id, at);
                Some(self.stage_of_its_own(spec, stage, place))
            }
        }
    }

    fn inline(&mut self, transform: Arc<dyn Transform>, place: Place<'_>) -> Option<Output> {
        let Place { id, pipeline, flow, next, .. } = place;
        self.keep(transform.accepts(pipeline.signal))?;
        let Tools { host, clock, fatal, .. } = self.tools;
        self.parts.transforms.push(Arc::clone(&transform));
        let timing = Timing::new(id, pipeline.signal, host, clock);
        let (id, fatal) = (id.to_owned(), fatal.clone());
        Some(Output::new(Arc::new(Inline { id, fatal, transform, flow, timing, next })))
    }

    fn stage_of_its_own(&mut self, spec: &ComponentSpec, stage: Box<dyn Stage>, place: Place<'_>) -> Output {
        let (mailbox, letters) = MailboxMaker::new(self.tools.host.budget());
        mailbox.refuse_when_stuck(place.refuses);
        let entry = Output::new(Arc::new(mailbox.port(0, place.flow.incoming.clone())));
        let (next, joint) = Output::jointed(place.next.clone());
        let counted = Outgoing { count: place.flow.outgoing.clone(), next };
        let ports = vec![place.port(Output::new(Arc::new(counted)))];
        let node = Running {
            joints: vec![joint],
            ports: signature(&ports),
            ..Running::new(spec.node.clone(), WayIn::Stage(mailbox))
        };
        self.stage(place.key(), node, stage, letters, ports, None);
        entry
    }
}
