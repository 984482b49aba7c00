//! serde's side of making a [`Tree`].

use serde::Serialize;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{OptionalState, Tree, marker};
use crate::DeError;

type Result<T> = std::result::Result<T, DeError>;

/// Makes a tree of one value.
pub(super) struct TreeSerializer;

/// Collects the items of a list, or of a variant that holds several.
pub(super) struct Items {
    items: Vec<Tree>,
    variant: Option<&'static str>,
}

/// Collects the entries of a mapping.
pub(super) struct Entries {
    entries: Vec<(String, Tree)>,
    key: Option<String>,
    variant: Option<&'static str>,
}

impl Items {
    fn new(variant: Option<&'static str>) -> Self {
        Self { items: Vec::new(), variant }
    }

    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.items.push(value.serialize(TreeSerializer)?);
        Ok(())
    }

    fn finish(self) -> Tree {
        wrap(self.variant, Tree::Seq(self.items))
    }
}

impl Entries {
    fn new(variant: Option<&'static str>) -> Self {
        Self { entries: Vec::new(), key: None, variant }
    }

    fn push<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<()> {
        self.entries.push((key.to_owned(), value.serialize(TreeSerializer)?));
        Ok(())
    }

    fn finish(self) -> Tree {
        wrap(self.variant, Tree::Map(self.entries))
    }
}

fn wrap(variant: Option<&'static str>, tree: Tree) -> Tree {
    match variant {
        Some(name) => Tree::Map(vec![(name.to_owned(), tree)]),
        None => tree,
    }
}

/// An optional section arrives as the pair of its state and its content.
fn optional(tree: Tree) -> Tree {
    let Tree::Seq(parts) = tree else { return tree };
    let mut parts = parts.into_iter();
    let state = match parts.next() {
        Some(Tree::Int(1)) => OptionalState::Default,
        Some(Tree::Int(2)) => OptionalState::Some,
        _ => OptionalState::None,
    };
    Tree::Optional(state, parts.next().filter(|content| *content != Tree::Null).map(Box::new))
}

impl Serializer for TreeSerializer {
    type Ok = Tree;
    type Error = DeError;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Entries;
    type SerializeStruct = Entries;
    type SerializeStructVariant = Entries;

    fn serialize_bool(self, value: bool) -> Result<Tree> {
        Ok(Tree::Bool(value))
    }
    fn serialize_i8(self, value: i8) -> Result<Tree> {
        Ok(Tree::Int(value.into()))
    }
    fn serialize_i16(self, value: i16) -> Result<Tree> {
        Ok(Tree::Int(value.into()))
    }
    fn serialize_i32(self, value: i32) -> Result<Tree> {
        Ok(Tree::Int(value.into()))
    }
    fn serialize_i64(self, value: i64) -> Result<Tree> {
        Ok(Tree::Int(value.into()))
    }
    fn serialize_i128(self, value: i128) -> Result<Tree> {
        Ok(Tree::Int(value))
    }
    fn serialize_u8(self, value: u8) -> Result<Tree> {
        Ok(Tree::Int(value.into()))
    }
    fn serialize_u16(self, value: u16) -> Result<Tree> {
        Ok(Tree::Int(value.into()))
    }
    fn serialize_u32(self, value: u32) -> Result<Tree> {
        Ok(Tree::Int(value.into()))
    }
    fn serialize_u64(self, value: u64) -> Result<Tree> {
        Ok(Tree::Int(value.into()))
    }
    fn serialize_f32(self, value: f32) -> Result<Tree> {
        Ok(Tree::Float(value.into()))
    }
    fn serialize_f64(self, value: f64) -> Result<Tree> {
        Ok(Tree::Float(value))
    }
    fn serialize_char(self, value: char) -> Result<Tree> {
        Ok(Tree::String(value.to_string()))
    }
    fn serialize_str(self, value: &str) -> Result<Tree> {
        Ok(Tree::String(value.to_owned()))
    }
    fn serialize_bytes(self, value: &[u8]) -> Result<Tree> {
        Ok(Tree::Seq(value.iter().map(|byte| Tree::Int((*byte).into())).collect()))
    }
    fn serialize_none(self) -> Result<Tree> {
        Ok(Tree::Null)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Tree> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<Tree> {
        Ok(Tree::Null)
    }
    fn serialize_unit_struct(self, _name: &'static str) -> Result<Tree> {
        Ok(Tree::Map(Vec::new()))
    }
    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Result<Tree> {
        Ok(Tree::String(variant.to_owned()))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<Tree> {
        let tree = value.serialize(self)?;
        Ok(match (name, tree) {
            (marker::SECRET, Tree::String(text)) => Tree::Secret(text),
            (marker::DURATION, Tree::Int(nanos)) => Tree::Duration(i64::try_from(nanos).unwrap_or(i64::MAX)),
            (marker::OPTIONAL, tree) => optional(tree),
            (_, tree) => tree,
        })
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Tree> {
        Ok(wrap(Some(variant), value.serialize(self)?))
    }
    fn serialize_seq(self, _len: Option<usize>) -> Result<Items> {
        Ok(Items::new(None))
    }
    fn serialize_tuple(self, _len: usize) -> Result<Items> {
        Ok(Items::new(None))
    }
    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Items> {
        Ok(Items::new(None))
    }
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Items> {
        Ok(Items::new(Some(variant)))
    }
    fn serialize_map(self, _len: Option<usize>) -> Result<Entries> {
        Ok(Entries::new(None))
    }
    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Entries> {
        Ok(Entries::new(None))
    }
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Entries> {
        Ok(Entries::new(Some(variant)))
    }
}

impl SerializeSeq for Items {
    type Ok = Tree;
    type Error = DeError;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.push(value)
    }
    fn end(self) -> Result<Tree> {
        Ok(self.finish())
    }
}

impl SerializeTuple for Items {
    type Ok = Tree;
    type Error = DeError;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.push(value)
    }
    fn end(self) -> Result<Tree> {
        Ok(self.finish())
    }
}

impl SerializeTupleStruct for Items {
    type Ok = Tree;
    type Error = DeError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.push(value)
    }
    fn end(self) -> Result<Tree> {
        Ok(self.finish())
    }
}

impl SerializeTupleVariant for Items {
    type Ok = Tree;
    type Error = DeError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.push(value)
    }
    fn end(self) -> Result<Tree> {
        Ok(self.finish())
    }
}

impl SerializeMap for Entries {
    type Ok = Tree;
    type Error = DeError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.key = Some(match key.serialize(TreeSerializer)? {
            Tree::String(text) => text,
            Tree::Int(value) => value.to_string(),
            Tree::Bool(value) => value.to_string(),
            _ => return Err(DeError::Custom("a key must be a single word".to_owned())),
        });
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let key = self.key.take().unwrap_or_default();
        self.push(&key, value)
    }
    fn end(self) -> Result<Tree> {
        Ok(self.finish())
    }
}

impl SerializeStruct for Entries {
    type Ok = Tree;
    type Error = DeError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<()> {
        self.push(key, value)
    }
    fn end(self) -> Result<Tree> {
        Ok(self.finish())
    }
}

impl SerializeStructVariant for Entries {
    type Ok = Tree;
    type Error = DeError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<()> {
        self.push(key, value)
    }
    fn end(self) -> Result<Tree> {
        Ok(self.finish())
    }
}
