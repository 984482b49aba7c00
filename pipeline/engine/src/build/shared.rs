//! Processors that are one instance for all their pipelines.

use std::sync::Arc;

use weir_component::{Joint, Output, Port, Processor, Stage};
use weir_pdata::Signal;

use super::{Builder, find, signature};
use crate::counted::{Flow, Outgoing};
use crate::running::{Key, Running, WayIn};
use crate::spec::ComponentSpec;
use crate::stage::{Letters, MailboxMaker, Predecessor};

/// A processor that is one instance for several pipelines.
pub(super) struct Shared {
    maker: MailboxMaker,
    ports: Vec<Port>,
    joints: Vec<Joint>,
    /// The stage and its mailbox; none when it runs already.
    new: Option<(Box<dyn Stage>, Letters)>,
}

impl<'a> Builder<'a> {
    /// One more pipeline of a processor that is one instance for all of them.
    pub(super) fn shared_port(
        &mut self,
        id: &str,
        spec: &'a ComponentSpec,
        port: Port,
        flow: &Flow,
    ) -> Option<Output> {
        if !self.shared.contains_key(id) {
            let kept = self.kept(&Key::Shared(id.to_owned()), spec);
            let kept = kept.filter(|node| node.ports == self.stands(id));
            let shared = match kept.map(|node| node.way_in) {
                Some(WayIn::Stage(maker)) => {
                    Shared { maker, ports: Vec::new(), joints: Vec::new(), new: None }
                }
                _ => {
                    let create = self.components.processor(spec.kind())?.create;
                    let processor = create(&self.build("processors", spec));
                    let Processor::Stage(stage) = self.keep(processor)? else { return None };
                    let (maker, letters) = MailboxMaker::new(self.tools.host.budget());
                    Shared { maker, ports: Vec::new(), joints: Vec::new(), new: Some((stage, letters)) }
                }
            };
            self.shared.insert(id.to_owned(), shared);
        }
        let shared = self.shared.get_mut(id)?;
        let entry = Output::new(Arc::new(shared.maker.port(shared.ports.len(), flow.incoming.clone())));
        if shared.new.is_none() {
            shared.ports.push(port);
            return Some(entry);
        }
        let (next, joint) = Output::jointed(port.output);
        let output = Output::new(Arc::new(Outgoing { count: flow.outgoing.clone(), next }));
        shared.ports.push(Port { output, ..port });
        shared.joints.push(joint);
        Some(entry)
    }

    /// Where a processor stands, in the order of its ports.
    fn stands(&self, id: &str) -> Vec<(Signal, String)> {
        let pipelines = self.order.iter().map(|at| &self.spec.pipelines[*at]);
        let times = |p: &&crate::PipelineSpec| p.processors.iter().filter(|p| *p == id).count();
        pipelines.flat_map(|p| std::iter::repeat_n((p.signal, p.id.clone()), times(&p))).collect()
    }

    pub(super) fn shared_stage(&mut self, id: String, shared: Shared) {
        let Some(spec) = find(&self.spec.processors, &id) else { return };
        let key = Key::Shared(id);
        let Shared { maker, ports, joints, new } = shared;
        let before = self.before.get(&key);
        let Some((stage, letters)) = new else {
            if let Some(node) = before.cloned() {
                self.turn(key, node, ports);
            }
            return;
        };
        // Whether it can go on with what the one before leaves, also by other options, the stage knows.
        let predecessor = before
            .and_then(|node| Some(Predecessor { task: node.task.clone()?, legacy: node.legacy.clone() }));
        let settings = spec.node.clone();
        let node =
            Running { joints, ports: signature(&ports), ..Running::new(settings, WayIn::Stage(maker)) };
        self.stage(key, node, stage, letters, ports, predecessor);
    }
}
