//! Extensions that a reload changes.

use std::collections::BTreeSet;

use super::find;
use crate::running::{Graph, Key, mentions};
use crate::spec::ServiceSpec;

/// Extensions that come, go, or get other settings; what uses one of them is not what it was either.
pub(super) fn changed_extensions<'a>(spec: &'a ServiceSpec, before: &'a Graph) -> Vec<&'a str> {
    let all: BTreeSet<&str> = spec.extensions.iter().map(|e| e.id.as_str()).collect();
    let stays = |id: &str, changed: &[&str]| {
        let running = before.get(&Key::Extension(id.to_owned()));
        let now = find(&spec.extensions, id);
        running
            .zip(now)
            .is_some_and(|(running, now)| running.still_fits(&now.node) && !mentions(&now.node, changed))
    };
    let known =
        before.keys().filter_map(|key| if let Key::Extension(id) = key { Some(id.as_str()) } else { None });
    let ids: BTreeSet<&str> = all.into_iter().chain(known).collect();
    let mut changed: Vec<&str> = Vec::new();
    loop {
        let more: Vec<&str> =
            ids.iter().copied().filter(|id| !changed.contains(id) && !stays(id, &changed)).collect();
        if more.is_empty() {
            return changed;
        }
        changed.extend(more);
    }
}
