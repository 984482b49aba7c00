//! Telemetry by the value of a resource's attribute.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use weir_pdata::view::{self, Fields};
use weir_pdata::{Payload, Signal};

/// Splits a payload by the text that its resources have in `attribute`. Resources without it are left out, which the
/// second value counts. The bytes of resources are moved as they are.
pub(crate) fn split(payload: &Payload, attribute: &str) -> (BTreeMap<String, Payload>, usize) {
    let (mut parts, mut without) = (BTreeMap::<String, Vec<u8>>::new(), 0);
    for request in payload.requests() {
        for field in Fields::new(request).filter(|f| f.number == 1) {
            match view::Resource::new(field.bytes()).attributes().text(attribute) {
                Some(name) => parts
                    .entry(name.to_owned())
                    .or_default()
                    .extend_from_slice(&request[field.start..field.end]),
                None => without += 1,
            }
        }
        if payload.signal() == Signal::Profiles {
            // What they refer to by index goes with each of them. A payload of profiles is one request.
            let dictionaries =
                Fields::new(request).filter(|f| f.number != 1).map(|f| &request[f.start..f.end]);
            let dictionaries: Vec<u8> = dictionaries.flatten().copied().collect();
            parts.values_mut().for_each(|part| part.extend_from_slice(&dictionaries));
        }
    }
    let whole = |(name, part)| Some((name, Payload::from_request(payload.signal(), Bytes::from(part)).ok()?));
    (parts.into_iter().filter_map(whole).collect(), without)
}

/// Where files of groups lie: everything in front of the `*`, and behind it.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    prefix: String,
    suffix: String,
}

impl Pattern {
    pub(crate) fn new(path: &str) -> Pattern {
        let (prefix, suffix) = path.split_once('*').unwrap_or((path, ""));
        let mut clean = clean(prefix);
        if prefix.ends_with('/') && !clean.ends_with('/') {
            clean.push('/');
        }
        Pattern { prefix: clean, suffix: suffix.to_owned() }
    }

    /// The folder that no file of a group leaves.
    pub(crate) fn folder(&self) -> &Path {
        let end = self.prefix.rfind('/').map_or(0, |at| at + 1);
        Path::new(match &self.prefix[..end] {
            "" => ".",
            folder => folder,
        })
    }

    /// The file of a group, below [`Pattern::folder`] whatever the name is.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        let name = match name {
            n if n.starts_with("./") => &n[1..],
            n if n.starts_with("../") => &n[2..],
            n => n,
        };
        let path = clean(&format!("{}{name}{}", self.prefix, self.suffix));
        if path.starts_with(&self.prefix) {
            return path.into();
        }
        // It led out: taken as if the folder were the root.
        let inside = clean(&format!("/{name}{}", self.suffix));
        clean(&format!("{}/{inside}", self.prefix)).into()
    }
}

/// A path without empty parts, `.` and `..`, as far as that is possible without looking at the disk.
fn clean(path: &str) -> String {
    let mut out = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match out.components().next_back() {
                Some(Component::Normal(_)) => drop(out.pop()),
                Some(Component::RootDir) => {}
                _ => out.push(".."),
            },
            part => out.push(part),
        }
    }
    match out.to_string_lossy().into_owned() {
        empty if empty.is_empty() => ".".to_owned(),
        path => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_never_leaves_its_folder() {
        let file = |path: &str, name: &str| Pattern::new(path).file(name).to_string_lossy().into_owned();
        assert_eq!(file("/data/*.json", "a"), "/data/a.json");
        assert_eq!(file("/data/*.json", "a/b"), "/data/a/b.json");
        assert_eq!(file("/data/*.json", "../etc/my_config"), "/data/etc/my_config.json");
        assert_eq!(file("/data/*.json", "../../etc/passwd"), "/data/etc/passwd.json");
        assert_eq!(file("/data/*.json", "a/../../../x"), "/data/x.json");
        assert_eq!(file("/data/*.json", "/etc/x"), "/data/etc/x.json");
        assert_eq!(file("/data/*.json", "./x"), "/data/x.json");
        assert_eq!(file("/data/log-*.json", "x"), "/data/log-x.json");
        assert_eq!(file("/data/*/out.json", "../.."), "/data/out.json");
        for name in ["", ".", "..", "../", "a/..", "/../..", "\u{0}", "....//....//x"] {
            for path in ["/data/*.json", "/data/*", "/data/x-*.json", "data/*"] {
                let (pattern, file) = (Pattern::new(path), file(path, name));
                assert!(Path::new(&file).starts_with(pattern.folder()), "{path} {name:?}: {file}");
            }
        }
    }
}
