//! Lists, mappings, structs and variants on the way through serde.

use std::cell::RefCell;

use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::DeError;
use super::context::Context;
use super::tree::TreeReader;
use super::value::{Place, ValueReader};
use crate::tree::{Tree, marker};
use crate::{Key, Map, Node, NodeKind, Path, Span};

/// The items of a list.
pub(super) struct Items<'a> {
    context: &'a Context,
    rest: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    path: Path,
}

impl<'a> Items<'a> {
    pub(super) fn new(context: &'a Context, items: &'a [Node], path: Path) -> Self {
        Self { context, rest: items.iter().enumerate(), path }
    }
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = DeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DeError> {
        for (index, node) in self.rest.by_ref() {
            let path = self.path.index(index);
            if self.context.is_absent(&path) {
                continue;
            }
            let reader = ValueReader::new(self.context, node, None, path.clone(), Place::Whole);
            let value = seed.deserialize(reader).map_err(|error| self.context.report(error, node, &path))?;
            return Ok(Some(value));
        }
        Ok(None)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The parts of a string that was given for a list of strings.
pub(super) struct Pieces<'a> {
    context: &'a Context,
    rest: std::vec::IntoIter<Node>,
    path: Path,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(context: &'a Context, text: &str, span: Span, path: Path) -> Self {
        let parts = text.split(',').filter(|_| !text.is_empty());
        let nodes: Vec<Node> = parts.map(|part| Node::new(NodeKind::String(part.into()), span)).collect();
        Self { context, rest: nodes.into_iter(), path }
    }
}

impl<'de> SeqAccess<'de> for Pieces<'_> {
    type Error = DeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DeError> {
        let Some(node) = self.rest.next() else { return Ok(None) };
        let reader = ValueReader::new(self.context, &node, None, self.path.clone(), Place::Piece);
        seed.deserialize(reader).map(Some)
    }
}

/// The entries of a mapping whose keys the user chooses.
pub(super) struct Entries<'a> {
    context: &'a Context,
    rest: std::slice::Iter<'a, (Key, Node)>,
    /// The default entries that the user did not write.
    defaults: std::vec::IntoIter<(&'a str, &'a Tree)>,
    value: Option<EntrySource<'a>>,
    path: Path,
}

