//! What a connection needs to know.
use std::{fmt, path::PathBuf, time::Duration};

use async_nats::{ConnectOptions, ServerAddr};

use crate::{
    error::ConnectError,
    limits::{
        CONNECT_TIMEOUT, PING_EVERY, RECONNECT_FIRST, RECONNECT_LONGEST, SUBSCRIPTION_BACKLOG,
        TIMEOUT,
    },
    names::is_namespace,
};

/// Where the server is, who asks, and how much is kept how safely.
#[derive(Clone)]
pub struct ConnectSettings {
    /// Servers of one cluster: `nats://host:4222`, `tls://host`; a user and password may stand there.
    pub urls: Vec<String>,
    /// The namespace: letters, digits, `_` and `-`, at most 64.
    pub namespace: String,
    /// Who asks.
    pub credentials: Credentials,
    /// Certificates, where the system's do not do.
    pub tls: Tls,
    /// Where streams that have to be made are kept.
    pub storage: Storage,
    /// Copies of every stream, over as many servers: 1, 3 or 5; `None` for 3 in a cluster and 1 on a server
    /// that is alone.
    pub replicas: Option<usize>,
    /// Whether streams that are missing are made. For the scheduler; whoever else connects is told what is
    /// missing, and makes nothing.
    pub creates: bool,
    /// What the server shows as this connection's name.
    pub name: String,
    /// How long one question may take.
    pub timeout: Duration,
    /// The servers' monitoring addresses (`http://127.0.0.1:8222`), with commas between them: from the first their
    /// durability is read, from each what JetStream may hold there.
    pub monitor: Option<String>,
}

impl fmt::Debug for ConnectSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectSettings")
            .field("urls", &self.shown_urls())
            .field("namespace", &self.namespace)
            .field("credentials", &self.credentials)
            .field("storage", &self.storage)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}

impl ConnectSettings {
    /// One server, no credentials, files; makes what is missing.
    pub fn new(url: impl Into<String>, namespace: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            namespace: namespace.into(),
            credentials: Credentials::None,
            tls: Tls::default(),
            storage: Storage::File,
            replicas: None,
            creates: true,
            name: "dagbok".to_owned(),
            timeout: TIMEOUT,
            monitor: None,
        }
    }

    /// Refuses what no server could satisfy.
    pub(crate) fn check(&self) -> Result<(), ConnectError> {
        if !is_namespace(&self.namespace) {
            return Err(ConnectError::Settings(format!(
                "the namespace `{}` can't be used: it has 1 to 64 letters, digits, `_` or `-`",
                self.namespace
            )));
        }
        if let Some(replicas) = self.replicas.filter(|replicas| ![1, 3, 5].contains(replicas)) {
            return Err(ConnectError::Settings(format!(
                "{replicas} replicas can't be had: JetStream keeps 1, 3 or 5"
            )));
        }
        self.addresses().map(drop)
    }

    /// The servers' addresses.
    pub(crate) fn addresses(&self) -> Result<Vec<ServerAddr>, ConnectError> {
        if self.urls.is_empty() {
            return Err(ConnectError::Settings("no NATS address is given".to_owned()));
        }
        let parse = |url: &String| {
            url.trim().parse::<ServerAddr>().map_err(|error| {
                let url = redact(url);
                ConnectError::Settings(format!(
                    "`{url}` is no NATS address ({error}); it looks like `nats://127.0.0.1:4222`"
                ))
            })
        };
        self.urls.iter().map(parse).collect()
    }

    /// The monitoring addresses.
    pub(crate) fn monitors(&self) -> impl Iterator<Item = &str> {
        let all = self.monitor.iter().flat_map(|all| all.split(','));
        all.map(str::trim).filter(|one| !one.is_empty())
    }

    /// The addresses, for people: without users and passwords.
    pub(crate) fn shown_urls(&self) -> String {
        self.urls.iter().map(|url| redact(url)).collect::<Vec<_>>().join(", ")
    }

    /// How the client connects, and keeps connected.
    pub(crate) fn options(&self, addresses: &[ServerAddr]) -> Result<ConnectOptions, ConnectError> {
        let mut options = self
            .credentials
            .options(addresses)?
            .name(&self.name)
            .connection_timeout(CONNECT_TIMEOUT.min(self.timeout))
            .request_timeout(Some(self.timeout))
            .ping_interval(PING_EVERY)
            .subscription_capacity(SUBSCRIPTION_BACKLOG)
            .max_reconnects(None)
            .reconnect_delay_callback(reconnect_delay);
        if let Some(authority) = &self.tls.authority {
            options = options.add_root_certificates(authority.clone()).require_tls(true);
        }
        if let Some((certificate, key)) = &self.tls.client {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        Ok(options)
    }
}

