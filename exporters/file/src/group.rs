//! Telemetry by the value of a resource's attribute.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use weir_pdata::edit::{Editor, Message, Then};
use weir_pdata::view::{self, Fields};
use weir_pdata::{Payload, Signal};

use crate::backups;

/// Bytes of the dictionary of profiles that may be written again for further groups: 64 MiB. A small request may have a
/// large one and many groups, which would take gigabytes.
const MAX_AGAIN: usize = 64 << 20;

/// The longest name, as of a path. Of profiles a few bytes name a text of any length.
const MAX_NAME: usize = 4096;

/// The resources of a payload by the text that they have in an attribute, as they lie there.
pub(crate) struct Groups<'a> {
    signal: Signal,
    resources: BTreeMap<String, Vec<&'a [u8]>>,
    /// What the resources of profiles refer to by index, which goes with each group.
    dictionary: Vec<&'a [u8]>,
    /// Resources without the attribute.
    pub(crate) without: usize,
    /// Resources whose text is longer than any path.
    pub(crate) too_long: usize,
}

impl<'a> Groups<'a> {
    /// # Errors
    /// The dictionary would be written again too often.
    pub(crate) fn of(payload: &'a Payload, attribute: &str) -> Result<Groups<'a>, String> {
        let signal = payload.signal();
        let fields = |of_resources: bool| {
            payload.requests().flat_map(move |request| {
                Fields::new(request)
                    .filter(move |f| (f.number == 1) == of_resources)
                    .map(|f| &request[f.start..f.end])
            })
        };
        // A payload of profiles is one request.
        let dictionary = if signal == Signal::Profiles { fields(false).collect() } else { Vec::new() };
        let groups = Groups { signal, resources: BTreeMap::new(), dictionary, without: 0, too_long: 0 };
        let mut sorter = Sorter { attribute, fields: fields(true), groups };
        payload.clone().edit(&mut sorter);
        let groups = sorter.groups;
        let (size, count) =
            (groups.dictionary.iter().map(|d| d.len()).sum::<usize>(), groups.resources.len());
        if size.saturating_mul(count.saturating_sub(1)) > MAX_AGAIN {
            return Err(format!(
                "group_by: each of {count} groups would have the dictionary of {size} bytes with it, which exceeds \
                 {MAX_AGAIN} bytes; send fewer groups in one request"
            ));
        }
        Ok(groups)
    }

    /// Each group as a payload of its own, made when it is asked for.
    pub(crate) fn payloads(&self) -> impl Iterator<Item = (&str, Payload)> {
        self.resources.iter().filter_map(|(name, resources)| {
            let request = [resources.as_slice(), self.dictionary.as_slice()].concat().concat();
            Some((name.as_str(), Payload::from_request(self.signal, Bytes::from(request)).ok()?))
        })
    }
}

/// Puts the resources, in the order in which an editor is led to them, into groups.
struct Sorter<'s, 'a, F> {
    attribute: &'s str,
    fields: F,
    groups: Groups<'a>,
}

impl<'a, F: Iterator<Item = &'a [u8]>> Editor for Sorter<'_, 'a, F> {
    fn resource(&mut self, _: view::Resource<'_>, resource: &mut Message<'_, '_>) -> Then {
        let (field, groups) = (self.fields.next(), &mut self.groups);
        match resource.attributes().and_then(|attributes| attributes.text(self.attribute)) {
            None => groups.without += 1,
            Some(name) if name.len() > MAX_NAME => groups.too_long += 1,
            Some(name) => match groups.resources.get_mut(name) {
                Some(group) => group.extend(field),
                None => drop(groups.resources.insert(name.to_owned(), field.into_iter().collect())),
            },
        }
        Then::Keep
    }
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

    /// The folder that no file of a group leaves; the empty one is where the agent runs.
    pub(crate) fn folder(&self) -> &Path {
        Path::new(self.base())
    }

