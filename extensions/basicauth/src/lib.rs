//! Basic authentication (RFC 7617): checks callers against an htpasswd file, or sends a name and password with requests.

#[cfg(any(test, feature = "fuzzing"))]
pub mod check;
#[cfg(test)]
#[path = "../../../fuzz/corpus.rs"]
mod corpus;
mod htpasswd;
mod md5crypt;
mod server;
mod turns;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};
use weir_component::{
    Build, BuildError, Capabilities, ClientAuth, Context, Extension, ExtensionContext, ExtensionFactory,
    Failure, ServerAuth, Stability, async_trait,
};
use weir_config::{Issues, Optional, Options, Secret, Validate};
use weir_otlp::credential::{Credential, keep_fresh};

use server::Server;

/// Makes `basicauth` extensions.
pub const FACTORY: ExtensionFactory = ExtensionFactory {
    kind: "basicauth",
    aliases: &[],
    stability: Stability::Beta,
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    offers: &[weir_config::Offer::Authentication],
    create,
};

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    htpasswd: Optional<Htpasswd>,
    client_auth: Optional<ClientConfig>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Htpasswd {
    file: String,
    inline: Secret,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct ClientConfig {
    username: String,
    username_file: String,
    password: Secret,
    password_file: String,
}

/// What one has to write.
const SOURCES: &str =
    "write `htpasswd` with `file` or `inline` to check callers, or `client_auth` to sign requests";

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        match (self.htpasswd.as_ref(), self.client_auth.as_ref()) {
            (Some(_), Some(_)) => {
                issues.at("client_auth", "only one of `htpasswd` or `client_auth` can be specified")
            }
            (None, None) => issues.at_with_help("htpasswd", "no credential source provided", SOURCES),
            (Some(server), None) if server.file.is_empty() && server.inline.is_empty() => {
                issues.at_with_help("htpasswd", "no credential source provided", SOURCES);
            }
            (None, Some(client)) if client.username.contains(':') => {
                issues
                    .at("client_auth::username", "invalid authorization format: a name cannot have a colon");
            }
            _ => {}
        }
    }
}

fn create(build: &Build<'_>) -> Result<Box<dyn Extension>, BuildError> {
    let config: Config = build.checked()?;
    if let Some(server) = config.htpasswd.as_ref() {
        let file = Credential::lines(&server.file);
        let server = Server::new(build.host.clone(), build.id, file, server.inline.reveal());
        return Ok(Box::new(BasicAuth::Server(Arc::new(server))));
    }
    let client = config.client_auth.into_option().unwrap_or_default();
    Ok(Box::new(BasicAuth::Client(Arc::new(Client {
        username: Credential::new(&client.username, &client.username_file),
        password: Credential::new(client.password.reveal(), &client.password_file),
    }))))
}

enum BasicAuth {
    Server(Arc<Server>),
    Client(Arc<Client>),
}

struct Client {
    username: Credential,
    password: Credential,
}

#[async_trait]
impl ClientAuth for Client {
    async fn sign(&self, headers: &mut HeaderMap, _context: &Context) -> Result<(), Failure> {
        let username = self.username.value();
        if username.contains(':') {
            return Err(Failure::permanent("invalid authorization format: a name cannot have a colon"));
        }
        let encoded = STANDARD.encode(format!("{username}:{}", self.password.value()));
        let value = HeaderValue::try_from(format!("Basic {encoded}"));
        let mut value = value.map_err(|e| Failure::permanent(e.to_string()))?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
        Ok(())
    }

    fn needs_encryption(&self) -> bool {
        true
    }
}

#[async_trait]
impl Extension for BasicAuth {
    async fn start(&mut self, cx: &ExtensionContext) -> Result<(), Failure> {
        match self {
            BasicAuth::Server(server) => server.read().await,
            BasicAuth::Client(client) => {
                client.username.read(&cx.host).await?;
                client.password.read(&cx.host).await
            }
        }
    }

    async fn run(self: Box<Self>, cx: ExtensionContext) -> Result<(), Failure> {
        match &*self {
            BasicAuth::Server(server) => keep_fresh(std::slice::from_ref(server.file()), &cx).await,
            BasicAuth::Client(client) => {
                keep_fresh(&[client.username.clone(), client.password.clone()], &cx).await;
            }
        }
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        match self {
            BasicAuth::Server(server) => {
                Capabilities::default().with_server_auth(Arc::clone(server) as Arc<dyn ServerAuth>)
            }
            BasicAuth::Client(client) => {
                Capabilities::default().with_client_auth(Arc::clone(client) as Arc<dyn ClientAuth>)
            }
        }
    }
}

#[cfg(test)]
mod tests;
