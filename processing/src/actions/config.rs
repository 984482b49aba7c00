//! Options of an action, and what is wrong with them.

use serde::{Deserialize, Serialize};
use weir_config::Issues;
use weir_pdata::edit::Encoded;
use weir_pdata::otlp::common::v1::AnyValue;

use super::{Action, Actions, Source, Target, What};
use crate::{Any, Problem, compile_regex};

/// One action as configured.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ActionConfig {
    /// Attribute to act upon; not needed by `delete` and `hash` with a `pattern`.
    pub key: String,
    /// `insert`, `update`, `upsert`, `delete`, `hash`, `extract` or `convert`, in any case.
    pub action: String,
    /// Value to set; its type is that of what is written.
    pub value: Option<Any>,
    /// Value to set when the other source gives none.
    pub default_value: Option<Any>,
    /// Attribute to copy the value from.
    pub from_attribute: String,
    /// What is known of the sender: `metadata.KEY`, `auth.KEY` or `client.address`.
    pub from_context: String,
    /// Regular expression, for `extract` with named groups, for `delete` and `hash` of keys.
    pub pattern: String,
    /// `int`, `double` or `string`.
    pub converted_type: String,
}

impl Actions {
    /// Checks and prepares actions.
    ///
    /// # Errors
    /// The first that is wrong, with its place in the list.
    pub fn new(configs: &[ActionConfig]) -> Result<Actions, (usize, Problem)> {
        let all =
            configs.iter().enumerate().map(|(i, config)| config.action(i).map_err(|problem| (i, problem)));
        all.collect::<Result<_, _>>().map(Actions)
    }
}

/// Says everything that is wrong with the actions of the option `name`.
pub fn check(configs: &[ActionConfig], name: &'static str, issues: &mut Issues) {
    if configs.is_empty() {
        let help = "give at least one action, such as {key: environment, value: production, action: insert}";
        issues.at_with_help(name, format!("missing required field \"{name}\""), help);
    }
    issues.within(name, |issues| {
        for (i, config) in configs.iter().enumerate() {
            if let Err(Problem { option, message }) = config.action(i) {
                issues.within(i.to_string(), |issues| issues.at(option, message));
            }
        }
    });
}

/// Where a sentence of the Collector says which action it is about.
struct Place<'a> {
    key: &'a str,
    index: usize,
    action: &'a str,
}

impl Place<'_> {
    fn problem<T>(&self, option: &'static str, words: &str) -> Result<T, Problem> {
        let Place { key, index, .. } = self;
        let words = format!("error with key \"{key}\" ({index}-th action): error creating AttrProc{words}");
        Err(Problem::new(option, words))
    }

    /// An option that this action has no use for.
    fn unused<T>(&self, option: &'static str, name: &str) -> Result<T, Problem> {
        let must = if name.contains(" or ") || name.contains("source") { "These" } else { "This" };
        self.problem(
            option,
            &format!(". Action \"{}\" does not use {name}. {must} must not be specified", self.action),
        )
    }
}

impl ActionConfig {
    fn action(&self, index: usize) -> Result<Action, Problem> {
        let name = self.action.to_lowercase();
        let by_pattern = matches!(name.as_str(), "delete" | "hash");
        if by_pattern && self.key.is_empty() && self.pattern.is_empty() {
            let words = "at least one of \"key\" and \"pattern\" have to be used";
            let words = format!(
                "error creating AttrProc due to missing required field ({words}) at the {index}-th action"
            );
            return Err(Problem::new("action", words));
        }
        if !by_pattern && self.key.is_empty() {
            let words = format!(
                "error creating AttrProc due to missing required field \"key\" at the {index}-th action"
            );
            return Err(Problem::new("action", words));
        }
        let place = Place { key: &self.key, index, action: &name };
        let what = match name.as_str() {
            "insert" => What::Insert(self.source(&place)?),
            "update" => What::Update(self.source(&place)?),
            "upsert" => What::Upsert(self.source(&place)?),
            "delete" => What::Delete(self.keys(&place)?),
            "hash" => What::Hash(self.keys(&place)?),
            "extract" => self.extract(&place)?,
            "convert" => What::Convert(self.target(&place)?),
            _ => return place.problem("action", &format!(" due to unsupported action \"{name}\"")),
        };
        Ok(Action { key: self.key.clone(), what })
    }

