//! Options.

use serde::{Deserialize, Serialize};
use weir_config::{Issues, Validate};
use weir_pdata::otlp::trace::v1::status::StatusCode;
use weir_processing::MatchConfig;

use crate::rename::Rename;

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(rename = "+match")]
    pub(crate) matching: MatchConfig,
    pub(crate) name: NameConfig,
    pub(crate) status: Option<StatusConfig>,
}

/// How spans are renamed.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NameConfig {
    pub(crate) from_attributes: Vec<String>,
    pub(crate) separator: String,
    pub(crate) to_attributes: Option<ToAttributesConfig>,
}

/// How parts of names become attributes.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ToAttributesConfig {
    pub(crate) rules: Vec<String>,
    pub(crate) break_after_match: bool,
    pub(crate) keep_original_name: bool,
}

/// The status to set.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StatusConfig {
    pub(crate) code: String,
    pub(crate) description: String,
}

impl StatusConfig {
    pub(crate) fn code(&self) -> StatusCode {
        match self.code.as_str() {
            "Ok" => StatusCode::Ok,
            "Error" => StatusCode::Error,
            _ => StatusCode::Unset,
        }
    }
}

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        let rules = self.name.to_attributes.as_ref().is_some_and(|to| !to.rules.is_empty());
        if self.name.from_attributes.is_empty() && !rules && self.status.is_none() {
            issues.error(
                "error creating \"span\" processor: either \"from_attributes\" or \"to_attributes\" must be specified \
                 in \"name:\" or \"setStatus\" must be specified",
            );
        }
        if let Some(StatusConfig { code, description }) = &self.status {
            issues.within("status", |issues| {
                if !["Ok", "Error", "Unset"].contains(&code.as_str()) {
                    let words = "error creating \"span\" processor: \"status\" must have specified \"code\" as \"Ok\" \
                                 or \"Error\" or \"Unset\"";
                    issues.at("code", words);
                } else if !description.is_empty() && code != "Error" {
                    let words = "error creating \"span\" processor: \"description\" can be specified only for \"code\" \
                                 \"Error\"";
                    issues.at("description", words);
                }
            });
        }
        if let Err((rule, why)) = Rename::new(&self.name) {
            issues.within("name", |issues| {
                issues.within("to_attributes", |issues| {
                    issues.within("rules", |issues| {
                        issues.within(rule.to_string(), |issues| issues.error(why))
                    });
                });
            });
        }
    }
}
