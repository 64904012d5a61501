//! What an object store said, in words that tell a person what to do. All of it is worth another try: a person can
//! mend each of these while whoever waits goes on waiting, so nothing is given up.
//!
//! What is told is taken from the store's own answer alone: the library's words around it hold the address, and with it
//! digests that look like anything, and who logs in.
use std::io;

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

/// What a store answered that did not do what it was asked for.
struct Answer {
    /// The status of HTTP; 200 where a store changed its mind in the midst of an answer.
    status: u16,
    body: String,
}

/// The error and all that it names as its cause.
fn causes(error: &Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |it| it.source())
}

/// The answer, where there was one. The library keeps the status to itself, but for the words of one cause.
fn answer(error: &Error) -> Option<Answer> {
    causes(error).find_map(|cause| {
        let said = cause.to_string();
        if let Some(body) = said.strip_prefix("Server returned error response: ") {
            return Some(Answer { status: 200, body: body.to_owned() });
        }
        let rest = said.strip_prefix("Server returned non-2xx status code: ")?;
        let status = rest.get(..3)?.parse().ok()?;
        let body = rest.split_once(": ").map_or("", |(_, body)| body).to_owned();
        Some(Answer { status, body })
    })
}

/// Whether the bucket itself is missing, which stores say with the status that they have for an object too.
fn is_no_bucket(said: &str) -> bool {
    ["NoSuchBucket", "ContainerNotFound", "FilesystemNotFound"].iter().any(|it| said.contains(it))
        || said.contains("bucket does not exist")
}

/// Whether nothing is there, by the store's own word of the object: whatever else answers 404 (a proxy, a bucket that is
/// missing) must not be taken for that.
pub(crate) fn is_missing(error: &Error) -> bool {
    if !matches!(error, Error::NotFound { .. }) {
        return false;
    }
    if let Some(answer) = answer(error) {
        let has = |word: &&str| answer.body.contains(*word);
        return ["NoSuchKey", "BlobNotFound", "No such object"].iter().any(has)
            && !is_no_bucket(&answer.body);
    }
    causes(error).any(|cause| {
        let of_disk = cause.downcast_ref::<io::Error>();
        of_disk.is_some_and(|it| it.kind() == io::ErrorKind::NotFound)
            || cause.to_string().starts_with("No data in memory")
    })
}

/// Whether the status says that something is missing, and no word what: an answer to a question about an object's length
/// has no body.
pub(crate) fn is_mute(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. })
        && answer(error).is_some_and(|answer| answer.body.trim().is_empty())
}

/// Whether the store only asks for fewer requests: some say it of one object, whatever they do for others.
pub(crate) fn is_busy(error: &Error) -> bool {
    answer(error).is_some_and(|it| is_busy_answer(&it))
}

fn is_busy_answer(answer: &Answer) -> bool {
    let has = |word: &&str| answer.body.contains(*word);
    matches!(answer.status, 429 | 503) || ["SlowDown", "ServerBusy"].iter().any(has)
}

/// What happened and what to do.
fn why(error: &Error) -> String {
    let answer = answer(error);
    // The last cause: what is before it repeats it within the library's own words.
    let deepest = || causes(error).last().map(ToString::to_string).unwrap_or_default();
    let said = answer.as_ref().map_or_else(deepest, |it| it.body.clone());
    let status = answer.as_ref().map_or(0, |it| it.status);
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let code = between(&said, "<Code>", "</Code>").unwrap_or_default();
    let named = |text: &str| {
        if code.is_empty() { text.to_owned() } else { format!("{text} ({code})") }
    };
    if is_no_bucket(&said) {
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
    if status == 507
        || has(&["QuotaExceeded", "StorageFull", "InsufficientStorage", "No space left"])
    {
        return named("the store is full: make room, or let old runs go (`dagbok prune`)");
    }
    if answer.as_ref().is_some_and(is_busy_answer) {
        return named("the store asks for fewer requests, again and again");
    }
    if answer.is_none() {
        match transport(error) {
            Some(HttpErrorKind::Timeout) => {
                return "the store did not answer in time: see the network, or raise `blobs.timeout`"
                    .to_owned();
            }
            Some(HttpErrorKind::Connect) => {
                return "the store can't be reached: see `blobs.endpoint` and the network"
                    .to_owned();
            }
            Some(_) => return "the connection to the store broke: see the network".to_owned(),
            None => {}
        }
    }
    let plain: String = said.chars().take(REPEATED).collect();
    let plain = plain.split('<').next().unwrap_or_default().trim();
    match (status, plain) {
        (0, plain) => named(plain),
        (status, "") => named(&format!("it answers with the status {status}")),
        (status, plain) => named(&format!("it answers with the status {status}: {plain}")),
    }
}

/// How the connection failed, where that is what did.
fn transport(error: &Error) -> Option<HttpErrorKind> {
    causes(error).find_map(|it| it.downcast_ref::<HttpError>()).map(HttpError::kind)
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let rest = &text[text.find(from)? + from.len()..];
    Some(&rest[..rest.find(to)?])
}
