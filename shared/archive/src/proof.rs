//! Proving what an archive holds: every file is read, each goes on from the one before it, and the log goes on
//! from the last.
use std::fs;

use dagbok_runlog::{Base, Chain, LogMark, PortError, PortResult, RunLog, Seq, chain_from};

use crate::{
    Archive, ArchiveError, Span,
    file::{self, Head},
};

/// What of an archive was proved.
#[derive(Debug, Default)]
pub struct Proof {
    /// What was: all that it holds, or what stands before the fault. `None` where nothing was.
    pub proved: Option<Span>,
    /// The chain's value at the entry that was asked for, where it was come by.
    at: Option<Chain>,
    /// The first fault.
    pub fault: Option<ArchiveError>,
}

impl Archive {
    /// Reads every file, and holds each against the one before it.
    pub fn prove(&self) -> Proof {
        self.prove_noting(Seq::ZERO)
    }

    /// Reads every file, and holds each against the one before it. Returns what was proved.
    pub fn verify(&self) -> Result<Option<Span>, ArchiveError> {
        let Proof { proved, fault, .. } = self.prove();
        fault.map_or(Ok(proved), Err)
    }

    /// As [`Archive::prove`], and that `log` begins where this ends, or within: the log has the archive's
    /// mark, its base the archive's chain, and what both have is the same.
    ///
    /// The log is asked first: whatever it lets go meanwhile is in the archive by then. Fails only where the
    /// log can't be read.
    pub async fn prove_against(&self, log: &dyn RunLog) -> PortResult<Proof> {
        let (mark, base) = (log.mark().await?, log.base().await?);
        let (archive, before) = (self.clone(), Seq(base.first.0 - 1));
        let proved = tokio::task::spawn_blocking(move || archive.prove_noting(before)).await;
        let mut proof = proved.map_err(|error| PortError::unavailable("archive", error))?;
        if proof.fault.is_none() {
            proof.fault = self.fault_against(log, (mark, base), &proof).await?;
        }
        Ok(proof)
    }

    async fn fault_against(
        &self,
        log: &dyn RunLog,
        (mark, base): (Option<LogMark>, Base),
        proof: &Proof,
    ) -> PortResult<Option<ArchiveError>> {
        let dir = self.dir().to_path_buf();
        let before = Seq(base.first.0 - 1);
        let Some(span) = proof.proved else {
            let missing = || ArchiveError::Missing { dir, from: Seq(1) };
            return Ok((before > Seq::ZERO).then(missing));
        };
        let apart = |why: String| Ok(Some(ArchiveError::Apart { dir: dir.clone(), why }));
        match mark {
            Some(ours) if ours != span.mark => {
                return Ok(Some(ArchiveError::OtherLog { dir, theirs: span.mark, ours }));
            }
            Some(_) => {}
            None => return apart("the log has no entry".to_owned()),
        }
        if span.last < before {
            return Ok(Some(ArchiveError::Missing { dir, from: span.last.plus(1) }));
        }
        if let Some(at) = proof.at.filter(|at| *at != base.chain) {
            return apart(format!(
                "at entry {before} its chain is {at}, and the log was trimmed at {}",
                base.chain
            ));
        }
        let last = log.last().await?;
        if last < span.last {
            return apart(format!("it ends at {}, and the log at {last}", span.last));
        }
        let ours = chain_from(log, before, base.chain, span.last).await?;
        if ours != span.after {
            return apart(format!(
                "at entry {} its chain is {}, and the log's {ours}",
                span.last, span.after
            ));
        }
        Ok(None)
    }

    /// Proves what it can, and notes the chain's value at `at`.
    fn prove_noting(&self, at: Seq) -> Proof {
        let mut proof = Proof::default();
        proof.fault = self.prove_into(&mut proof, at).err();
        proof
    }

    fn prove_into(&self, proof: &mut Proof, at: Seq) -> Result<(), ArchiveError> {
        for named in self.files()? {
            let path = self.path(named);
            let before = proof.proved;
            if let Some(last) = before.map(|span| span.last).filter(|it| it.0 + 1 < named.0) {
                let dir = self.dir().to_path_buf();
                return Err(ArchiveError::Missing { dir, from: last.plus(1) });
            }
            let (head, entries) = file::read(&path)?;
            let Head { first, last, before: begins, after, mark, .. } = head;
            let why = |why: &str| Err(ArchiveError::damaged(&path, why));
            if (first.0, last.0) != named {
                return why("it holds other entries than its name says");
            }
            let goes_on = before.is_none_or(|span| {
                (span.last.plus(1), span.after, span.mark) == (first, begins, mark)
            });
            if !goes_on {
                return why("it does not go on from the file before it");
            }
            if first == Seq(1)
                && (begins != Chain::START || entries.first().map(LogMark::of) != Some(mark))
            {
                return why("it says that it is of another log than its first entry is");
            }
            if at.plus(1) == first {
                proof.at = Some(begins);
            }
            let mut chain = begins;
            for entry in &entries {
                chain = chain.then(entry);
                if entry.seq == at {
                    proof.at = Some(chain);
                }
            }
            let length =
                fs::metadata(&path).map_err(|it| ArchiveError::io("look at", &path, it))?;
            let new = Span { first, before: begins, last, after, mark, files: 0, bytes: 0 };
            let span = proof.proved.get_or_insert(new);
            (span.last, span.after) = (last, after);
            (span.files, span.bytes) = (span.files + 1, span.bytes + length.len());
        }
        Ok(())
    }
}
