//! Headers, written as a mapping or as a list.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Issues, Secret, Validate};

/// Headers of requests or responses: `{name: value}` or `[{name: .., value: ..}]`. Values are secrets.
///
/// Order: as written for a list, by name for a mapping. Prints as a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderMap {
    entries: Vec<Header>,
}

/// One header.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Header {
    name: String,
    value: Secret,
}

impl HeaderMap {
    /// The headers in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.entries.iter().map(|header| (header.name.as_str(), &header.value))
    }

    /// The value of a header; names are compared as written.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<N: Into<String>> FromIterator<(N, Secret)> for HeaderMap {
    fn from_iter<I: IntoIterator<Item = (N, Secret)>>(headers: I) -> Self {
        Self {
            entries: headers.into_iter().map(|(name, value)| Header { name: name.into(), value }).collect(),
        }
    }
}

impl Validate for HeaderMap {
    fn validate(&self, issues: &mut Issues) {
        let mut names: Vec<&str> = self.entries.iter().map(|header| header.name.as_str()).collect();
        names.sort_unstable();
        let mut twice: Vec<&str> =
            names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        twice.dedup();
        if !twice.is_empty() {
            issues.error(format!("duplicate keys in map-style list: [{}]", twice.join(" ")));
        }
    }
}

impl Serialize for HeaderMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for HeaderMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HeadersVisitor)
    }
}

struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = HeaderMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping of names to values, or a list of {name, value}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HeaderMap, A::Error> {
        let mut entries = Vec::new();
        while let Some((name, value)) = map.next_entry()? {
            entries.push(Header { name, value });
        }
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(HeaderMap { entries })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<HeaderMap, A::Error> {
        let mut entries = Vec::new();
        while let Some(header) = items.next_element()? {
            entries.push(header);
        }
        Ok(HeaderMap { entries })
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<HeaderMap, E> {
        Ok(HeaderMap::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Path, SourceId, from_node, validate, yaml};

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Config {
        headers: HeaderMap,
    }

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let node = yaml::parse(text, SourceId::default()).unwrap();
        let config: Config = from_node(&node, &Path::new()).map_err(|errors| errors[0].to_string())?;
        let headers = node.get(&["headers"]).unwrap();
        if let Some(error) = validate(&config.headers, headers, &Path::parse("headers")).first() {
            return Err(error.to_string());
        }
        Ok(config.headers.iter().map(|(name, value)| (name.to_owned(), value.reveal().to_owned())).collect())
    }

    #[test]
    fn headers_are_a_mapping_or_a_list() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read("headers: {b: x, a: y}"), Ok(vec![pair("a", "y"), pair("b", "x")]));
        assert_eq!(
            read("headers: [{name: b, value: x}, {name: a, value: y}]"),
            Ok(vec![pair("b", "x"), pair("a", "y")])
        );
        assert_eq!(read("headers: "), Ok(vec![]));
        assert_eq!(read("headers: {a: }"), Ok(vec![pair("a", "")]));
        let error = read("headers: [{name: a, value: x}, {name: b}, {name: a}]").unwrap_err();
        assert!(error.contains("duplicate keys in map-style list: [a]"), "{error}");
        let error = read("headers: [{nam: a}]").unwrap_err();
        assert!(error.contains("has invalid keys: nam"), "{error}");
        let error = read("headers: {a: 5}").unwrap_err();
        assert!(error.contains("expected type 'string', got unconvertible type 'int'"), "{error}");
        let error = read("headers: text").unwrap_err();
        assert!(error.contains("a mapping of names to values"), "{error}");
    }
}
