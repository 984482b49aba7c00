//! Checking callers.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use weir_component::{AuthData, Failure, Host, ServerAuth, Status, async_trait};
use weir_otlp::credential::Credential;

use crate::htpasswd::{MAX_PASSWORD, Users};
use crate::turns::Turns;

const SCHEME: &str = "Basic ";

/// Numbers of the lines that cannot be read, and why.
type Wrong = Vec<(usize, &'static str)>;

/// Checks names and passwords against an htpasswd file.
pub(crate) struct Server {
    host: Host,
    id: String,
    file: Credential,
    /// Of the configuration; they replace those of the file.
    inline: Users,
    wrong_inline: Wrong,
    known: Mutex<Known>,
    turns: Arc<Turns>,
}

/// What was read, and who was let through since.
struct Known {
    text: Arc<str>,
    users: Arc<Users>,
    /// Digests of the passwords that were right, by user: a dear hash is then computed once for a user and not for each
    /// request. At most one for each user of the file, forgotten when that changes.
    accepted: BTreeMap<String, [u8; 32]>,
    /// So that the digests of two runs cannot be compared.
    salt: [u64; 4],
}

impl Server {
    pub(crate) fn new(host: Host, id: &str, file: Credential, inline: &str) -> Server {
        let (inline, wrong_inline) = Users::parse(inline);
        let known = Known {
            text: "".into(),
            users: Arc::default(),
            accepted: BTreeMap::new(),
            salt: [0; 4].map(|_: u64| RandomState::new().build_hasher().finish()),
        };
        let turns = host.shared();
        Server { host, id: id.to_owned(), file, inline, wrong_inline, known: Mutex::new(known), turns }
    }

    /// Reads the file.
    pub(crate) async fn read(&self) -> Result<(), Failure> {
        self.leave_out("inline", &self.wrong_inline);
        self.file.read(&self.host).await?;
        if self.users().is_empty() {
            return Err(Failure::permanent(
                "read htpasswd content: there is no line of the form user:hash in it",
            ));
        }
        Ok(())
    }

    pub(crate) fn file(&self) -> &Credential {
        &self.file
    }

    /// The users, read anew when the file has changed to one that has some.
    fn users(&self) -> Arc<Users> {
        let (mut known, text) = (self.known(), self.file.value());
        if Arc::ptr_eq(&known.text, &text) {
            return Arc::clone(&known.users);
        }
        let (mut users, wrong) = Users::parse(&text);
        self.leave_out("file", &wrong);
        known.text = text;
        if users.is_empty() && !known.users.is_empty() {
            tracing::warn!(
                otelcol.component.id = %self.id,
                otelcol.component.kind = "extension",
                "htpasswd: there is no line of the form user:hash in the changed file, the users of the old one stay"
            );
            return Arc::clone(&known.users);
        }
        users.add(&self.inline);
        known.users = Arc::new(users);
        known.accepted.clear();
        Arc::clone(&known.users)
    }

    fn leave_out(&self, option: &str, wrong: &Wrong) {
        for (line, why) in wrong {
            tracing::warn!(
                otelcol.component.id = %self.id,
                otelcol.component.kind = "extension",
                option,
                line,
                "htpasswd: {why}, the line is left out"
            );
        }
    }

    /// Whether that is the password of that user.
    ///
    /// # Errors
    /// Retryable: too many others wait to be told.
    async fn matches(&self, user: String, password: String) -> Result<bool, Failure> {
        if password.len() > MAX_PASSWORD {
            return Ok(false);
        }
        let digest = self.digest(&password);
        if self.remembers(&user, &digest) {
            return Ok(true);
        }
        let Some(turn) = self.turns.take().await else {
            let failure = Failure::retry("too many callers wait for their passwords to be checked");
            return Err(failure.with_status(Status::Unavailable));
        };
        // Another request of the same user may have been before this one.
        if self.remembers(&user, &digest) {
            return Ok(true);
        }
        let users = self.users();
        let (name, of) = (user.clone(), Arc::clone(&users));
        let check = move || {
            let _turn = turn;
            of.matches(&name, &password)
        };
        // Hashes are made to be slow, which is nothing for the threads that move data.
        let right = self.host.blocking(check).await.unwrap_or(false);
        let mut known = self.known();
        if right && Arc::ptr_eq(&known.users, &users) {
            known.accepted.insert(user, digest);
        }
        Ok(right)
    }

    /// Whether that password was right before, by the file as it is now.
    fn remembers(&self, user: &str, digest: &[u8; 32]) -> bool {
        drop(self.users());
        self.known().accepted.get(user).is_some_and(|known| bool::from(known.ct_eq(digest)))
    }

    fn digest(&self, password: &str) -> [u8; 32] {
        let salt = self.known().salt.map(u64::to_ne_bytes);
        Sha256::new().chain_update(salt.as_flattened()).chain_update(password).finalize().into()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ServerAuth for Server {
    async fn authenticate(&self, headers: &HeaderMap) -> Result<AuthData, Failure> {
        let given = headers.get(header::AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
        let (user, password, raw) = credentials(given).map_err(Failure::permanent)?;
        if !self.matches(user.clone(), password).await? {
            return Err(Failure::permanent("invalid credentials"));
        }
        Ok(vec![("username".to_owned(), vec![user]), ("raw".to_owned(), vec![raw])])
    }
}

/// User, password and the encoded text that an `authorization` header holds (RFC 7617).
pub(crate) fn credentials(given: &[u8]) -> Result<(String, String, String), &'static str> {
    if given.is_empty() {
        return Err("no basic auth provided");
    }
    let (scheme, raw) = given.split_at_checked(SCHEME.len()).ok_or("invalid authorization scheme prefix")?;
    if !scheme.eq_ignore_ascii_case(SCHEME.as_bytes()) {
        return Err("invalid authorization scheme prefix");
    }
    const FORMAT: &str = "invalid authorization format";
    let decoded = String::from_utf8(STANDARD.decode(raw).map_err(|_| FORMAT)?).map_err(|_| FORMAT)?;
    let (user, password) = decoded.split_once(':').ok_or(FORMAT)?;
    let raw = String::from_utf8_lossy(raw).into_owned();
    Ok((user.to_owned(), password.to_owned(), raw))
}
