//! Bearer tokens (RFC 6750): checks those of callers, sends one with requests.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use subtle::{Choice, ConstantTimeEq};
use weir_component::{
    AuthData, Build, BuildError, Capabilities, ClientAuth, Context, Extension, ExtensionContext,
    ExtensionFactory, Failure, ServerAuth, Stability, async_trait,
};
use weir_config::{Issues, Options, Secret, Validate, shown_name};
use weir_otlp::credential::{Credential, keep_fresh};

/// Makes `bearertokenauth` extensions.
pub const FACTORY: ExtensionFactory = ExtensionFactory {
    kind: "bearertokenauth",
    aliases: &[],
    stability: Stability::Beta,
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    offers: &[weir_config::Offer::Authentication],
    create,
};

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    header: String,
    scheme: String,
    token: Secret,
    tokens: Vec<Secret>,
    filename: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            header: "Authorization".to_owned(),
            scheme: "Bearer".to_owned(),
            token: Secret::default(),
            tokens: Vec::new(),
            filename: String::new(),
        }
    }
}

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        if self.token.is_empty() && self.tokens.is_empty() && self.filename.is_empty() {
            issues.at("token", "no bearer token provided");
        }
        if !self.token.is_empty() && !self.tokens.is_empty() {
            issues.at("tokens", "either tokens or token should be provided, not both");
        }
        issues.within("tokens", |issues| {
            for (index, _) in self.tokens.iter().enumerate().filter(|(_, token)| is_blank(token)) {
                issues.within(index.to_string(), |issues| {
                    issues.error("the token is empty: whoever sends none would be let in");
                });
            }
        });
        if self.header.parse::<HeaderName>().is_err() {
            issues.at("header", format!("{:?} is not a header name", shown_name(&self.header)));
        }
    }
}

fn is_blank(token: &Secret) -> bool {
    token.reveal().trim().is_empty()
}

fn create(build: &Build<'_>) -> Result<Box<dyn Extension>, BuildError> {
    let config: Config = build.checked()?;
    let header = config.header.parse().map_err(|_| build.invalid("not a header name"))?;
    let listed = !config.tokens.is_empty();
    if !config.filename.is_empty() && (listed || !config.token.is_empty()) {
        let kept = if listed {
            "tokens are used, filename is ignored"
        } else {
            "filename is used, token is ignored"
        };
        tracing::warn!(otelcol.component.id = %build.id, "{kept}");
    }
    let tokens = if listed {
        Tokens::Listed(config.tokens)
    } else {
        Tokens::Text(Credential::new(config.token.reveal(), &config.filename))
    };
    Ok(Box::new(Bearer(Arc::new(Check { header, name: config.header, scheme: config.scheme, tokens }))))
}

struct Bearer(Arc<Check>);

struct Check {
    header: HeaderName,
    /// As configured.
    name: String,
    scheme: String,
    tokens: Tokens,
}

enum Tokens {
    Listed(Vec<Secret>),
    /// One token a line; what follows it on its line is a comment.
    Text(Credential),
}

impl Check {
    /// The values of the header that are right, the one that is sent first.
    fn values(&self) -> Vec<String> {
        let value = |token: &str| match self.scheme.as_str() {
            "" => token.to_owned(),
            scheme => format!("{scheme} {token}"),
        };
        match &self.tokens {
            Tokens::Listed(list) => list.iter().map(|token| value(token.reveal())).collect(),
            Tokens::Text(text) => {
                text.value().lines().filter_map(|line| line.split_whitespace().next()).map(value).collect()
            }
        }
    }
}

#[async_trait]
impl ServerAuth for Check {
    async fn authenticate(&self, headers: &HeaderMap) -> Result<AuthData, Failure> {
        let Some(given) = headers.get(&self.header) else {
            return Err(Failure::permanent(format!("missing or empty authorization header: {}", self.name)));
        };
        // All of them, so that the time tells nothing about which one was nearly right.
        let values = self.values();
        let known = values.iter().map(|value| value.as_bytes().ct_eq(given.as_bytes()));
        if bool::from(known.fold(Choice::from(0), |any, this| any | this)) {
            return Ok(AuthData::new());
        }
        Err(Failure::permanent("provided authorization does not match expected scheme or token"))
    }
}

#[async_trait]
impl ClientAuth for Check {
    async fn sign(&self, headers: &mut HeaderMap, _context: &Context) -> Result<(), Failure> {
        let value = self.values().into_iter().next().unwrap_or_default();
        let mut value = HeaderValue::try_from(value).map_err(|_| {
            Failure::permanent(format!("the token has characters that the header {} cannot have", self.name))
        })?;
        value.set_sensitive(true);
        headers.insert(self.header.clone(), value);
        Ok(())
    }

    fn needs_encryption(&self) -> bool {
        true
    }
}

#[async_trait]
impl Extension for Bearer {
    async fn start(&mut self, cx: &ExtensionContext) -> Result<(), Failure> {
        match &self.0.tokens {
            Tokens::Listed(_) => Ok(()),
            Tokens::Text(text) => text.read(&cx.host).await,
        }
    }

    async fn run(self: Box<Self>, cx: ExtensionContext) -> Result<(), Failure> {
        match &self.0.tokens {
            Tokens::Listed(_) => cx.stop.requested().await,
            Tokens::Text(text) => keep_fresh(std::slice::from_ref(text), &cx).await,
        }
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
            .with_server_auth(Arc::clone(&self.0) as Arc<dyn ServerAuth>)
            .with_client_auth(Arc::clone(&self.0) as Arc<dyn ClientAuth>)
    }
}

#[cfg(test)]
mod tests;
