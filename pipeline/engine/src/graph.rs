//! The order in which pipelines are built, and what is wrong with their connections.

use std::collections::{BTreeMap, BTreeSet};

use weir_pdata::Signal;

use crate::build::Problem;
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
    pub(crate) fn new(spec: &'a ServiceSpec, components: &Components) -> Result<Connections<'a>, Problem> {
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
                    let message = format!(
                        "connector \"{id}\" used as exporter in [{}] pipeline but not used in any supported receiver \
                         pipeline",
                        names(spec, |p| p.signal == from.signal && into(&p))
                    );
                    return Err(Problem::with_connector(spec, id, message));
                }
                by_connector.insert((id, from.signal), behind);
            }
            for to in spec.pipelines.iter().filter(|p| out_of(p)) {
                let fed = (spec.pipelines.iter().filter(into))
                    .any(|from| factory.pairs.contains(&(from.signal, to.signal)));
                if !fed {
                    let message = format!(
                        "connector \"{id}\" used as receiver in [{}] pipeline but not used in any supported exporter \
                         pipeline",
                        names(spec, |p| p.signal == to.signal && out_of(p))
                    );
                    return Err(Problem::with_connector(spec, id, message));
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
    pub(crate) fn order(&self, spec: &ServiceSpec) -> Result<Vec<usize>, Problem> {
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
    ) -> Result<(), Problem> {
        if done.contains(&at) {
            return Ok(());
        }
        if let Some(begin) = path.iter().position(|(i, _)| *i == at) {
            let members = &path[begin..];
            let connector = members.first().map_or("", |(_, connector)| connector);
            return Err(Problem::with_connector(spec, connector, cycle(spec, members)));
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

    /// A shared processor that stands both before and behind a connector would feed itself, as would two of them that
    /// stand in one order here and in the other order there.
    ///
    /// # Errors
    /// Names the processors and the pipelines.
    pub(crate) fn check_shared(&self, spec: &ServiceSpec, components: &Components) -> Result<(), Problem> {
        let shared = |id: &&String| {
            components
                .processor(id.split('/').next().unwrap_or_default())
                .is_some_and(|factory| factory.shared)
        };
        let mut feeds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (start, pipeline) in spec.pipelines.iter().enumerate() {
            let behind = self.reach(spec, start);
            for (place, id) in pipeline.processors.iter().enumerate().filter(|(_, id)| shared(id)) {
                let later = pipeline.processors[place + 1..].iter().filter(shared);
                feeds.entry(id).or_default().extend(later.map(String::as_str));
                for (at, connector, next) in &behind {
                    let processors = &spec.pipelines[*next].processors;
                    if processors.contains(id) {
                        let message = format!(
                            "cycle detected: processor \"{id}\" is one instance for all its pipelines, but \
                             pipeline \"{}\" feeds pipeline \"{}\" through connector \"{connector}\" and it stands \
                             in both; remove it from \"{}\"",
                            spec.pipelines[*at].id, spec.pipelines[*next].id, spec.pipelines[start].id
                        );
                        return Err(Problem::with_processor(spec, id, message));
                    }
                    feeds.entry(id).or_default().extend(processors.iter().filter(shared).map(String::as_str));
                }
            }
        }
        for id in feeds.keys() {
            if let Some(path) = way_back(&feeds, id) {
                let path: Vec<_> = path.iter().map(|id| format!("processor \"{id}\"")).collect();
                let message = format!(
                    "cycle detected: {}: each is one instance for all its pipelines; let them stand in the same order \
                     in all of them",
                    path.join(" -> ")
                );
                return Err(Problem::with_processor(spec, id, message));
            }
        }
        Ok(())
    }

    /// All pipelines behind one: the pipeline that feeds it, through which connector, and it.
    fn reach(&self, spec: &ServiceSpec, start: usize) -> Vec<(usize, String, usize)> {
        let (mut out, mut seen, mut open) = (Vec::new(), BTreeSet::new(), vec![start]);
        while let Some(at) = open.pop() {
            for (connector, next) in self.next_of(&spec.pipelines[at]) {
                if seen.insert(next) {
                    open.push(next);
                    out.push((at, connector, next));
                }
            }
        }
        out
    }
}

/// Ids of some pipelines, as the Collector lists them.
fn names(spec: &ServiceSpec, which: impl Fn(&PipelineSpec) -> bool) -> String {
    let ids: Vec<_> = spec.pipelines.iter().filter(|p| which(p)).map(|p| p.id.as_str()).collect();
    ids.join(" ")
}

/// The Collector's text for a cycle of pipelines, each with the connector that leads to the next one. It begins and
/// ends with a connector and names the processors between.
fn cycle(spec: &ServiceSpec, members: &[(usize, String)]) -> String {
    let mut steps = Vec::new();
    for (place, (from, connector)) in members.iter().enumerate() {
        let from = &spec.pipelines[*from];
        let to = &spec.pipelines[members[(place + 1) % members.len()].0];
        steps.push(format!("connector \"{connector}\" ({} to {})", from.signal, to.signal));
        let processors =
            to.processors.iter().map(|id| format!("processor \"{id}\" in pipeline \"{}\"", to.id));
        steps.extend(processors);
    }
    steps.extend(steps.first().cloned());
    format!("cycle detected: {}", steps.join(" -> "))
}

/// A path from `start` back to it, both ends included.
fn way_back<'a>(feeds: &BTreeMap<&'a str, BTreeSet<&'a str>>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut seen = BTreeSet::new();
    let mut open = vec![vec![start]];
    while let Some(path) = open.pop() {
        for next in path.last().and_then(|last| feeds.get(last)).into_iter().flatten() {
            let mut longer = path.clone();
            longer.push(next);
            if *next == start {
                return Some(longer);
            }
            if seen.insert(*next) {
                open.push(longer);
            }
        }
    }
    None
}
