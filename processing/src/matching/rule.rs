//! One of `include` and `exclude`, checked for a signal.

use weir_pdata::text::Plain;
use weir_pdata::{Signal, view};

use super::attributes::Attributes;
use super::config::{LibraryConfig, MatchProperties, SPAN_KINDS, SeverityConfig};
use super::names::Names;
use crate::Problem;

/// What must match; nothing given matches everything.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    services: Option<Names>,
    resources: Attributes,
    libraries: Vec<(Names, Option<Names>)>,
    /// Names of spans or metrics, bodies of log records.
    names: Option<Names>,
    kinds: Option<Names>,
    severity_texts: Option<Names>,
    severity: Option<SeverityConfig>,
    attributes: Attributes,
}

impl Rule {
    /// Checks the options. `None`: they have no effect on that signal.
    pub(super) fn new(properties: &MatchProperties, signal: Signal) -> Result<Option<Rule>, Problem> {
        properties.check(signal)?;
        if signal == Signal::Metrics {
            return Rule::of_metrics(properties);
        }
        let match_type = properties.match_type.as_str();
        let names = |option: &'static str, what: &str, list: &[String]| match list {
            [] => Ok(None),
            list => match Names::new(match_type, list) {
                Ok(names) => Ok(Some(names)),
                Err(why) => Err(Problem::new(option, format!("error creating {what} filters: {why}"))),
            },
        };
        let libraries = properties.libraries.iter().map(|LibraryConfig { name, version }| {
            let name = names("libraries", "library name", std::slice::from_ref(name))?;
            let version = version.as_ref().map(std::slice::from_ref).unwrap_or_default();
            Ok((name, names("libraries", "library version", version)?))
        });
        let libraries: Vec<(Option<Names>, Option<Names>)> = libraries.collect::<Result<_, Problem>>()?;
        let attributes = |option: &'static str, what: &str, list| {
            Attributes::new(match_type, list)
                .map_err(|why| Problem::new(option, format!("error creating {what} filters: {why}")))
        };
        let with = attributes("attributes", "attribute", &properties.attributes)?;
        let resources = attributes("resources", "resource", &properties.resources)?;
        let services = names("services", "service name", &properties.services)?;
        let by_name = match signal {
            Signal::Traces => names("span_names", "span name", &properties.span_names)?,
            _ => names("log_bodies", "log record body", &properties.log_bodies)?,
        };
        Ok(Some(Rule {
            libraries: libraries.into_iter().filter_map(|(name, version)| Some((name?, version))).collect(),
            attributes: with,
            resources,
            services,
            names: by_name,
            kinds: names("span_kinds", "span kind", &properties.span_kinds)?,
            severity_texts: names(
                "log_severity_texts",
                "log record severity text",
                &properties.log_severity_texts,
            )?,
            severity: properties.log_severity_number.clone(),
        }))
    }

    /// Metrics are matched by name alone: `resources` is accepted and, as in the Collector, has no effect.
    fn of_metrics(properties: &MatchProperties) -> Result<Option<Rule>, Problem> {
        if properties.metric_names.is_empty() || properties.match_type == "expr" {
            return Ok(None);
        }
        let names = Names::new(&properties.match_type, &properties.metric_names)
            .map_err(|why| Problem::new("metric_names", why))?;
        Ok(Some(Rule {
            services: None,
            resources: Attributes::default(),
            libraries: Vec::new(),
            names: Some(names),
            kinds: None,
            severity_texts: None,
            severity: None,
            attributes: Attributes::default(),
        }))
    }

    pub(super) fn resource(&self, resource: view::Resource<'_>) -> bool {
        let service = || match resource.attributes().get("service.name") {
            Some(value) => Plain(value).to_string(),
            None => "<nil-service-name>".to_owned(),
        };
        self.services.as_ref().is_none_or(|names| names.matches(&service()))
            && self.resources.match_all(resource.attributes())
    }

    pub(super) fn scope(&self, scope: view::Scope<'_>) -> bool {
        self.libraries.iter().all(|(name, version)| {
            name.matches(scope.name()) && version.as_ref().is_none_or(|v| v.matches(scope.version()))
        })
    }

    pub(super) fn span(&self, span: view::Span<'_>) -> bool {
        let kind =
            || usize::try_from(span.kind()).ok().and_then(|k| SPAN_KINDS.get(k)).copied().unwrap_or_default();
        self.names.as_ref().is_none_or(|names| names.matches(span.name()))
            && self.kinds.as_ref().is_none_or(|names| names.matches(kind()))
            && self.attributes.match_all(span.attributes())
    }

    pub(super) fn log_record(&self, record: view::LogRecord<'_>) -> bool {
        let severity = |wanted: &SeverityConfig| match record.severity_number() {
            0 => wanted.match_undefined,
            number => number >= wanted.min,
        };
        self.names.as_ref().is_none_or(|names| names.matches(&Plain(record.body()).to_string()))
            && self.severity_texts.as_ref().is_none_or(|names| names.matches(record.severity_text()))
            && self.severity.as_ref().is_none_or(severity)
            && self.attributes.match_all(record.attributes())
    }

    pub(super) fn metric(&self, metric: view::Metric<'_>) -> bool {
        self.names.as_ref().is_none_or(|names| names.matches(metric.name()))
    }
}
