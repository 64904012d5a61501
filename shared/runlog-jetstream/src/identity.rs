//! By what a log that lost entries, or is another one than before, is told: looked for by whoever asks for its end,
//! and now and then by who writes it and who follows it. A server that was told to forget entries goes on numbering as
//! if nothing had happened, so that nothing else would tell.
use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use async_nats::jetstream::stream::Config;
use dagbok_runlog::{Base, PortError, PortResult, Seq};
use parking_lot::RwLock;
use serde::Deserialize;
use serde_json::json;

use crate::{
    base::Trimmed,
    error::{AskError, STREAM_NOT_FOUND},
    link::Link,
};

/// What to do about a log that is not whole.
const ADVICE: &str = "restore the stream from a backup, or start a new namespace";

/// What a process knows of the log on one stream.
#[derive(Debug)]
pub(crate) struct Identity {
    stream: String,
    /// The highest place that was ever seen here.
    highest: AtomicU64,
    created: OnceLock<String>,
    /// Where the log begins, as was found out last.
    trimmed: RwLock<Option<Trimmed>>,
    /// What was lost of the log, once that was found out. It stays so: nothing is built on it even where the entries
    /// come back, since who followed may have missed some.
    lost: OnceLock<String>,
}

#[derive(Deserialize)]
struct Info {
    created: String,
    config: Config,
    state: State,
}

#[derive(Deserialize)]
struct State {
    messages: u64,
    first_seq: u64,
    last_seq: u64,
}

impl State {
    /// What is not there of what was from `base` on. The base is written before anything is purged below it: the server
    /// may have more than the log, never less.
    fn lost(&self, base: Seq) -> Option<String> {
        let Self { messages, first_seq, last_seq } = *self;
        if first_seq > base.0 {
            let until = first_seq - 1;
            return Some(format!(
                "entries {base} to {until} are not there any more: somebody purged the stream, and that was no trim"
            ));
        }
        let all = (last_seq + 1).saturating_sub(first_seq);
        let missing = all.saturating_sub(messages);
        (first_seq == base.0 && missing > 0).then(|| {
            format!("{missing} of the entries up to {last_seq} are not there any more: somebody purged the stream")
        })
    }
}

impl Identity {
    pub(crate) fn of(stream: &str) -> Self {
        Self {
            stream: stream.to_owned(),
            highest: AtomicU64::new(0),
            created: OnceLock::new(),
            trimmed: RwLock::new(None),
            lost: OnceLock::new(),
        }
    }

    /// Remembers that an entry was there.
    pub(crate) fn saw(&self, seq: Seq) {
        self.highest.fetch_max(seq.0, Ordering::Relaxed);
    }

    pub(crate) fn damaged(&self, why: String) -> PortError {
        PortError::Damaged { what: "log", place: self.stream.clone(), why }
    }

    pub(crate) fn trimmed(&self) -> Option<Trimmed> {
        *self.trimmed.read()
    }

    /// Remembers where the log begins; never an earlier place than before.
    pub(crate) fn set_trimmed(&self, trimmed: Trimmed) {
        let mut known = self.trimmed.write();
        if known.is_none_or(|known| known.base.first < trimmed.base.first) {
            *known = Some(trimmed);
        }
    }

    /// Refuses where it was found out that entries were lost.
    pub(crate) fn check_whole(&self) -> PortResult<()> {
        let lost = self.lost.get();
        lost.map_or(Ok(()), |what| Err(self.damaged(format!("{what}; {ADVICE}"))))
    }

    /// The last entry's place; damage where the stream has gone back, lost entries, or is another one.
    pub(crate) async fn look(&self, link: &Link) -> PortResult<Seq> {
        // Before it is asked: others may write meanwhile.
        let highest = self.highest.load(Ordering::Relaxed);
        let asked = link.api::<Info>(&format!("STREAM.INFO.{}", self.stream), &json!({})).await;
        let found = match asked {
            Ok(info) => self.compare(highest, &info),
            Err(error) if error.is(STREAM_NOT_FOUND) => {
                Err("the stream is not there any more".to_owned())
            }
            Err(error) => return Err(AskError::port(error, "log")),
        };
        self.check_whole()?;
        found.map_err(|why| self.damaged(format!("{why}; {ADVICE}")))
    }

    /// Compares what the server says of the stream with what was known of it.
    fn compare(&self, highest: u64, info: &Info) -> Result<Seq, String> {
        let Info { created, config, state } = info;
        let last = state.last_seq;
        if last < highest {
            return Err(format!("the last entry is {last}, but {highest} was there"));
        }
        let first = self.created.get_or_init(|| created.clone());
        if first != created {
            return Err(format!("it was made at {created}, not at {first} as before"));
        }
        if let Some(trimmed) = Trimmed::of(config)? {
            self.set_trimmed(trimmed);
        }
        let base = self.trimmed().map_or(Base::START, |trimmed| trimmed.base);
        if let Some(what) = state.lost(base.first) {
            return Err(self.lost.get_or_init(|| what).clone());
        }
        self.saw(Seq(last));
        Ok(Seq(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_from_the_base_on_is_lost_and_more_is_not() {
        let lost = |messages, first_seq, last_seq, base| {
            State { messages, first_seq, last_seq }.lost(Seq(base))
        };
        for whole in
            [(0, 0, 0, 1), (0, 1, 0, 1), (5, 1, 5, 1), (3, 3, 5, 3), (0, 6, 5, 6), (0, 6, 5, 9)]
        {
            assert_eq!(lost(whole.0, whole.1, whole.2, whole.3), None, "{whole:?}");
        }
        // What a crash left below the base is no part of it, whole or not.
        assert_eq!(lost(4, 1, 5, 3), None);
        let purged = lost(0, 6, 5, 1).unwrap_or_default();
        assert!(purged.starts_with("entries 1 to 5 are not there any more"), "{purged}");
        let above = lost(1, 5, 5, 3).unwrap_or_default();
        assert!(above.starts_with("entries 3 to 4 are not there any more"), "{above}");
        let holes = lost(3, 1, 5, 1).unwrap_or_default();
        assert!(holes.starts_with("2 of the entries up to 5 are not there any more"), "{holes}");
    }
}
