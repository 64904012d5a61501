//! The configuration's file, looked at again and again.
use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use dagbok_alerts::Policy;
use dagbok_events::{Micros, Timestamp};

use super::{Loaded, Ways, digest, load, load_without_calendars};

/// What repeats in calendars is unrolled anew after so long: it is known for some time ahead only.
const UNROLL: Micros = Micros::from_secs(12 * 3_600);

/// By how much a file's time may be behind the clock, and ahead of it.
const COARSE: Duration = Duration::from_millis(20);
const AHEAD: Duration = Duration::from_mins(1);

/// What a look brought.
#[derive(Debug)]
pub(crate) enum Looked {
    /// Nothing new.
    Same,
    /// A configuration to be put in force.
    Good {
        /// Of its text.
        digest: String,
        /// Who is told of what.
        policy: Box<Policy>,
        /// How each is told.
        ways: Ways,
    },
    /// One that can't be.
    Bad {
        /// Of its text.
        digest: String,
        /// File, line, and what is allowed.
        why: String,
        /// What was in force before this process began, where nothing is yet.
        instead: Option<Box<(Policy, Ways)>>,
    },
}

/// What a file was like when it was read.
type Stamp = Option<(SystemTime, u64)>;

/// Looks at one file, and at those of calendars that it names. Blocks on the disk, and for as long as those take to unroll.
#[derive(Clone, Debug)]
pub(crate) struct Reloader {
    path: Option<PathBuf>,
    stamp: Option<Stamp>,
    /// Files of calendars, and what each was like when it was read.
    files: Vec<(PathBuf, Stamp)>,
    read_at: Timestamp,
    /// The text that was put in force last, in this life or the one before.
    good: Option<String>,
    is_in_force: bool,
}

impl Reloader {
    /// `good` is the text that was in force before this process began.
    pub(crate) fn new(path: Option<PathBuf>, good: Option<String>) -> Self {
        let (files, read_at) = (Vec::new(), Timestamp(0));
        Self { path, stamp: None, files, read_at, good, is_in_force: false }
    }

    /// The text in force, where one is.
    pub(crate) fn good(&self) -> Option<&str> {
        self.good.as_deref()
    }

    /// The next look reads the file whether it changed or not.
    pub(crate) fn forget(&mut self) {
        if self.path.is_some() {
            self.stamp = None;
        }
    }

    /// Looks whether the file changed since the last look.
    pub(crate) fn look(&mut self, now: Timestamp) -> Looked {
        let Some(path) = self.path.clone() else {
            let first = self.stamp.replace(None).is_none();
            return if first { none() } else { Looked::Same };
        };
        let stamp = stamp_of(&path);
        let is_same = self.files.iter().all(|(file, known)| stamp_of(file) == *known);
        let is_old = !self.files.is_empty() && now.since(self.read_at) >= UNROLL;
        if self.stamp == Some(stamp) && is_same && !is_old {
            return Looked::Same;
        }
        self.stamp = Some(stamp);
        let mut looked = self.read(&path, now);
        if let Looked::Bad { instead, .. } = &mut looked {
            // What was missing may come without a change of this file: a secret that is mounted later.
            self.stamp = None;
            *instead = self.last_good(now).map(Box::new);
        }
        looked
    }

    fn read(&mut self, path: &Path, now: Timestamp) -> Looked {
        self.read_at = now;
        match std::fs::read_to_string(path) {
            // An editor that empties the file before it writes, a disk that is full.
            Ok(text) if text.trim().is_empty() && self.good.is_some() => {
                let why = format!(
                    "`{}` is empty: remove its receivers one by one, or stop alerting",
                    path.display()
                );
                Looked::Bad { digest: digest(&text), why, instead: None }
            }
            Ok(text) => match load(path, &text, now) {
                Ok(loaded) => {
                    self.files = stamps(&loaded, now);
                    for warning in &loaded.policy.notes {
                        tracing::warn!("{}: {warning}", path.display());
                    }
                    self.is_in_force = true;
                    let digest = digest(&text);
                    self.good = Some(text);
                    Looked::Good {
                        digest,
                        policy: Box::new(loaded.policy.clone()),
                        ways: loaded.into(),
                    }
                }
                Err(error) => {
                    Looked::Bad { digest: digest(&text), why: error.to_string(), instead: None }
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.good.is_none() => none(),
            Err(error) => {
                let why = format!("`{}` can't be read: {error}", path.display());
                Looked::Bad { digest: digest(""), why, instead: None }
            }
        }
    }

    /// What was in force before this process began, where the file can't be read now.
    fn last_good(&mut self, now: Timestamp) -> Option<(Policy, Ways)> {
        if self.is_in_force {
            return None;
        }
        let (path, text) = (self.path.as_ref()?, self.good.as_ref()?);
        // Whom no calendar names is reached by others: nobody at all would be told otherwise.
        let loaded = load(path, text, now).or_else(|_| load_without_calendars(path, text, now));
        let loaded = loaded.ok()?;
        self.files = stamps(&loaded, now);
        self.is_in_force = true;
        Some((loaded.policy.clone(), loaded.into()))
    }
}

fn stamp_of(path: &Path) -> Stamp {
    std::fs::metadata(path).ok().and_then(|it| Some((it.modified().ok()?, it.len())))
}

/// Of each calendar's file. One that changed as the reading began, or since, may have been read before: it is read again.
fn stamps(loaded: &Loaded, now: Timestamp) -> Vec<(PathBuf, Stamp)> {
    let begun = SystemTime::from(now.to_jiff());
    // Clocks of files are coarse; one that shows what is to come is no reason to read for ever.
    let is_meanwhile = |changed: SystemTime| {
        begun.checked_sub(COARSE).is_none_or(|from| from <= changed)
            && begun.checked_add(AHEAD).is_none_or(|until| changed <= until)
    };
    let read = |file: &PathBuf| stamp_of(file).filter(|(changed, _)| !is_meanwhile(*changed));
    loaded.files.iter().map(|file| (file.clone(), read(file))).collect()
}

/// No configuration: nobody is told.
fn none() -> Looked {
    Looked::Good { digest: digest(""), policy: Box::default(), ways: Ways::default() }
}