/// How long to wait before attempt `attempts`, counted from one: at once, then doubling to a second.
fn reconnect_delay(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(2)).unwrap_or(u32::MAX).min(10);
    match attempts {
        0 | 1 => Duration::ZERO,
        _ => (RECONNECT_FIRST * 2_u32.pow(doublings)).min(RECONNECT_LONGEST),
    }
}

/// A URL without what stands before `@`.
fn redact(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}://{}", &url[..scheme], &url[at + 1..])
        }
        (None, Some(at)) => url[at + 1..].to_owned(),
        _ => url.to_owned(),
    }
}

/// Who asks. Nothing of it is ever shown.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Nobody in particular, or who the URL names.
    #[default]
    None,
    /// A user and a password.
    UserPassword {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
    /// The seed of an NKEY.
    NKeySeed(String),
    /// A `.creds` file: a JWT and the seed that signs for it.
    CredsFile(PathBuf),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::UserPassword { .. } => "UserPassword(..)",
            Self::Token(_) => "Token(..)",
            Self::NKeySeed(_) => "NKeySeed(..)",
            Self::CredsFile(_) => "CredsFile(..)",
        })
    }
}

impl Credentials {
    fn options(&self, addresses: &[ServerAddr]) -> Result<ConnectOptions, ConnectError> {
        Ok(match self {
            // The client ignores what stands in the URL, so it is handed over here.
            Self::None => {
                let named = addresses.iter().find_map(|address| {
                    Some((address.username()?.to_owned(), address.password()?.to_owned()))
                });
                match named {
                    Some((user, password)) => {
                        ConnectOptions::with_user_and_password(user, password)
                    }
                    None => ConnectOptions::new(),
                }
            }
            Self::UserPassword { user, password } => {
                ConnectOptions::with_user_and_password(user.clone(), password.clone())
            }
            Self::Token(token) => ConnectOptions::with_token(token.clone()),
            Self::NKeySeed(seed) => ConnectOptions::with_nkey(seed.clone()),
            Self::CredsFile(path) => {
                let unreadable = |error: std::io::Error| {
                    let path = path.display();
                    ConnectError::Settings(format!(
                        "the credentials file {path} can't be used: {error}"
                    ))
                };
                let text = std::fs::read_to_string(path).map_err(unreadable)?;
                ConnectOptions::with_credentials(&text).map_err(unreadable)?
            }
        })
    }
}

/// Certificates in PEM files.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Who vouches for the server; given, the connection must be encrypted.
    pub authority: Option<PathBuf>,
    /// This client's certificate and key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Where streams are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// In files: what production needs.
    #[default]
    File,
    /// In memory: gone with the server, for trials.
    Memory,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_settings_are_refused_with_what_and_why() {
        let said = |settings: ConnectSettings| settings.check().unwrap_err().to_string();
        let url = "nats://127.0.0.1:4222";
        assert!(said(ConnectSettings::new(url, "a.b")).contains("`a.b`"));
        assert!(said(ConnectSettings::new("http://x", "a")).contains("`http://x`"));
        let two = ConnectSettings { replicas: Some(2), ..ConnectSettings::new(url, "a") };
        assert!(said(two).contains("2 replicas"));
        let none = ConnectSettings { urls: vec![], ..ConnectSettings::new(url, "a") };
        assert!(said(none).contains("no NATS address"));
        ConnectSettings::new(url, "a").check().unwrap();
    }

    #[test]
    fn passwords_are_never_shown() {
        let mut settings = ConnectSettings::new("nats://me:secret@host:4222", "a");
        settings.credentials =
            Credentials::UserPassword { user: "me".into(), password: "secret".into() };
        assert_eq!(settings.shown_urls(), "nats://host:4222");
        assert!(!format!("{settings:?}").contains("secret"));
    }

    #[test]
    fn reconnecting_is_quick_first_and_capped_at_a_second() {
        assert_eq!(reconnect_delay(1), Duration::ZERO);
        assert_eq!(reconnect_delay(2), Duration::from_millis(20));
        assert_eq!(reconnect_delay(3), Duration::from_millis(40));
        assert_eq!(reconnect_delay(100), Duration::from_secs(1));
        assert_eq!(reconnect_delay(usize::MAX), Duration::from_secs(1));
    }
}
