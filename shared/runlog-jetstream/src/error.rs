//! Why there is no connection, and what to do about it.
use std::{error::Error as _, fmt, io};

use dagbok_runlog::PortError;
use thiserror::Error;

use crate::limits::OLDEST_SERVER;

/// Why [`connect`](crate::connect) did not hand out ports.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The settings can't be right, whatever the server.
    #[error("{0}")]
    Settings(String),
    /// No server at any of the addresses took the connection.
    #[error("no NATS server at {urls}: {failure} ({detail}); {}", failure.advice())]
    Unreachable {
        /// The addresses that were tried.
        urls: String,
        /// What kind of failure.
        failure: LinkFailure,
        /// The client's words.
        detail: String,
    },
    /// The server is older than the ports need.
    #[error(
        "nats-server {version} is too old: it ignores settings that Dagbok's queues and leases \
         stand on; install {}.{} or later", OLDEST_SERVER.0, OLDEST_SERVER.1
    )]
    TooOld {
        /// What the server says of itself.
        version: String,
    },
    /// The server has no JetStream, or this account may not use it.
    #[error(
        "the NATS server has no JetStream for this account ({why}); start it with `-js`, or give it \
         a `jetstream` block and the account `jetstream: enabled`"
    )]
    NoJetStream {
        /// The server's words.
        why: String,
    },
    /// The server takes smaller messages than a record may be.
    #[error(
        "the NATS server takes messages of {actual} bytes at most, Dagbok needs {needed}; set \
         `max_payload: 1MB` or more in its configuration"
    )]
    PayloadLimit {
        /// The server's limit, in bytes.
        actual: usize,
        /// What is needed, in bytes.
        needed: usize,
    },
    /// A stream is there but does not keep what Dagbok needs of it.
    #[error("the stream `{stream}` is not as Dagbok needs it: {differences}; {advice}")]
    WrongStream {
        /// Which.
        stream: String,
        /// Field by field: what it is, and what it should be.
        differences: String,
        /// What to do next.
        advice: &'static str,
    },
    /// Nothing of the namespace is there, and it is not for whoever asks to make it.
    #[error(
        "there is no namespace `{namespace}` on this NATS server: a scheduler makes it; start `dagbok \
         scheduler --namespace {namespace}`, or check the name"
    )]
    NoNamespace {
        /// Its name.
        namespace: String,
    },
    /// The log is there and something else of the namespace is not.
    #[error(
        "the namespace `{namespace}` is not whole: the stream `{stream}` is missing; a running scheduler \
         makes it again within seconds"
    )]
    Incomplete {
        /// The namespace's name.
        namespace: String,
        /// What is missing.
        stream: String,
    },
    /// The log is gone, and the rest of the namespace is not.
    #[error(
        "the stream `{stream}` is gone with the whole history, and `{other}` of the same namespace is still \
         there: no new log is begun in its place; restore it from a backup (`nats stream restore`), or, to \
         begin anew, delete the namespace's other streams too (`nats stream ls`) or use another namespace"
    )]
    LogGone {
        /// The log's stream.
        stream: String,
        /// One that is still there.
        other: String,
    },
    /// A stream could not be looked at or made.
    #[error("the stream `{stream}` can't be {what}: {why}")]
    Stream {
        /// Which.
        stream: String,
        /// `looked at` or `made`.
        what: &'static str,
        /// The server's words.
        why: String,
    },
}

/// What kind of failure keeps a connection from coming about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkFailure {
    /// The name has no address.
    NoSuchHost,
    /// The machine answers; nothing listens on the port.
    Refused,
    /// Nothing answers in time.
    TimedOut,
    /// The network has no way there.
    Unreachable,
    /// Something answers that is no NATS server, or hangs up.
    NotNats,
    /// It was there, and was gone before it had answered all.
    Broke,
    /// The server does not accept the credentials.
    NotAuthorized,
    /// The encrypted connection can't be made.
    Tls,
    /// Something else.
    Other,
}

