//! Where the log begins, and how it is trimmed.
//!
//! The base stands in the stream's metadata: whatever the server still has below it, as it may after a crash,
//! is not the log any more. It is written before anything is purged, so that a reader never meets a gap that
//! nobody told of.
use async_nats::jetstream::stream::Config;
use dagbok_runlog::{
    Base, Chain, LogMark, PortError, PortResult, ReadLimit, RunLog as _, Seq, chain_from,
    limits::check_trim,
};
use serde_json::{Value, json};

use crate::{error::AskError, link::Link, log::JetStreamLog};

/// In the metadata: the first entry's place, the chain's value before it, and the log's mark.
const FIRST: &str = "dagbok-first";
const CHAIN: &str = "dagbok-chain";
const MARK: &str = "dagbok-mark";

/// What a stream's metadata says of a log that was trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trimmed {
    pub(crate) base: Base,
    pub(crate) mark: LogMark,
}

impl Trimmed {
    /// `None` for a log that was never trimmed; an error where the words can't be read.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>, String> {
        let metadata = &config.metadata;
        let Some(first) = metadata.get(FIRST) else { return Ok(None) };
        let read = |name: &str| metadata.get(name).and_then(|text| text.parse::<Chain>().ok());
        let first = first.parse().ok().filter(|first| *first > 0).map(Seq);
        match (first, read(CHAIN), read(MARK)) {
            (Some(first), Some(chain), Some(mark)) => {
                Ok(Some(Self { base: Base { first, chain }, mark: LogMark(mark) }))
            }
            _ => Err(format!(
                "its metadata says where the log begins in words that can't be read: {metadata:?}"
            )),
        }
    }
}

/// The configuration as the server gives it, with what this build does not know.
async fn config_of(link: &Link, stream: &str) -> Result<Value, AskError> {
    let mut info: Value = link.api(&format!("STREAM.INFO.{stream}"), &json!({})).await?;
    Ok(info["config"].take())
}

impl JetStreamLog {
    /// Refuses a place below the base, as far as that is known here.
    pub(crate) fn check_base(&self, due: Seq) -> PortResult<()> {
        let first = self.known_base().first;
        if due < first { Err(PortError::Trimmed { asked: due, first }) } else { Ok(()) }
    }

    pub(crate) fn known_base(&self) -> Base {
        self.trimmed().map_or(Base::START, |trimmed| trimmed.base)
    }

    pub(crate) async fn find_mark(&self) -> PortResult<Option<LogMark>> {
        self.last().await?;
        if let Some(trimmed) = self.trimmed() {
            return Ok(Some(trimmed.mark));
        }
        let one = ReadLimit { entries: 1, ..ReadLimit::default() };
        match self.read(Seq::ZERO, one).await {
            Ok(first) => Ok(first.first().map(LogMark::of)),
            // Trimmed meanwhile.
            Err(PortError::Trimmed { .. }) => Ok(self.trimmed().map(|trimmed| trimmed.mark)),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn trim_below(&self, below: Seq, given: Chain) -> PortResult<Base> {
        let last = self.last().await?;
        let base = self.known_base();
        if below <= base.first {
            return Ok(base);
        }
        let found = if below > last {
            given
        } else {
            chain_from(self, Seq(base.first.0 - 1), base.chain, Seq(below.0 - 1)).await?
        };
        check_trim(below, last, given, found)?;
        let Some(mark) = self.find_mark().await? else { return Ok(base) };
        let base = Base { first: below, chain: given };
        let failed = |error: AskError| error.port("log");
        let mut config = config_of(&self.link, &self.stream).await.map_err(failed)?;
        if config["deny_purge"] == json!(true) {
            let why = format!(
                "to be trimmed: the stream {} was made by an earlier version, which had the server refuse \
                 that for ever; the log keeps all its entries",
                self.stream
            );
            return Err(PortError::Refused { what: "log", why });
        }
        config["metadata"][FIRST] = json!(below.0.to_string());
        config["metadata"][CHAIN] = json!(given.to_string());
        config["metadata"][MARK] = json!(mark.0.to_string());
        let update = format!("STREAM.UPDATE.{}", self.stream);
        self.link.api::<Value>(&update, &config).await.map_err(failed)?;
        self.identity.set_trimmed(Trimmed { base, mark });
        let purge = format!("STREAM.PURGE.{}", self.stream);
        let purged = self.link.api::<Value>(&purge, &json!({ "seq": below.0 })).await;
        // It is trimmed all the same: the next trim purges this too.
        if let Err(error) = purged {
            tracing::warn!(%error, stream = self.stream, "what was trimmed still takes room on the server");
        }
        Ok(base)
    }
}
