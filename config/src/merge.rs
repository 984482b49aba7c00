//! Laying one configuration over another, and `::` in keys.

use crate::yaml::MAX_DEPTH;
use crate::{ConfigError, ErrorKind, Key, Map, Node, NodeKind};

/// The most keys with `::` in one mapping; each is merged on its own.
const MAX_SPLIT_KEYS: usize = 5_000;

/// Lays `over` on `base`: mappings key by key, everything else, null included, replaces what was there.
pub(crate) fn merge(base: &mut Node, over: Node) {
    merge_at(base, over, None);
}

/// As [`merge`], but lists of extensions, and of a pipeline's receivers and exporters, are put together without
/// duplicates (feature gate `confmap.enableMergeAppendOption`).
pub(crate) fn merge_appending(base: &mut Node, over: Node) {
    merge_at(base, over, Some(&mut Vec::new()));
}

fn merge_at(base: &mut Node, over: Node, mut path: Option<&mut Vec<String>>) {
    match (&mut base.kind, over.kind) {
        (NodeKind::Map(below), NodeKind::Map(above)) => {
            let mut places: std::collections::HashMap<_, usize> =
                below.entries.iter().enumerate().map(|(place, (key, _))| (key.name.clone(), place)).collect();
            for (key, value) in above.entries {
                let Some(place) = places.get(&key.name).copied() else {
                    places.insert(key.name.clone(), below.entries.len());
                    below.entries.push((key, value));
                    continue;
                };
                if let Some(path) = path.as_deref_mut() {
                    path.push(key.name.to_string());
                }
                let (old_key, old) = &mut below.entries[place];
                old_key.span = key.span;
                merge_at(old, value, path.as_deref_mut());
                if let Some(path) = path.as_deref_mut() {
                    path.pop();
                }
            }
        }
        (NodeKind::Seq(below), NodeKind::Seq(above)) if path.is_some_and(|path| is_appended(path)) => {
            for item in above {
                if !below.iter().any(|own| own.kind == item.kind) {
                    below.push(item);
                }
            }
        }
        (_, kind) => *base = Node { kind, original: over.original, span: over.span },
    }
}

/// `service::extensions`, `service::**::receivers`, `service::**::exporters`.
fn is_appended(path: &[String]) -> bool {
    match path {
        [service, list] => service == "service" && list == "extensions",
        [service, .., list] => service == "service" && (list == "receivers" || list == "exporters"),
        _ => false,
    }
}

/// Splits keys at `::` into nested mappings. Mappings that meet are merged, of two other values the later one stays.
///
/// # Errors
/// More than [`MAX_DEPTH`] levels.
pub(crate) fn split_keys(node: &mut Node) -> Result<(), ConfigError> {
    split_at(node, 0)
}

fn split_at(node: &mut Node, depth: usize) -> Result<(), ConfigError> {
    if depth > MAX_DEPTH {
        let message = format!("nested deeper than {MAX_DEPTH} levels");
        return Err(ConfigError::new(ErrorKind::Limit, message).at(node.span));
    }
    match &mut node.kind {
        NodeKind::Seq(items) => items.iter_mut().try_for_each(|item| split_at(item, depth + 1)),
        NodeKind::Map(map) => {
            if map.entries.iter().any(|(key, _)| key.name.contains("::")) {
                unfold(map, depth)?;
            }
            map.entries.iter_mut().try_for_each(|(_, value)| split_at(value, depth + 1))
        }
        _ => Ok(()),
    }
}