impl LinkFailure {
    /// What a person does about it, as the end of a sentence.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NoSuchHost => "check the host name",
            Self::Refused => "check that the server runs and the port is right",
            Self::TimedOut => {
                "check that the server is not frozen and that no firewall drops packets"
            }
            Self::Unreachable => "check the network",
            Self::NotNats => "check that the port is the NATS client port (4222 by default)",
            Self::Broke => "check that the server stays up, and see its log",
            Self::NotAuthorized => "check the user, password, token, key or credentials file",
            Self::Tls => "check the certificate authority and the certificates",
            Self::Other => "see the server's log",
        }
    }

    pub(crate) fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unreachable,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Self::NotNats,
            _ => Self::Other,
        }
    }

    pub(crate) fn of_connect(error: &async_nats::ConnectError) -> Self {
        use async_nats::ConnectErrorKind as Kind;
        match error.kind() {
            Kind::Dns | Kind::ServerParse => Self::NoSuchHost,
            Kind::Authentication | Kind::AuthorizationViolation => Self::NotAuthorized,
            Kind::TimedOut => Self::TimedOut,
            Kind::Tls => Self::Tls,
            // What the server said in words instead of the greeting is text, not an I/O error.
            Kind::Io => error.source().map_or(Self::Other, |source| {
                source.downcast_ref().map_or(Self::NotNats, Self::of_io)
            }),
            Kind::MaxReconnects => Self::Other,
        }
    }
}

impl fmt::Display for LinkFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchHost => "no such host",
            Self::Refused => "connection refused",
            Self::TimedOut => "timed out",
            Self::Unreachable => "unreachable",
            Self::NotNats => "no NATS server answers",
            Self::Broke => "the connection broke",
            Self::NotAuthorized => "not authorized",
            Self::Tls => "no encrypted connection",
            Self::Other => "failed",
        })
    }
}

/// Why a question to the server has no answer, or not the one that was hoped for.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    /// There is no connection: nothing was sent.
    #[error("not connected to NATS for {0:?}")]
    NotConnected(std::time::Duration),
    /// The connection broke while waiting: it may have been done.
    #[error("the connection to NATS broke while waiting for an answer")]
    Lost,
    /// No answer in time: it may have been done.
    #[error("no answer from NATS within {0:?}")]
    TimedOut(std::time::Duration),
    /// Nobody answers there: JetStream is not up, or the stream or consumer is not there.
    #[error("nobody answers at `{0}`: JetStream is not up yet, or what is asked for is not there")]
    NobodyThere(String),
    /// The server does not let this user do that.
    #[error("the NATS server denies it: {0}")]
    Denied(String),
    /// JetStream answered with an error.
    #[error("{description} (JetStream error {err_code})")]
    Said {
        /// The exact error.
        err_code: u64,
        /// In words.
        description: String,
    },
    /// What came back can't be read, or can't be sent.
    #[error("{0}")]
    Other(String),
}

/// JetStream: the expected last sequence is not the last.
pub(crate) const WRONG_LAST_SEQUENCE: u64 = 10_071;
/// JetStream, in a cluster: another message to the same subject is not settled yet.
pub(crate) const SUBJECT_IN_FLIGHT: u64 = 10_164;
/// JetStream, in a cluster: another message of the same id is not settled yet.
pub(crate) const ID_IN_FLIGHT: u64 = 10_158;
/// JetStream: no message there.
pub(crate) const MESSAGE_NOT_FOUND: u64 = 10_037;
/// JetStream: a consumer could not be written to the server's disk.
pub(crate) const CONSUMER_NOT_STORED: u64 = 10_012;
/// JetStream, in a cluster: there is no leader to ask.
const NO_LEADER: u64 = 10_008;
/// JetStream: no such stream.
pub(crate) const STREAM_NOT_FOUND: u64 = 10_059;

impl AskError {
    /// As a port's error.
    pub(crate) fn port(self, what: &'static str) -> PortError {
        PortError::unavailable(what, self)
    }

    /// What kind of failure to reach the server this is; `None` where the server did answer.
    pub(crate) const fn unreachable(&self) -> Option<LinkFailure> {
        match self {
            Self::TimedOut(_) => Some(LinkFailure::TimedOut),
            Self::NotConnected(_) | Self::Lost => Some(LinkFailure::Broke),
            Self::Said { err_code: NO_LEADER, .. } => Some(LinkFailure::Unreachable),
            _ => None,
        }
    }

    /// Whether the server may have done it all the same.
    pub(crate) const fn is_maybe(&self) -> bool {
        !matches!(self, Self::NotConnected(_) | Self::Denied(_) | Self::Said { .. })
    }

    /// Whether JetStream answered with exactly this error.
    pub(crate) const fn is(&self, wanted: u64) -> bool {
        matches!(self, Self::Said { err_code, .. } if *err_code == wanted)
    }
}

/// The number in `wrong last sequence: 5`.
pub(crate) fn sequence_in(said: &str) -> Option<u64> {
    let rest = said.split("wrong last sequence: ").nth(1)?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}
