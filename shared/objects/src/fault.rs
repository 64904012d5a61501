//! What an object store said, in words that tell a person what to do. All of it is worth another try: a person can
//! mend each of these while whoever waits goes on waiting, so nothing is given up.
use dagbok_runlog::PortError;
use object_store::{
    Error,
    client::{HttpError, HttpErrorKind},
};

/// How much of an answer that nobody foresaw is repeated, in characters.
const REPEATED: usize = 200;

/// The port's error for what was done at `place`.
pub(crate) fn port(place: &str, action: &str, error: &Error) -> PortError {
    PortError::unavailable("blobs", format!("can't {action} {place}: {}", why(error)))
}

/// Whether the bucket itself is missing, which stores say as they say it of an object.
pub(crate) fn is_no_bucket(error: &Error) -> bool {
    let said = error.to_string();
    ["NoSuchBucket", "ContainerNotFound", "FilesystemNotFound"].iter().any(|it| said.contains(it))
        || said.contains("bucket does not exist")
}

/// Whether nothing is there.
pub(crate) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. }) && !is_no_bucket(error)
}

/// What happened and what to do.
fn why(error: &Error) -> String {
    let said = error.to_string();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let code = between(&said, "<Code>", "</Code>").unwrap_or_default();
    let named = |text: &str| {
        if code.is_empty() { text.to_owned() } else { format!("{text} ({code})") }
    };
    if is_no_bucket(error) {
        return named("there is no such bucket: make it, or mend `blobs.url`");
    }
    if has(&["ExpiredToken", "TokenRefreshRequired", "RequestExpired", "token has expired"]) {
        return named("the credentials have expired: renew them");
    }
    if has(&["RequestTimeTooSkewed"]) {
        return named("the clocks of the store and of this machine lie too far apart: set them");
    }
    if matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) {
        return named(
            "the store refuses it: see that the credentials are right, and may read, write, list and delete there",
        );
    }
    if has(&["QuotaExceeded", "StorageFull", "InsufficientStorage", "507 ", "No space left"]) {
        return named("the store is full: make room, or let old runs go (`dagbok prune`)");
    }
    if has(&["SlowDown", "429 ", "503 ", "ServerBusy"]) {
        return named("the store asks for fewer requests, again and again");
    }
    match transport(error) {
        Some(HttpErrorKind::Timeout) => {
            return "the store did not answer in time: see the network, or raise `blobs.timeout`"
                .to_owned();
        }
        Some(HttpErrorKind::Connect) => {
            return "the store can't be reached: see `blobs.endpoint` and the network".to_owned();
        }
        Some(_) => return "the connection to the store broke: see the network".to_owned(),
        None => {}
    }
    let plain: String = said.chars().take(REPEATED).collect();
    named(plain.split('<').next().unwrap_or_default().trim())
}

/// How the connection failed, where that is what did.
fn transport(error: &Error) -> Option<HttpErrorKind> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(it) = cause {
        if let Some(http) = it.downcast_ref::<HttpError>() {
            return Some(http.kind());
        }
        cause = it.source();
    }
    None
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let rest = &text[text.find(from)? + from.len()..];
    Some(&rest[..rest.find(to)?])
}