    fn sources(&self) -> usize {
        usize::from(self.value.is_some())
            + usize::from(!self.from_attribute.is_empty())
            + usize::from(!self.from_context.is_empty())
    }

    fn source(&self, place: &Place<'_>) -> Result<Source, Problem> {
        if self.sources() == 0 && self.default_value.is_none() {
            let words = "Either field \"value\", \"from_attribute\", \"from_context\", or \"default_value\" must be specified";
            return place.problem("key", &format!(". {words}"));
        }
        if self.sources() > 1 {
            return place.problem("key", " due to multiple value sources being set");
        }
        if !self.pattern.is_empty() {
            return place.unused("pattern", "the \"pattern\" field");
        }
        if !self.converted_type.is_empty() {
            return place.unused("converted_type", "the \"converted_type\" field");
        }
        let encoded = |any: &Option<Any>| any.as_ref().map(|any| Encoded::from(&AnyValue::from(any)));
        Ok(Source {
            value: encoded(&self.value),
            from_context: self.from_context.clone(),
            from_attribute: self.from_attribute.clone(),
            default: encoded(&self.default_value),
        })
    }

    /// The pattern of keys, for `delete` and `hash`.
    fn keys(&self, place: &Place<'_>) -> Result<Option<regex::Regex>, Problem> {
        if self.value.is_some() || !self.from_attribute.is_empty() {
            return place.unused("value", "\"value\" or \"from_attribute\" field");
        }
        let pattern = if self.pattern.is_empty() { None } else { Some(self.regex(place)?) };
        if !self.converted_type.is_empty() {
            return place.unused("converted_type", "the \"converted_type\" field");
        }
        Ok(pattern)
    }

    fn regex(&self, place: &Place<'_>) -> Result<regex::Regex, Problem> {
        compile_regex(&self.pattern).or_else(|why| {
            let words = format!(". Field \"pattern\" has invalid pattern: \"{}\" ({why})", self.pattern);
            place.problem("pattern", &words)
        })
    }

    fn extract(&self, place: &Place<'_>) -> Result<What, Problem> {
        if self.sources() > 0 {
            return place.unused("action", "a value source field");
        }
        if self.pattern.is_empty() {
            let words = " due to missing required field \"pattern\" for action \"extract\"";
            return place.problem("action", words);
        }
        if !self.converted_type.is_empty() {
            return place.unused("converted_type", "the \"converted_type\" field");
        }
        let regex = self.regex(place)?;
        let names: Vec<Option<&str>> = regex.capture_names().skip(1).collect();
        if names.is_empty() {
            return place.problem("pattern", ". Field \"pattern\" contains no named matcher groups");
        }
        let Some(names) = names.into_iter().map(|name| name.map(ToOwned::to_owned)).collect() else {
            return place
                .problem("pattern", ". Field \"pattern\" contains at least one unnamed matcher group");
        };
        Ok(What::Extract(regex, names))
    }

    fn target(&self, place: &Place<'_>) -> Result<Target, Problem> {
        if self.sources() > 0 || !self.pattern.is_empty() {
            return place.unused("action", "value sources or \"pattern\" field");
        }
        match self.converted_type.as_str() {
            "string" => Ok(Target::Str),
            "int" => Ok(Target::Int),
            "double" => Ok(Target::Double),
            "" => {
                let words = " due to missing required field \"converted_type\" for action \"convert\"";
                place.problem("action", words)
            }
            other => {
                let words = format!(
                    " due to invalid value \"{other}\" in field \"converted_type\" for action \"convert\""
                );
                place.problem("converted_type", &words)
            }
        }
    }
}
