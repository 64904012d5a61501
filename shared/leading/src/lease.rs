//! Who leads: a key in the keyed state with a time to live. It decides who tries, not who may write.
use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dagbok_runlog::{KeyedState, PortError, StateError, Versioned};
use dagbok_runtime::fresh_id;
use tokio::time::{Instant, sleep};

/// How often whoever can't lead says why.
const SAY_AGAIN: Duration = Duration::from_secs(10);
/// Whoever stands by looks so many times while a lease holds.
const LOOKS: u32 = 6;
/// A lease that does not change for this many spans is renewed by nobody, and does not run out either.
const UNCHANGED: u32 = 3;

/// Whose lease it is.
#[derive(Clone, Copy, Debug)]
pub struct LeaseOf {
    /// Its key in the keyed state.
    pub key: &'static str,
    /// What such a service is called in lines for people, as `scheduler`.
    pub service: &'static str,
}

/// One service's claim to lead.
#[derive(Debug)]
pub struct Lease {
    state: Arc<dyn KeyedState>,
    of: LeaseOf,
    ttl: Duration,
    holder: String,
    revision: u64,
    ignore: bool,
}

impl Lease {
    /// How long nobody leads at most after whoever led was killed, by a lease that holds for `ttl`: it runs out, and is found
    /// to have at the next look of whoever stands by.
    pub const fn longest_gap(ttl: Duration) -> Duration {
        match ttl.checked_div(LOOKS) {
            Some(look) => ttl.saturating_add(look),
            None => ttl,
        }
    }

    /// A claim that holds for `ttl` after each renewal.
    pub fn new(state: Arc<dyn KeyedState>, of: LeaseOf, ttl: Duration) -> Self {
        Self { state, of, ttl, holder: fresh_id(), revision: 0, ignore: false }
    }

    /// Leads without asking, where `ignore` says so: two then race for each append, which the log survives.
    #[must_use]
    pub fn ignoring(mut self, ignore: bool) -> Self {
        self.ignore = ignore;
        self
    }

    /// The name under which it claims.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// Waits until nobody else leads, and takes the lease.
    pub async fn acquire(&mut self) {
        if self.ignore {
            return;
        }
        let mut waiting = Waiting::default();
        loop {
            let value = Bytes::from(self.holder.clone());
            match self.state.create(self.of.key, value, Some(self.ttl)).await {
                Ok(revision) => {
                    self.revision = revision;
                    return;
                }
                Err(StateError::Conflict { .. }) => {
                    if self.take_over(&mut waiting).await {
                        return;
                    }
                }
                Err(StateError::Port(error)) => waiting.fails(&error),
            }
            sleep(self.ttl / LOOKS).await;
        }
    }

    /// Looks at a lease that is there: whether it is its own already, a create whose answer was
    /// lost, or one that nobody keeps and that is replaced. Says who leads otherwise.
    async fn take_over(&mut self, waiting: &mut Waiting) -> bool {
        let held = match self.state.get(self.of.key).await {
            Ok(Some(held)) => held,
            Ok(None) => return false,
            Err(error) => {
                waiting.fails(&error);
                return false;
            }
        };
        if held.value == self.holder.as_bytes() {
            self.revision = held.revision;
            return true;
        }
        let unchanged = waiting.unchanged(held.revision);
        let holder = holder_of(&held);
        if holder.is_some() && unchanged < self.ttl * UNCHANGED {
            waiting.say(|| {
                tracing::info!(holder, "another {} leads: standing by", self.of.service);
            });
            return false;
        }
        if let Some(holder) = holder {
            tracing::warn!(
                holder,
                "nobody has renewed the lease for {unchanged:.1?}, and it does not run out: replacing it"
            );
        } else {
            tracing::warn!(
                bytes = held.value.len(),
                "the lease `{}` holds what no {} wrote: replacing it",
                self.of.key,
                self.of.service
            );
        }
        let value = Bytes::from(self.holder.clone());
        let replaced = self.state.update(self.of.key, value, held.revision, Some(self.ttl)).await;
        match replaced {
            Ok(revision) => {
                self.revision = revision;
                true
            }
            // Somebody else was quicker, or it will be tried again.
            Err(error) => {
                tracing::debug!(%error, "the lease was not replaced");
                false
            }
        }
    }

    /// Whether the lease is its own already: a create whose answer was lost.
    async fn is_own(&mut self) -> bool {
        match self.state.get(self.of.key).await {
            Ok(Some(held)) if held.value == self.holder.as_bytes() => {
                self.revision = held.revision;
                true
            }
            _ => false,
        }
    }

