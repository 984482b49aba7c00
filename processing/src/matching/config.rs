//! Options of `include` and `exclude`.

use serde::{Deserialize, Serialize};
use weir_pdata::Signal;

use crate::{Any, Problem};

/// Which items a processor works on.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MatchConfig {
    /// Only what matches. Not given: everything.
    pub include: Option<MatchProperties>,
    /// Of those, not what matches. Not given: nothing is left out.
    pub exclude: Option<MatchProperties>,
}

/// Properties of an item, of which all that are given must match.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MatchProperties {
    /// How texts are compared: `strict` or `regexp`.
    pub match_type: String,
    /// Cache of results of regular expressions: accepted, and not needed.
    pub regexp: Option<RegexpConfig>,
    /// Spans: values of `service.name` of the resource.
    pub services: Vec<String>,
    /// Spans: names.
    pub span_names: Vec<String>,
    /// Log records: bodies as text.
    pub log_bodies: Vec<String>,
    /// Log records: severity texts.
    pub log_severity_texts: Vec<String>,
    /// Log records: least severity.
    pub log_severity_number: Option<SeverityConfig>,
    /// Metrics: names.
    pub metric_names: Vec<String>,
    /// Spans and log records: attributes, all of which must be there and match.
    pub attributes: Vec<AttributeConfig>,
    /// Attributes of the resource, all of which must be there and match.
    pub resources: Vec<AttributeConfig>,
    /// Instrumentation scopes.
    pub libraries: Vec<LibraryConfig>,
    /// Spans: kinds, such as `SPAN_KIND_CLIENT`.
    pub span_kinds: Vec<String>,
}

/// See [`MatchProperties::regexp`].
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegexpConfig {
    cacheenabled: bool,
    cachemaxnumentries: i64,
}

/// Severity of log records.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeverityConfig {
    /// The least that matches, by number (9 is INFO).
    pub min: i32,
    /// Whether records without a severity match.
    pub match_undefined: bool,
}

/// An attribute that must be there.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttributeConfig {
    /// Key.
    pub key: String,
    /// Value; not given: any.
    pub value: Option<Any>,
}

/// An instrumentation scope.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LibraryConfig {
    /// Name.
    pub name: String,
    /// Version; not given: any.
    pub version: Option<String>,
}

/// Kinds of spans, by number.
pub(super) const SPAN_KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

impl MatchProperties {
    /// Whether what is asked for exists in that signal.
    pub(super) fn check(&self, signal: Signal) -> Result<(), Problem> {
        match signal {
            Signal::Traces => self.check_spans(),
            Signal::Logs => self.check_logs(),
            Signal::Metrics => self.check_metrics(),
            Signal::Profiles => Err(Problem::new("match_type", "include and exclude know no profiles")),
        }
    }

    fn check_spans(&self) -> Result<(), Problem> {
        let foreign = [
            ("log_bodies", !self.log_bodies.is_empty()),
            ("log_severity_texts", !self.log_severity_texts.is_empty()),
            ("log_severity_number", self.log_severity_number.is_some()),
            ("metric_names", !self.metric_names.is_empty()),
        ];
        if let Some((option, _)) = foreign.into_iter().find(|(_, given)| *given) {
            return Err(Problem::new(option, format!("{option} should not be specified for trace spans")));
        }
        if self.services.is_empty()
            && self.span_names.is_empty()
            && self.span_kinds.is_empty()
            && self.nothing_common()
        {
            let words =
                "at least one of \"attributes\", \"libraries\",  or \"resources\" field must be specified";
            return Err(Problem::new("match_type", words));
        }
        let known = |kind: &String| SPAN_KINDS[1..].contains(&kind.as_str());
        if self.match_type == "strict" && !self.span_kinds.iter().all(known) {
            let mut kinds = SPAN_KINDS[1..].to_vec();
            kinds.sort_unstable();
            let words = "span_kinds string must match one of the standard span kinds when match_type=strict";
            return Err(Problem::new("span_kinds", format!("{words}: [{}]", kinds.join(" "))));
        }
        Ok(())
    }

    fn check_logs(&self) -> Result<(), Problem> {
        let foreign = [
            ("span_names", !self.span_names.is_empty()),
            ("services", !self.services.is_empty()),
            ("span_kinds", !self.span_kinds.is_empty()),
            ("metric_names", !self.metric_names.is_empty()),
        ];
        if let Some((option, _)) = foreign.into_iter().find(|(_, given)| *given) {
            let words = "services, span_names, span_kinds and metric_names are not valid for log records";
            return Err(Problem::new(option, words));
        }
        if self.log_bodies.is_empty()
            && self.log_severity_texts.is_empty()
            && self.log_severity_number.is_none()
            && self.nothing_common()
        {
            let words = "at least one of \"attributes\", \"libraries\", \"span_kinds\", \"resources\", \"log_bodies\", \
                         \"log_severity_texts\" or \"log_severity_number\" field must be specified";
            return Err(Problem::new("match_type", words));
        }
        Ok(())
    }

    fn check_metrics(&self) -> Result<(), Problem> {
        let foreign = [
            ("log_bodies", !self.log_bodies.is_empty()),
            ("log_severity_texts", !self.log_severity_texts.is_empty()),
            ("span_names", !self.span_names.is_empty()),
            ("services", !self.services.is_empty()),
            ("span_kinds", !self.span_kinds.is_empty()),
            ("attributes", !self.attributes.is_empty()),
            ("libraries", !self.libraries.is_empty()),
            ("log_severity_number", self.log_severity_number.is_some()),
        ];
        if let Some((option, _)) = foreign.into_iter().find(|(_, given)| *given) {
            let words = "\"span_names\", \"span_kinds\", \"log_bodies\", \"log_severity_texts\", \"log_severity_number\", \
                         \"services\", \"attributes\" and \"libraries\" are not valid for metrics";
            return Err(Problem::new(option, words));
        }
        if self.metric_names.is_empty() && self.resources.is_empty() {
            let words = "at least one of \"metric_names\" or \"resources\" field must be specified";
            return Err(Problem::new("match_type", words));
        }
        Ok(())
    }

    fn nothing_common(&self) -> bool {
        self.attributes.is_empty() && self.libraries.is_empty() && self.resources.is_empty()
    }
}
