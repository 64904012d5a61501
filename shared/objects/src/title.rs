//! Whether a place is this installation's, by what it knows of it, by its log and by what lies there. Who decides may
//! claim a place that is nobody's; everybody else goes by what that one has written down, and puts nothing far before.
use std::{sync::Arc, time::Duration};

use dagbok_runlog::{PortError, PortResult, RunLog};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    Objects,
    owner::{Claim, Claims, Owner},
};

/// How long a place that is not this installation's yet is taken for that.
const NOT_YET: Duration = Duration::from_secs(1);
/// What is done on purpose.
const PURPOSE: &str = "start the scheduler (or `dagbok standalone`) once with --take-over-blobs";

/// What a process does about the place.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// It claims one that is nobody's, with an id that this draws.
    Claims(fn() -> String),
    /// It goes by the claim of who does.
    Follows,
}

/// Whose the place is, as far as that is no fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This installation's.
    Ours,
    /// Nobody's that is known yet: nothing of this installation lies there.
    NotYet,
}

/// What a process knows of the place.
#[derive(Debug)]
pub struct Title {
    far: Objects,
    claims: Arc<dyn Claims>,
    /// `None` where this process may not read it.
    log: Option<Arc<dyn RunLog>>,
    part: Part,
    seen: Mutex<Option<(Instant, Standing)>>,
    /// What this process claimed or found claimed: state that was lost meanwhile is written again.
    held: Mutex<Option<Claim>>,
    /// One looks at a time.
    looking: tokio::sync::Mutex<()>,
}

impl Title {
    /// Nothing is asked yet.
    pub fn new(
        far: Objects,
        claims: Arc<dyn Claims>,
        log: Option<Arc<dyn RunLog>>,
        part: Part,
    ) -> Self {
        let (seen, held) = (Mutex::default(), Mutex::default());
        Self { far, claims, log, part, seen, held, looking: tokio::sync::Mutex::default() }
    }

    /// Whose the place is, as it was found a moment ago or is now.
    pub async fn standing(&self) -> PortResult<Standing> {
        if let Some((at, standing)) = *self.seen.lock() {
            let trusted = match standing {
                Standing::Ours => self.far.trusted_for(),
                Standing::NotYet => self.far.trusted_for().min(NOT_YET),
            };
            if at.elapsed() < trusted {
                return Ok(standing);
            }
        }
        self.look().await
    }

    /// Whose the place is now. Refused where it is another's, or this installation's blobs lie in another one.
    pub async fn look(&self) -> PortResult<Standing> {
        let asked = Instant::now();
        let _one = self.looking.lock().await;
        if let Some((at, standing)) = *self.seen.lock()
            && at >= asked
        {
            return Ok(standing);
        }
        *self.seen.lock() = None;
        let begun = Instant::now();
        let standing = self.found().await?;
        *self.seen.lock() = Some((begun, standing));
        Ok(standing)
    }

    async fn found(&self) -> PortResult<Standing> {
        let mark = self.mark().await?;
        let (mut claim, mut replaces) = self.claim(mark.as_deref()).await?;
        let owner = self.far.owner().await?;
        if claim.is_none() && owner.is_some() {
            // It is written before `owner` is: whoever claims may have come in between.
            (claim, replaces) = self.claim(mark.as_deref()).await?;
        }
        match (claim, owner) {
            (Some(claim), owner) if claim.is_made => self.held_to(claim, owner).await,
            (Some(claim), owner) => self.half(claim, owner).await,
            (None, Some(owner)) => self.others(&owner, mark.as_deref()),
            (None, None) => match (mark, self.part) {
                (Some(log), Part::Claims(id)) => self.make(Owner { log, id: id() }, replaces).await,
                _ => Ok(Standing::NotYet),
            },
        }
    }

    /// The log's own name; a log without an entry has none.
    async fn mark(&self) -> PortResult<Option<String>> {
        let Some(log) = &self.log else { return Ok(None) };
        Ok(log.mark().await?.map(|mark| mark.0.to_string()))
    }

    /// The claim, and whether another one must be replaced by what is claimed: one of a log that was here before.
    async fn claim(&self, mark: Option<&str>) -> PortResult<(Option<Claim>, bool)> {
        let held = self.held.lock().clone();
        let found = match (self.claims.read().await, held) {
            (Ok(None) | Err(PortError::Damaged { .. }), Some(held)) => {
                tracing::warn!(
                    place = held.place,
                    "where big things lie was lost from the state: it is written again"
                );
                self.claims.put(Some(&held)).await?;
                Some(held)
            }
            (found, _) => found?,
        };
        let is_other = |claim: &Claim| self.log.is_some() && mark != Some(claim.owner.log.as_str());
        let others = found.as_ref().is_some_and(is_other);
        Ok((found.filter(|_| !others), others))
    }