/// Where the value of an entry comes from.
enum EntrySource<'a> {
    Written(&'a Node, Path),
    Default(&'a Tree),
}

impl<'a> Entries<'a> {
    pub(super) fn new(
        context: &'a Context,
        map: Option<&'a Map>,
        default: Option<&'a Tree>,
        path: Path,
    ) -> Self {
        let written = map.map(|map| map.entries.as_slice()).unwrap_or_default();
        let defaults = match default {
            Some(Tree::Map(entries)) => entries.as_slice(),
            _ => &[],
        };
        let missing = defaults.iter().filter(|(name, _)| !written.iter().any(|(key, _)| *key.name == **name));
        let defaults: Vec<(&str, &Tree)> = missing.map(|(name, value)| (name.as_str(), value)).collect();
        Self { context, rest: written.iter(), defaults: defaults.into_iter(), value: None, path }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = DeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DeError> {
        for (key, node) in self.rest.by_ref() {
            let path = self.path.key(&key.name);
            if self.context.is_absent(&path) {
                continue;
            }
            let key_node = Node::new(NodeKind::String(key.name.clone()), key.span);
            let reader = ValueReader::new(self.context, &key_node, None, path.clone(), Place::Whole);
            let read =
                seed.deserialize(reader).map_err(|error| self.context.report(error, &key_node, &path))?;
            self.value = Some(EntrySource::Written(node, path));
            return Ok(Some(read));
        }
        let Some((name, value)) = self.defaults.next() else { return Ok(None) };
        self.value = Some(EntrySource::Default(value));
        let key: StringDeserializer<DeError> = name.to_owned().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DeError> {
        match self.value.take() {
            Some(EntrySource::Written(node, path)) => {
                let reader = ValueReader::new(self.context, node, None, path.clone(), Place::Whole);
                seed.deserialize(reader).map_err(|error| self.context.report(error, node, &path))
            }
            Some(EntrySource::Default(tree)) => seed.deserialize(TreeReader(tree)),
            None => Err(DeError::Custom("a value without a key".to_owned())),
        }
    }
}

/// Where the value of an option comes from.
enum FieldSource<'a> {
    /// The user, over a default.
    Written(&'a Node, Option<&'a Tree>),
    /// The component's defaults.
    Default(&'a Tree),
    /// The same mapping again: the options of an inlined struct.
    Inlined(Option<&'a Tree>),
}

/// The options of a struct: what the user wrote, then the defaults of the rest.
pub(super) struct Fields<'r, 'a> {
    reader: &'r ValueReader<'a>,
    rest: std::vec::IntoIter<(&'a str, FieldSource<'a>)>,
    value: Option<(&'a str, FieldSource<'a>)>,
    /// The names that inlined structs know.
    inlined: &'r RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'_, 'a> {
    /// Reads a struct and checks that all keys written are known.
    pub(super) fn read<'de, V: Visitor<'de>>(
        map: Option<&'a Map>,
        fields: &'static [&'static str],
        reader: &ValueReader<'a>,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        let sources = collect(map, fields, reader);
        let defaults: Vec<&str> = sources
            .iter()
            .filter(|(_, source)| matches!(source, FieldSource::Default(_)))
            .map(|(name, _)| *name)
            .collect();
        let inlined = RefCell::new(Vec::new());
        let access = Fields { reader, rest: sources.into_iter(), value: None, inlined: &inlined };
        let value = match visitor.visit_map(access) {
            // The user wrote an option under an old name (`#[serde(alias)]`), so its default must keep away.
            Err(DeError::DuplicateField(name)) if defaults.contains(&name) => {
                reader.context.hide_default(reader.path.field(name));
                return Err(DeError::Reported);
            }
            other => other?,
        };
        let own = fields.iter().copied().filter(|name| !name.starts_with(marker::INLINE));
        let known: Vec<&'static str> = own.chain(inlined.into_inner()).collect();
        match reader.inlined {
            Some(holder) => holder.borrow_mut().extend(known),
            None => check(map, known, reader),
        }
        Ok(value)
    }
}

/// The options to read, each with the source of its value.
fn collect<'a>(
    map: Option<&'a Map>,
    fields: &'static [&'static str],
    reader: &ValueReader<'a>,
) -> Vec<(&'a str, FieldSource<'a>)> {
    let mut sources: Vec<(&'a str, FieldSource<'a>)> = Vec::new();
    for (key, node) in map.map(|map| map.entries.as_slice()).unwrap_or_default() {
        let name: &'a str = &key.name;
        let known =
            fields.contains(&name) && !name.starts_with(marker::INLINE) && reader.hidden_key != Some(name);
        let default = reader.default.and_then(|tree| tree.get(name));
        let left_out = is_left_out(node, default) || reader.context.is_absent(&reader.path.field(name));
        if known && !left_out {
            sources.push((name, FieldSource::Written(node, default)));
        }
    }
    for name in fields.iter().copied() {
        let default = reader.default.and_then(|tree| tree.get(name));
        if name.starts_with(marker::INLINE) {
            sources.push((name, FieldSource::Inlined(default)));
        } else if let Some(default) = default
            && !sources.iter().any(|(written, _)| *written == name)
            && !reader.context.is_hidden_default(&reader.path.field(name))
        {
            sources.push((name, FieldSource::Default(default)));
        }
    }
    sources
}

/// Records the keys that no option has.
fn check(map: Option<&Map>, mut known: Vec<&'static str>, reader: &ValueReader<'_>) {
    known.extend(reader.hidden_key);
    let entries = map.map(|map| map.entries.as_slice()).unwrap_or_default();
    let unknown: Vec<&Key> =
        entries.iter().map(|(key, _)| key).filter(|key| !known.contains(&&*key.name)).collect();
    if !unknown.is_empty() {
        reader.context.unknown(&unknown, &known, &reader.path);
    }
}

impl<'de> MapAccess<'de> for Fields<'_, '_> {
    type Error = DeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DeError> {
        let Some((name, source)) = self.rest.next() else { return Ok(None) };
        self.value = Some((name, source));
        let key: StringDeserializer<DeError> = name.to_owned().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DeError> {
        let Some((name, source)) = self.value.take() else {
            return Err(DeError::Custom("a value without a key".to_owned()));
        };
        let ValueReader { context, node: own, .. } = *self.reader;
        match source {
            FieldSource::Default(tree) => seed.deserialize(TreeReader(tree)),
            FieldSource::Written(node, default) => {
                let path = self.reader.path.field(name);
                let reader = ValueReader::new(context, node, default, path.clone(), Place::Whole);
                seed.deserialize(reader).map_err(|error| context.report(error, node, &path))
            }
            FieldSource::Inlined(default) => {
                let mut reader =
                    ValueReader::new(context, own, default, self.reader.path.clone(), Place::Whole);
                reader.inlined = Some(self.inlined);
                seed.deserialize(reader)
            }
        }
    }
}

/// Whether a null says that the default stays: so it is with mappings, lists, and options that may be null. In an optional
/// section it turns the section on, and of a number, text, boolean or duration it is the zero value.
fn is_left_out(node: &Node, default: Option<&Tree>) -> bool {
    let keeps = matches!(default, None | Some(Tree::Null | Tree::Map(_) | Tree::Seq(_)));
    node.is_null() && node.original.is_none() && keeps
}

/// The state and the content of an optional section, as [`crate::Optional`] reads them.
pub(super) struct OptionalParts<D> {
    code: Option<u8>,
    content: Option<D>,
}

impl<D> OptionalParts<D> {
    pub(super) fn new(code: u8, content: Option<D>) -> Self {
        Self { code: Some(code), content }
    }
}

impl<'de, D: Deserializer<'de, Error = DeError>> SeqAccess<'de> for OptionalParts<D> {
    type Error = DeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DeError> {
        if let Some(code) = self.code.take() {
            return seed.deserialize(IntoDeserializer::<DeError>::into_deserializer(code)).map(Some);
        }
        self.content.take().map(|content| seed.deserialize(content)).transpose()
    }
}

/// A variant of an enum: a word, or a mapping with one key.
pub(super) struct Variant<'a> {
    context: &'a Context,
    name: &'a str,
    content: Option<&'a Node>,
    path: Path,
}

