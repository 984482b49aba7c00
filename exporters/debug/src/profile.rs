//! Attributes of profiles, which are given as indices into the dictionary.

use std::collections::HashMap;

use weir_pdata::otlp::common::v1::any_value::Value;
use weir_pdata::otlp::profiles::v1development::ProfilesDictionary;

use crate::text::Text;
use crate::value::Strings;

/// How an attribute is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `key=value`.
    Plain,
    /// `key: Type(value)`.
    Typed,
}

/// Most bytes of nested values that are kept for reuse.
const KEPT: usize = 16 << 20;

/// The attributes of a dictionary. A few bytes of a profile refer to one of any size, so that nested values, whose text
/// may be short and yet take long to find, are made once.
pub(crate) struct AttributeTable<'a> {
    dictionary: Option<&'a ProfilesDictionary>,
    nested: HashMap<usize, String>,
    kept: usize,
}

impl<'a> AttributeTable<'a> {
    pub(crate) fn new(dictionary: Option<&'a ProfilesDictionary>) -> AttributeTable<'a> {
        AttributeTable { dictionary, nested: HashMap::new(), kept: 0 }
    }

    /// The string table beside it.
    pub(crate) fn strings(&self) -> Strings<'a> {
        Strings(self.dictionary.map_or(&[], |d| &d.string_table))
    }

    /// Writes the attribute at that index, always in the same form for one table.
    pub(crate) fn write(&mut self, text: &mut Text, index: i32, form: Form) {
        let table = self.dictionary.map_or(&[][..], |d| &d.attribute_table);
        let Some((place, attribute)) = usize::try_from(index).ok().and_then(|i| Some((i, table.get(i)?)))
        else {
            return text.part(format_args!("[Missing Dictionary AttributeTable Item #{index}]"));
        };
        let strings = self.strings();
        match strings.get(attribute.key_strindex) {
            Some(key) => text.part(format_args!("{key}")),
            None => {
                text.part(format_args!("[Missing Dictionary Key String Item #{}]", attribute.key_strindex))
            }
        }
        text.part(format_args!("{}", if form == Form::Plain { "=" } else { ": " }));
        let value = attribute.value.as_ref();
        let write = |text: &mut Text| match form {
            Form::Plain => text.part(format_args!("{}", strings.plain(value))),
            Form::Typed => text.part(format_args!("{}", strings.typed(value))),
        };
        match value.and_then(|v| v.value.as_ref()) {
            Some(Value::KvlistValue(_) | Value::ArrayValue(_)) if !text.is_full() => {
                text.part(format_args!("{}", self.nested(place, write)));
            }
            _ => write(text),
        }
    }

    fn nested(&mut self, place: usize, write: impl FnOnce(&mut Text)) -> &str {
        if self.kept > KEPT {
            self.nested.clear();
            self.kept = 0;
        }
        self.nested.entry(place).or_insert_with(|| {
            let mut own = Text::new();
            write(&mut own);
            let own = own.finish();
            self.kept += own.len();
            own
        })
    }
}
