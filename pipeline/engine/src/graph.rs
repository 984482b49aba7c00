//! The order in which pipelines are built, and what is wrong with their connections.

use std::collections::{BTreeMap, BTreeSet};

use weir_pdata::Signal;

use crate::spec::{Components, PipelineSpec, ServiceSpec};

/// Which pipelines hang behind each connector, by connector id and the signal that goes in.
pub(crate) struct Connections<'a> {
    by_connector: BTreeMap<(&'a str, Signal), Vec<usize>>,
}

impl<'a> Connections<'a> {
    /// Looks up who feeds whom.
    ///
    /// # Errors
    /// A connector with an end that leads nowhere.
    pub(crate) fn new(spec: &'a ServiceSpec, components: &Components) -> Result<Connections<'a>, String> {
        let mut by_connector = BTreeMap::new();
        for connector in &spec.connectors {
            let Some(factory) = components.connector(connector.kind()) else {
                continue;
            };
            let id = connector.id.as_str();
            let into = |p: &&PipelineSpec| p.exporters.iter().any(|e| e == id);
            let out_of = |p: &PipelineSpec| p.receivers.iter().any(|r| r == id);
            for from in spec.pipelines.iter().filter(into) {
                let behind: Vec<usize> = (spec.pipelines.iter().enumerate())
                    .filter(|(_, to)| out_of(to) && factory.pairs.contains(&(from.signal, to.signal)))
                    .map(|(i, _)| i)
                    .collect();
                if behind.is_empty() {
                    return Err(format!(
                        "connector \"{id}\" used as exporter in [{}] pipeline but not used in any supported receiver \
                         pipeline",
                        from.id
                    ));
                }
                by_connector.insert((id, from.signal), behind);
            }
            for to in spec.pipelines.iter().filter(|p| out_of(p)) {
                let fed = (spec.pipelines.iter().filter(into))
                    .any(|from| factory.pairs.contains(&(from.signal, to.signal)));
                if !fed {
                    return Err(format!(
                        "connector \"{id}\" used as receiver in [{}] pipeline but not used in any supported exporter \
                         pipeline",
                        to.id
                    ));
                }
            }
        }
        Ok(Connections { by_connector })
    }

    /// Pipelines behind a connector for a signal that goes in.
    pub(crate) fn behind(&self, connector: &str, from: Signal) -> &[usize] {
        self.by_connector
            .iter()
            .find(|((id, signal), _)| *id == connector && *signal == from)
            .map_or(&[], |(_, behind)| behind)
    }

    fn next_of(&self, pipeline: &PipelineSpec) -> Vec<(String, usize)> {
        let behind =
            |e: &String| self.behind(e, pipeline.signal).iter().map(|i| (e.clone(), *i)).collect::<Vec<_>>();
        pipeline.exporters.iter().flat_map(behind).collect()
    }

    /// Pipelines in an order in which each comes after all that it feeds.
    ///
    /// # Errors
    /// A cycle, with its members.
    pub(crate) fn order(&self, spec: &ServiceSpec) -> Result<Vec<usize>, String> {
        let mut order = Vec::new();
        let mut done = BTreeSet::new();
        for start in 0..spec.pipelines.len() {
            self.visit(spec, start, &mut Vec::new(), &mut done, &mut order)?;
        }
        Ok(order)
    }

    fn visit(
        &self,
        spec: &ServiceSpec,
        at: usize,
        path: &mut Vec<(usize, String)>,
        done: &mut BTreeSet<usize>,
        order: &mut Vec<usize>,
    ) -> Result<(), String> {
        if done.contains(&at) {
            return Ok(());
        }
        if let Some(begin) = path.iter().position(|(i, _)| *i == at) {
            let mut text = String::from("cycle detected: ");
            for (pipeline, connector) in &path[begin..] {
                text += &format!(
                    "pipeline \"{}\" -> connector \"{connector}\" -> ",
                    spec.pipelines[*pipeline].id
                );
            }
            return Err(text + &format!("pipeline \"{}\"", spec.pipelines[at].id));
        }
        for (connector, next) in self.next_of(&spec.pipelines[at]) {
            path.push((at, connector));
            self.visit(spec, next, path, done, order)?;
            path.pop();
        }
        done.insert(at);
        order.push(at);
        Ok(())
    }

    /// A shared processor that stands both before and behind a connector would feed itself.
    ///
    /// # Errors
    /// Names the processor and the pipelines.
    pub(crate) fn check_shared(&self, spec: &ServiceSpec, components: &Components) -> Result<(), String> {
        let shared = |id: &str| {
            components
                .processor(id.split('/').next().unwrap_or_default())
                .is_some_and(|factory| factory.shared)
        };
        for (start, pipeline) in spec.pipelines.iter().enumerate() {
            for id in pipeline.processors.iter().filter(|id| shared(id)) {
                let mut reach = vec![start];
                let mut seen = BTreeSet::new();
                while let Some(at) = reach.pop() {
                    for (connector, next) in self.next_of(&spec.pipelines[at]) {
                        if spec.pipelines[next].processors.contains(id) {
                            return Err(format!(
                                "cycle detected: processor \"{id}\" is one instance for all its pipelines, but \
                                 pipeline \"{}\" feeds pipeline \"{}\" through connector \"{connector}\" and it stands \
                                 in both; remove it from \"{}\"",
                                spec.pipelines[at].id, spec.pipelines[next].id, spec.pipelines[start].id
                            ));
                        }
                        if seen.insert(next) {
                            reach.push(next);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
