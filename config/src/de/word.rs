//! Words in any case.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{EnumAccess, Error, VariantAccess, Visitor};

/// Reads one of `names` in any case and returns its index, for enums whose words the Collector takes in any case
/// (`level: Detailed`). Words of `others` are taken too, with the indices behind those of `names`, and not offered where a
/// word is wrong. In `sentence`, the Collector's for an unknown word, `%q` stands for the word.
///
/// # Errors
/// No string, or none of the names; with a suggestion.
pub fn caseless_word<'de, D: Deserializer<'de>>(
    deserializer: D,
    sentence: &'static str,
    names: &'static [&'static str],
    others: &'static [&'static str],
) -> Result<usize, D::Error> {
    let words = if others.contains(&"") { others } else { names };
    deserializer.deserialize_enum(sentence, words, WordVisitor { names, others })
}

struct WordVisitor {
    names: &'static [&'static str],
    others: &'static [&'static str],
}

impl<'de> Visitor<'de> for WordVisitor {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {}", self.names.join(", "))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<usize, A::Error> {
        let (word, rest): (String, A::Variant) = access.variant_seed(PhantomData)?;
        rest.unit_variant()?;
        let mut all = self.names.iter().chain(self.others);
        let position = all.position(|name| name.eq_ignore_ascii_case(&word));
        position.ok_or_else(|| A::Error::unknown_variant(&word, self.names))
    }
}