    /// Renews the lease for as long as it can; returns once somebody else may lead.
    pub async fn keep(&mut self) {
        if self.ignore {
            std::future::pending::<()>().await;
        }
        let mut renewed = Instant::now();
        loop {
            sleep(self.ttl / 3).await;
            let value = Bytes::from(self.holder.clone());
            let update = self.state.update(self.of.key, value, self.revision, Some(self.ttl));
            match tokio::time::timeout(self.ttl, update).await {
                Ok(Ok(revision)) => {
                    self.revision = revision;
                    renewed = Instant::now();
                }
                Ok(Err(StateError::Conflict { .. })) => {
                    if !self.is_own().await {
                        return;
                    }
                }
                Ok(Err(StateError::Port(_))) | Err(_) if renewed.elapsed() > self.ttl => return,
                Ok(Err(StateError::Port(error))) => {
                    tracing::debug!(%error, "lease not renewed yet");
                }
                Err(_) => {}
            }
        }
    }

    /// Lets the next one lead at once.
    pub async fn release(&mut self) {
        if !self.ignore
            && let Err(error) = self.state.delete(self.of.key).await
        {
            tracing::debug!(%error, "the lease runs out by itself");
        }
    }
}

/// What is remembered while waiting for the lease.
#[derive(Debug, Default)]
struct Waiting {
    said: Option<Instant>,
    /// The lease's revision, and since when it is that one.
    seen: Option<(u64, Instant)>,
}

impl Waiting {
    /// Says something at once, and then every now and then.
    fn say(&mut self, what: impl FnOnce()) {
        if self.said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
            self.said = Some(Instant::now());
            what();
        }
    }

    fn fails(&mut self, error: &PortError) {
        // Nobody could have renewed it meanwhile.
        self.seen = None;
        self.say(
            || tracing::warn!(%error, "nobody can lead: the lease can't be had; trying again"),
        );
    }

    /// For how long the lease has had this revision.
    fn unchanged(&mut self, revision: u64) -> Duration {
        match self.seen {
            Some((seen, since)) if seen == revision => since.elapsed(),
            _ => {
                self.seen = Some((revision, Instant::now()));
                Duration::ZERO
            }
        }
    }
}

/// Who a lease names; `None` for what none wrote. Their names are UUIDs.
fn holder_of(held: &Versioned) -> Option<&str> {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    let name = std::str::from_utf8(&held.value).ok()?;
    let fits = |(at, byte): (usize, u8)| {
        if DASHES.contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() }
    };
    (name.len() == 36 && name.bytes().enumerate().all(fits)).then_some(name)
}

#[cfg(test)]
mod tests {
    use dagbok_runlog::memory;

    use super::*;

    const TTL: Duration = Duration::from_secs(5);
    /// Timers go by whole milliseconds.
    const GRAIN: Duration = Duration::from_millis(5);
    const OF: LeaseOf = LeaseOf { key: "lease/test", service: "test" };

    /// One that leads and is killed so long after it began; how long nobody leads then.
    async fn gap(killed_after: Duration) -> Duration {
        let state = memory::ports().state;
        let mut first = Lease::new(Arc::clone(&state), OF, TTL);
        first.acquire().await;
        let leads = tokio::spawn(async move { first.keep().await });
        let stands_by = tokio::spawn(async move {
            let mut second = Lease::new(state, OF, TTL);
            second.acquire().await;
            Instant::now()
        });
        sleep(killed_after).await;
        assert!(!stands_by.is_finished(), "there is one that leads");
        leads.abort();
        let killed = Instant::now();
        stands_by.await.expect("it takes over") - killed
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_killed_is_replaced_within_the_lease_and_one_look() {
        let longest = Lease::longest_gap(TTL);
        assert_eq!(longest, TTL * 7 / 6);
        let mut most = Duration::ZERO;
        // At each moment between two renewals, and long after the first.
        for tenth in (0..50).chain(600..650) {
            let gap = gap(Duration::from_millis(tenth * 100 + 1)).await;
            assert!(gap <= longest + GRAIN, "killed after {tenth} tenths of a second: {gap:?}");
            most = most.max(gap);
        }
        assert!(most > TTL * 9 / 10, "the bound is met with: {most:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_in_order_is_replaced_at_the_next_look() {
        let state = memory::ports().state;
        let mut first = Lease::new(Arc::clone(&state), OF, TTL);
        first.acquire().await;
        let mut second = Lease::new(state, OF, TTL);
        let stands_by = tokio::spawn(async move {
            second.acquire().await;
            Instant::now()
        });
        sleep(Duration::from_secs(1)).await;
        let left = Instant::now();
        first.release().await;
        assert!(stands_by.await.expect("it takes over") - left <= TTL / LOOKS + GRAIN);
    }
}