    fn base(&self) -> &str {
        &self.prefix[..self.prefix.rfind('/').map_or(0, |at| at + 1)]
    }

    /// The file of a group, below [`Pattern::folder`] whatever the name is, and none that passes for one that was set
    /// aside, nor in a folder that does.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        let path = self.inside(name);
        let Some(below) = path.strip_prefix(self.base()) else { return path.into() };
        let parts: Vec<_> = below.split('/').map(backups::apart).collect();
        format!("{}{}", self.base(), parts.join("/")).into()
    }

    /// Below the folder.
    fn inside(&self, name: &str) -> String {
        let name = match name {
            n if n.starts_with("./") => &n[1..],
            n if n.starts_with("../") => &n[2..],
            n => n,
        };
        let path = clean(&format!("{}{name}{}", self.prefix, self.suffix));
        if path.starts_with(&self.prefix) {
            return path;
        }
        // It led out: taken as if the folder were the root.
        let inside = clean(&format!("/{name}{}", self.suffix));
        clean(&format!("{}/{inside}", self.prefix))
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
    use weir_pdata::otlp::profiles::v1development::{ProfilesDictionary, ResourceProfiles};
    use weir_pdata::otlp::{ProfilesRequest, kv, resource};

    use super::*;

    #[test]
    fn a_dictionary_is_written_again_within_bounds() {
        let of = |group: usize| ResourceProfiles {
            resource: Some(resource(vec![kv("service.name", group.to_string())])),
            ..Default::default()
        };
        let strings = vec![String::new(), "x".repeat(1 << 20)];
        let groups = |count: usize| {
            let payload = Payload::from(ProfilesRequest {
                resource_profiles: (0..count).map(of).collect(),
                dictionary: Some(ProfilesDictionary { string_table: strings.clone(), ..Default::default() }),
            });
            Groups::of(&payload, "service.name").map(|groups| groups.resources.len())
        };
        let most = MAX_AGAIN >> 20;
        assert_eq!(groups(most), Ok(most));
        let refused = groups(most + 1).expect_err("too large");
        assert!(refused.contains(&format!("each of {} groups", most + 1)), "{refused}");
    }

    #[test]
    fn no_part_of_the_path_of_a_group_passes_for_a_file_that_was_set_aside() {
        const ASIDE: &str = "a-2099-01-01T00-00-00.123-size";
        let file = |path: &str, name: &str| Pattern::new(path).file(name).to_string_lossy().into_owned();
        assert_eq!(file("/data/*.json", ASIDE), format!("/data/{ASIDE}_.json"));
        assert_eq!(file("/data/*", ASIDE), format!("/data/{ASIDE}_"));
        assert_eq!(file("/data/*", &format!("{ASIDE}.json")), format!("/data/{ASIDE}_.json"));
        assert_eq!(file("/data/*/x", &format!("{ASIDE}.json")), format!("/data/{ASIDE}_.json/x"));
        assert_eq!(file("/data/*", &format!("../{ASIDE}/{ASIDE}")), format!("/data/{ASIDE}_/{ASIDE}_"));
        assert_eq!(file("/data/*-size.json", &ASIDE[..25]), format!("/data/{ASIDE}_.json"));
        assert_eq!(file("data-*.json", ASIDE), format!("data-{ASIDE}_.json"));
        for other in ["a-size", "a-2099-01-01T00-00-00.12-size", "a-2099-13-01T00-00-00.123-size", "é-size"]
        {
            assert_eq!(file("/data/*.json", other), format!("/data/{other}.json"));
        }
    }

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
            for path in ["/data/*.json", "/data/*", "/data/x-*.json", "data/*", "data-*", "../data-*"] {
                let (pattern, file) = (Pattern::new(path), file(path, name));
                assert!(Path::new(&file).starts_with(pattern.folder()), "{path} {name:?}: {file}");
            }
        }
    }
}
