//! What nothing in the graph leads to: receivers and extensions.

use std::sync::Arc;

use weir_component::{Output, Outputs};

use super::{Builder, jointed};
use crate::counted::Accepting;
use crate::running::{Key, Running, WayIn};
use crate::spec::ComponentSpec;

impl<'a> Builder<'a> {
    pub(super) fn receivers(&mut self) {
        for spec in &self.spec.receivers {
            let taken_by = |i: &usize| self.spec.pipelines[*i].receivers.contains(&spec.id);
            let pipelines: Vec<usize> = (0..self.spec.pipelines.len()).filter(taken_by).collect();
            if pipelines.is_empty() {
                continue;
            }
            self.receiver(spec, &pipelines);
        }
    }

    fn receiver(&mut self, spec: &'a ComponentSpec, pipelines: &[usize]) -> Option<()> {
        let factory = self.components.receiver(spec.kind())?;
        for at in pipelines {
            let signal = self.spec.pipelines[*at].signal;
            if !factory.signals.contains(&signal) {
                let message = format!("failed to create \"{}\" receiver for data type \"{signal}\"", spec.id);
                self.unsupported("receivers", spec, message);
            }
        }
        let key = Key::Receiver(spec.id.clone());
        let ports = self.ports(pipelines.iter().copied());
        // Which pipelines take a signal is nothing to a receiver, only whether one does.
        let signals: Vec<_> = ports.iter().map(|port| (port.signal, String::new())).collect();
        if let Some(node) = self.kept(&key, spec).filter(|node| node.ports == signals) {
            self.turn(key, node, ports);
            return Some(());
        }
        let receiver = (factory.create)(&self.build("receivers", spec));
        let receiver = self.keep(receiver)?;
        let (mut ports, joints) = jointed(ports);
        for port in &mut ports {
            let transports = receiver.transports();
            let next = port.output.clone();
            let counted = Accepting::new(&spec.id, port.signal, transports, &self.tools.host, next);
            port.output = Output::new(Arc::new(counted));
        }
        let node = Running { joints, ports: signals, ..Running::new(spec.node.clone(), WayIn::None) };
        self.parts.graph.insert(key, node);
        self.parts.receivers.push((spec.id.clone(), receiver, Outputs::new(ports)));
        Some(())
    }

    pub(super) fn extensions(&mut self) {
        for spec in &self.spec.extensions {
            let key = Key::Extension(spec.id.clone());
            if let Some(node) = self.kept(&key, spec) {
                self.parts.graph.insert(key, node);
                continue;
            }
            let Some(factory) = self.components.extension(spec.kind()) else {
                continue;
            };
            let extension = (factory.create)(&self.build("extensions", spec));
            if let Some(extension) = self.keep(extension) {
                let offers = !factory.offers.is_empty();
                let node = Running { offers, ..Running::new(spec.node.clone(), WayIn::None) };
                self.parts.graph.insert(key, node);
                self.parts.extensions.push((spec.id.clone(), extension));
            }
        }
    }
}