impl<'a> Variant<'a> {
    pub(super) fn of_word(context: &'a Context, name: &'a str, path: &Path) -> Self {
        Self { context, name, content: None, path: path.clone() }
    }

    pub(super) fn of_map(context: &'a Context, name: &'a str, content: &'a Node, path: &Path) -> Self {
        Self { context, name, content: Some(content), path: path.field(name) }
    }

    fn read<T>(&self, read: impl FnOnce(ValueReader<'a>) -> Result<T, DeError>) -> Result<T, DeError> {
        let Some(node) = self.content else {
            return Err(DeError::Custom(format!("`{}` needs options of its own", self.name)));
        };
        let reader = ValueReader::new(self.context, node, None, self.path.clone(), Place::Whole);
        read(reader).map_err(|error| self.context.report(error, node, &self.path))
    }
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = DeError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), DeError> {
        let name: StringDeserializer<DeError> = self.name.to_owned().into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = DeError;

    fn unit_variant(self) -> Result<(), DeError> {
        match self.content {
            Some(node) if !node.is_null() => Err(DeError::Custom(format!("`{}` has no options", self.name))),
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, DeError> {
        self.read(|reader| seed.deserialize(reader))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DeError> {
        self.read(|reader| reader.deserialize_tuple(len, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.read(|reader| reader.deserialize_struct("", fields, visitor))
    }
}
