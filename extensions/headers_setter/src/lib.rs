//! Sets headers of requests: fixed ones, and ones that follow from what is known of the sender of the data.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use weir_component::{
    Build, BuildError, Capabilities, ClientAuth, Context, Extension, ExtensionContext, ExtensionFactory,
    Failure, Stability, async_trait,
};
use weir_config::net::AuthConfig;
use weir_config::{ComponentId, Issues, Options, Secret, Validate, shown_name};
use weir_otlp::auth::client_auth;
use weir_otlp::credential::{Credential, keep_fresh};

/// Makes `headers_setter` extensions.
pub const FACTORY: ExtensionFactory = ExtensionFactory {
    kind: "headers_setter",
    aliases: &[],
    stability: Stability::Alpha,
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    offers: &[weir_config::Offer::Authentication],
    create,
};

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    headers: Vec<HeaderConfig>,
    additional_auth: Option<ComponentId>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct HeaderConfig {
    action: Action,
    key: String,
    value: Option<Secret>,
    value_file: Option<String>,
    from_context: Option<String>,
    from_attribute: Option<String>,
    default_value: Option<Secret>,
}

/// What is done with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename = "invalid action %q", rename_all = "lowercase")]
enum Action {
    Insert,
    Update,
    #[default]
    Upsert,
    Delete,
}

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        if self.headers.is_empty() {
            issues.at("headers", "missing headers configuration");
        }
        for (i, header) in self.headers.iter().enumerate() {
            issues.within(format!("headers::{i}"), |issues| header.validate(issues));
        }
    }
}

impl Validate for HeaderConfig {
    fn validate(&self, issues: &mut Issues) {
        if self.key.is_empty() {
            issues.error("missing header name");
        } else if self.key.parse::<HeaderName>().is_err() {
            issues.at("key", format!("{:?} is not a header name", shown_name(&self.key)));
        }
        let sources = [
            self.value.is_some(),
            self.value_file.is_some(),
            self.from_context.is_some(),
            self.from_attribute.is_some(),
        ];
        match sources.iter().filter(|given| **given).count() {
            1 => {}
            _ if self.action == Action::Delete => {}
            0 => issues.error(
                "missing header source, must be 'from_context', 'from_attribute', 'value', or 'value_file'",
            ),
            _ => issues.error(
                "invalid header source, must be only one of 'from_context', 'from_attribute', 'value', or 'value_file'",
            ),
        }
    }
}

fn create(build: &Build<'_>) -> Result<Box<dyn Extension>, BuildError> {
    let config: Config = build.checked()?;
    let headers = config.headers.iter().map(Header::new).collect::<Result<_, _>>();
    let headers = headers.map_err(|e| build.invalid(e))?;
    Ok(Box::new(HeadersSetter { headers, then: config.additional_auth, setter: None }))
}

struct HeadersSetter {
    headers: Vec<Header>,
    then: Option<ComponentId>,
    setter: Option<Arc<Setter>>,
}

/// One header and what to do with it.
#[derive(Clone)]
struct Header {
    action: Action,
    name: HeaderName,
    source: Source,
}

/// Where a value comes from.
#[derive(Clone)]
enum Source {
    Value(Credential),
    Metadata { key: String, default: Secret },
    Auth { name: String, default: Secret },
}

impl Header {
    fn new(config: &HeaderConfig) -> Result<Header, String> {
        let default = config.default_value.clone().unwrap_or_default();
        let source = match (&config.from_context, &config.from_attribute) {
            (Some(key), _) => Source::Metadata { key: key.clone(), default },
            (None, Some(name)) => Source::Auth { name: name.clone(), default },
            (None, None) => {
                let value = config.value.as_ref().map_or("", Secret::reveal);
                Source::Value(Credential::new(value, config.value_file.as_deref().unwrap_or_default()))
            }
        };
        let name =
            config.key.parse().map_err(|_| format!("{:?} is not a header name", shown_name(&config.key)))?;
        Ok(Header { action: config.action, name, source })
    }

    fn apply(&self, headers: &mut HeaderMap, context: &Context) -> Result<(), Failure> {
        let there = headers.contains_key(&self.name);
        match self.action {
            Action::Delete => drop(headers.remove(&self.name)),
            Action::Insert if there => {}
            Action::Update if !there => {}
            Action::Insert | Action::Update | Action::Upsert => {
                let value = self.value(context)?;
                headers.insert(self.name.clone(), value);
            }
        }
        Ok(())
    }

    fn value(&self, context: &Context) -> Result<HeaderValue, Failure> {
        let one = |values: &[String], default: &Secret, place: &str| match values {
            [] => Ok(default.reveal().to_owned()),
            [value] => Ok(value.clone()),
            several => Err(Failure::permanent(format!(
                "failed to determine the source: {} source keys found in the {place}, can't determine which one to use",
                several.len()
            ))),
        };
        let value = match &self.source {
            Source::Value(value) => value.value().as_ref().to_owned(),
            Source::Metadata { key, default } => one(context.metadata(key), default, "context")?,
            Source::Auth { name, default } => one(context.auth(name), default, "auth data")?,
        };
        let mut value = HeaderValue::try_from(value).map_err(|_| {
            Failure::permanent(format!(
                "the value for {} has characters that a header cannot have",
                self.name
            ))
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

struct Setter {
    headers: Vec<Header>,
    then: Option<Arc<dyn ClientAuth>>,
}

#[async_trait]
impl ClientAuth for Setter {
    async fn sign(&self, headers: &mut HeaderMap, context: &Context) -> Result<(), Failure> {
        for header in &self.headers {
            header.apply(headers, context)?;
        }
        match &self.then {
            Some(then) => then.sign(headers, context).await,
            None => Ok(()),
        }
    }

    fn needs_encryption(&self) -> bool {
        self.then.as_ref().is_some_and(|then| then.needs_encryption())
    }
}

impl HeadersSetter {
    fn values(&self) -> Vec<Credential> {
        let values = self.headers.iter().filter_map(|header| match &header.source {
            Source::Value(value) => Some(value.clone()),
            Source::Metadata { .. } | Source::Auth { .. } => None,
        });
        values.collect()
    }
}

#[async_trait]
impl Extension for HeadersSetter {
    async fn start(&mut self, cx: &ExtensionContext) -> Result<(), Failure> {
        for value in self.values() {
            value.read(&cx.host).await?;
        }
        let then = self.then.clone().map(|id| AuthConfig { authenticator: Some(id) });
        let then = client_auth(then.as_ref(), &cx.host)?;
        self.setter = Some(Arc::new(Setter { headers: self.headers.clone(), then }));
        Ok(())
    }

    async fn run(self: Box<Self>, cx: ExtensionContext) -> Result<(), Failure> {
        keep_fresh(&self.values(), &cx).await;
        Ok(())
    }

    fn needs(&self) -> Vec<String> {
        self.then.iter().map(ToString::to_string).collect()
    }

    fn capabilities(&self) -> Capabilities {
        match &self.setter {
            Some(setter) => {
                Capabilities::default().with_client_auth(Arc::clone(setter) as Arc<dyn ClientAuth>)
            }
            None => Capabilities::default(),
        }
    }
}

#[cfg(test)]
mod tests;
