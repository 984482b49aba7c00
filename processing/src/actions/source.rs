//! Where the value of an action comes from.

use weir_component::Context;
use weir_pdata::edit::{AttributeList, Encoded, ValueRef};

/// The first of these that gives a value.
#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    pub(super) value: Option<Encoded>,
    pub(super) from_context: String,
    pub(super) from_attribute: String,
    pub(super) default: Option<Encoded>,
}

impl Source {
    /// The value for an item. `context` is what [`Source::in_context`] gave.
    pub(super) fn value<'a>(
        &self,
        list: &mut AttributeList<'a>,
        context: Option<&str>,
    ) -> Option<ValueRef<'a>> {
        if let Some(value) = &self.value {
            return Some(list.encoded(value));
        }
        if let Some(text) = context {
            return Some(list.text_value(text));
        }
        if !self.from_attribute.is_empty()
            && let Some(value) = list.get(&self.from_attribute)
        {
            return Some(value);
        }
        self.default.as_ref().map(|value| list.encoded(value))
    }

    /// What is known of the sender under the name `from_context`: several values are joined by semicolons.
    pub(super) fn in_context(&self, context: &Context) -> Option<String> {
        let key = self.from_context.as_str();
        match key {
            "" => None,
            "client.address" => {
                Some(context.peer.map(|p| p.ip().to_canonical().to_string()).unwrap_or_default())
            }
            key => {
                let values = match key.strip_prefix("auth.") {
                    Some(name) => context.auth(name),
                    // A name without a prefix is metadata too, as in older releases.
                    None => context.metadata(key.strip_prefix("metadata.").unwrap_or(key)),
                };
                (!values.is_empty()).then(|| values.join(";"))
            }
        }
    }
}