    /// What lies there while a claim says that this installation's blobs do.
    async fn held_to(&self, claim: Claim, owner: Option<Owner>) -> PortResult<Standing> {
        let is_here = claim.place == self.far.place();
        let is_ours = owner.as_ref() == Some(&claim.owner);
        match (is_here, is_ours) {
            (true, true) => Ok(self.keep(claim)),
            (false, true) if matches!(self.part, Part::Claims(_)) => {
                let claim = Claim { place: self.far.place().to_owned(), ..claim };
                self.claims.put(Some(&claim)).await?;
                tracing::info!(
                    place = claim.place,
                    "big things were moved to another place, with all that lay there"
                );
                Ok(self.keep(claim))
            }
            (false, true) => Err(refused(&format!(
                "to go to {}: the scheduler's lie at {}; give every service the same `blobs.url`",
                self.far.place(),
                claim.place
            ))),
            (true, false) if owner.is_none() => Err(PortError::unavailable(
                "blobs",
                format!(
                    "{} has lost its `owner`: see that the share is mounted, that the bucket is the one of before and \
                     that nobody emptied it; where what lay there is given up, {PURPOSE} (DBK0039)",
                    claim.place
                ),
            )),
            (true, false) => Err(refused(&format!(
                "to go on in {}: another installation has taken it over; give this one a path of its own in `blobs.url`, \
                 or {PURPOSE}",
                claim.place
            ))),
            (false, false) => Err(refused(&format!(
                "to go to {}: those of this log lie at {}, and the new place has not their `owner`; copy all objects \
                 there, `owner` last, or name the old place again; where what lies there is given up, {PURPOSE}",
                self.far.place(),
                claim.place
            ))),
        }
    }

    fn keep(&self, claim: Claim) -> Standing {
        if matches!(self.part, Part::Claims(_)) {
            *self.held.lock() = Some(claim);
        }
        Standing::Ours
    }

    /// A claim was begun: by another process just now, or by one that ended in the midst of it.
    async fn half(&self, claim: Claim, owner: Option<Owner>) -> PortResult<Standing> {
        let Part::Claims(id) = self.part else { return Ok(Standing::NotYet) };
        let is_here = claim.place == self.far.place();
        match owner {
            None if !is_here => self.make(Owner { id: id(), ..claim.owner }, true).await,
            Some(owner) if !is_here || owner != claim.owner => {
                self.others(&owner, Some(claim.owner.log.as_str()))
            }
            _ => self.finish(claim, false).await,
        }
    }

    /// Claims a place that is nobody's. What is written down first is what makes a claim that broke off one's own.
    async fn make(&self, owner: Owner, replaces: bool) -> PortResult<Standing> {
        let claim = Claim { place: self.far.place().to_owned(), owner, is_made: false };
        if replaces {
            self.claims.put(Some(&claim)).await?;
        } else if !self.claims.create(&claim).await? {
            return Ok(Standing::NotYet);
        }
        self.finish(claim, false).await
    }

    async fn finish(&self, claim: Claim, takes_over: bool) -> PortResult<Standing> {
        let found = self.far.own(&claim.owner, takes_over).await?;
        match found {
            Some(owner) if owner == claim.owner => {
                let claim = Claim { is_made: true, ..claim };
                self.claims.put(Some(&claim)).await?;
                Ok(self.keep(claim))
            }
            Some(owner) => self.others(&owner, Some(claim.owner.log.as_str())),
            None => {
                let why = format!("{} does not keep what is put there", self.far.place());
                Err(PortError::unavailable("blobs", why))
            }
        }
    }

    /// It is another's. Who may not read the log can't tell, and waits for the claim of who may.
    fn others(&self, owner: &Owner, mark: Option<&str>) -> PortResult<Standing> {
        if self.log.is_none() {
            return Ok(Standing::NotYet);
        }
        let place = self.far.place();
        Err(refused(&if mark == Some(owner.log.as_str()) {
            format!(
                "to share {place}: another copy of this log put what lies there; give this one a path of its own in \
                 `blobs.url`, or, once the other is gone for good, {PURPOSE}"
            )
        } else {
            format!(
                "to share {place}: it holds those of another log ({}); give each installation a path of its own in \
                 `blobs.url`",
                owner.log
            )
        }))
    }

    /// Makes the place this installation's on purpose, whichever copy of its log put what lies there, and gives up what
    /// lies in another. Never where it is another log's: that is deleted by hand first. Says whether anything changed.
    pub async fn take_over(&self) -> PortResult<bool> {
        let Some(log) = self.mark().await? else {
            return Err(refused("to be taken over by a log without a record"));
        };
        let Part::Claims(id) = self.part else {
            return Err(refused("to be taken over by who does not decide"));
        };
        let owner = self.far.owner().await?;
        if let Some(owner) = &owner
            && owner.log != log
        {
            return self.others(owner, Some(log.as_str())).map(|_| false);
        }
        let before = self.claims.read().await.unwrap_or_default();
        if let Some(claim) = &before
            && claim.is_made
            && claim.place == self.far.place()
            && owner.as_ref() == Some(&claim.owner)
        {
            return Ok(false);
        }
        let claim = Claim {
            place: self.far.place().to_owned(),
            owner: Owner { log, id: id() },
            is_made: false,
        };
        self.claims.put(Some(&claim)).await?;
        self.finish(claim, true).await?;
        *self.seen.lock() = None;
        let from = before.map(|claim| claim.place);
        tracing::warn!(
            place = self.far.place(),
            from,
            "the place of big things was taken over, as was asked for"
        );
        Ok(true)
    }
}

fn refused(why: &str) -> PortError {
    PortError::Refused { what: "blobs", why: format!("{why} (DBK0039)") }
}

/// Refuses to go on without a place where this installation's blobs lie in one.
pub async fn refuse_placeless(claims: &dyn Claims, log: Option<&dyn RunLog>) -> PortResult<()> {
    let Some(claim) = claims.read().await?.filter(|claim| claim.is_made) else { return Ok(()) };
    if let Some(log) = log {
        let mark = log.mark().await?.map(|mark| mark.0.to_string());
        if mark.as_ref() != Some(&claim.owner.log) {
            return Ok(());
        }
    }
    let why = format!(
        "to do without an object store: those of this log lie at {}; name it in `blobs.url`, for every service, or, where \
         what lies there is given up, {PURPOSE} (DBK0039)",
        claim.place
    );
    Err(PortError::Refused { what: "blobs", why })
}