fn unfold(map: &mut Map, depth: usize) -> Result<(), ConfigError> {
    let split = map.entries.iter().filter(|(key, _)| key.name.contains("::"));
    if let Some((key, _)) = split.clone().nth(MAX_SPLIT_KEYS) {
        let message = format!("more than {MAX_SPLIT_KEYS} keys with `::` in one mapping");
        return Err(ConfigError::new(ErrorKind::Limit, message).at(key.span));
    }
    let span = map.entries.first().map(|(key, _)| key.span).unwrap_or_default();
    let mut result = Node::new(NodeKind::Map(Map::default()), span);
    for (key, value) in std::mem::take(&mut map.entries) {
        if depth + key.name.matches("::").count() > MAX_DEPTH {
            let message = format!("a key of more than {MAX_DEPTH} levels");
            return Err(ConfigError::new(ErrorKind::Limit, message).at(key.span));
        }
        let nested = key.name.rsplit("::").fold(value, |value, name| {
            let part = Key { name: name.into(), span: key.span };
            Node::new(NodeKind::Map(Map { entries: vec![(part, value)] }), key.span)
        });
        merge(&mut result, nested);
    }
    if let NodeKind::Map(merged) = result.kind {
        *map = merged;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SourceId, yaml};

    fn read(text: &str) -> Node {
        yaml::parse(text, SourceId::default()).unwrap()
    }

    /// The values without positions.
    fn plain(node: &Node) -> serde_json::Value {
        match &node.kind {
            NodeKind::Seq(items) => items.iter().map(plain).collect(),
            NodeKind::Map(map) => {
                map.iter().map(|(key, value)| (key.name.to_string(), plain(value))).collect()
            }
            NodeKind::String(text) => text.to_string().into(),
            NodeKind::Int(value) => i64::try_from(*value).unwrap().into(),
            _ => serde_json::Value::Null,
        }
    }

    #[test]
    fn later_configurations_are_laid_over_earlier_ones() {
        let cases: &[(&str, &str, &str, &str)] = &[
            ("maps merge", "a: {b: 1}", "a: {c: 2}", "a: {b: 1, c: 2}"),
            ("scalars replace", "a: {b: 1, c: 1}", "a: {b: 2}", "a: {b: 2, c: 1}"),
            ("lists replace", "a: [1, 2]", "a: [3]", "a: [3]"),
            ("null wipes", "a: {b: 1}", "a: ", "a: "),
            ("a map replaces null", "a: ", "a: {b: 1}", "a: {b: 1}"),
            ("a map replaces a list", "a: [1]", "a: {b: 1}", "a: {b: 1}"),
            ("an empty map changes nothing", "a: {b: 1}", "a: {}", "a: {b: 1}"),
        ];
        for (name, base, over, expected) in cases {
            let mut base = read(base);
            merge(&mut base, read(over));
            assert_eq!(plain(&base), plain(&read(expected)), "{name}");
        }
    }

    #[test]
    fn with_the_gate_lists_of_components_are_put_together() {
        let mut base = read(
            "service: {extensions: [a], pipelines: {traces: {receivers: [a], processors: [a], exporters: [a]}}}",
        );
        let over = "service: {extensions: [b, a], pipelines: {traces: {receivers: [b], processors: [b], exporters: [a, c]}}}";
        merge_appending(&mut base, read(over));
        let expected = "service: {extensions: [a, b], pipelines: {traces: {receivers: [a, b], processors: [b], exporters: [a, c]}}}";
        assert_eq!(plain(&base), plain(&read(expected)));
    }

    #[test]
    fn keys_are_split_at_double_colons_at_every_depth() {
        let cases: &[(&str, &str)] = &[
            ("a::b: 1", "a: {b: 1}"),
            ("a::b: 1\na::c: 2\na: {d: 3}", "a: {b: 1, c: 2, d: 3}"),
            ("x: {a::b: 1}", "x: {a: {b: 1}}"),
            ("x: [{a::b: 1}]", "x: [{a: {b: 1}}]"),
            ("a: 1\na::b: 2", "a: {b: 2}"),
            ("a::b: {c::d: 1}\na::b::c::e: 2", "a: {b: {c: {d: 1, e: 2}}}"),
        ];
        for (text, expected) in cases {
            let mut node = read(text);
            split_keys(&mut node).unwrap();
            assert_eq!(plain(&node), plain(&read(expected)), "{text}");
        }
        let mut node = read(&format!("{}: 1", vec!["a"; 200].join("::")));
        assert_eq!(split_keys(&mut node).map_err(|error| error.kind), Err(ErrorKind::Limit));
    }
}
