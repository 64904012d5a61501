//! All triggers in hand: taken up, put into processes, followed to their ends.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use dagbok_events::{TriggerFailedWhy, TryKey, decode_any};
use dagbok_protocol::{ReportBody, WorkItem, text};
use dagbok_runlog::{Delivery, DeliveryHandle};
use dagbok_runtime::Shutdown;
use futures::{StreamExt as _, stream};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{
    Shared,
    group::{Group, GroupNo, code_of},
    held::{Failures, Held, Lines, TriggerNo},
    process::Process,
    tell::{acknowledge, answer, is_waited_for, make_ready, pack_all, tail, tell, tell_failure},
    word::{self, Blocks, Failed, Fired, Word},
};
use crate::attempt::deferral;

/// How soon an item that can't be read here may come to another triggerer, perhaps a newer one.
const UNREADABLE_DELAY: Duration = Duration::from_secs(30);
/// How often the scheduler is asked whether somebody still waits for a trigger: word of that may be lost.
const ASK_EVERY: Duration = Duration::from_mins(5);
/// Requests to a port that are under way at once.
const AT_ONCE: usize = 64;
/// A trigger that keeps the others waiting for so long fails, in seconds.
const BLOCKED_MOST: f64 = 10.0;

/// Something to see to.
#[derive(Debug)]
pub(super) enum Event {
    /// A trigger came.
    Pulled(Delivery),
    /// Its arguments are here, and its bundle; or can't be had.
    Ready(TriggerNo, Result<(String, Option<String>), String>),
    /// Nobody waits for these any more.
    Over(Vec<TryKey>),
    /// A process said something.
    Said(GroupNo, Word),
    /// A process died.
    Gone(GroupNo, String),
}

/// The triggers in hand.
#[derive(Debug)]
pub(super) struct Crowd {
    shared: Arc<Shared>,
    events: mpsc::UnboundedSender<Event>,
    held: BTreeMap<TriggerNo, Held>,
    numbers: BTreeMap<TryKey, TriggerNo>,
    groups: BTreeMap<GroupNo, Group>,
    last_no: TriggerNo,
    last_group: GroupNo,
}

impl Crowd {
    pub(super) fn new(shared: Arc<Shared>, events: mpsc::UnboundedSender<Event>) -> Self {
        let (held, numbers, groups) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { shared, events, held, numbers, groups, last_no: 0, last_group: 0 }
    }

    /// To the end; what is in hand then goes back to the queue.
    pub(super) async fn run(
        mut self,
        mut events: mpsc::UnboundedReceiver<Event>,
        shutdown: &Shutdown,
    ) {
        let mut renewals = interval(self.shared.settings.lease / 3);
        let mut looks = interval(Duration::from_secs(1));
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.started() => break,
                event = events.recv() => match event {
                    Some(event) => self.see_to(event),
                    None => break,
                },
                _ = renewals.tick() => self.renew(),
                _ = looks.tick() => self.look(),
            }
        }
        self.groups.clear();
        let held = std::mem::take(&mut self.held);
        stream::iter(held.into_values())
            .for_each_concurrent(AT_ONCE, async |held| {
                // Without it they come again when their lease ends.
                drop(held.handle.nak(Duration::ZERO).await);
            })
            .await;
    }

    fn see_to(&mut self, event: Event) {
        match event {
            Event::Pulled(delivery) => self.take(delivery),
            Event::Ready(no, ready) => self.ready(no, ready),
            Event::Over(keys) => {
                for key in keys {
                    if let Some(no) = self.numbers.get(&key).copied() {
                        tracing::debug!(%key, "nobody waits for a trigger any more");
                        if let Some(delivery) = self.let_go(no) {
                            acknowledge(delivery);
                        }
                    }
                }
            }
            Event::Said(group, word) => self.heard(group, word),
            Event::Gone(group, how) => self.lost(group, TriggerFailedWhy::Died, &how),
        }
    }

    fn take(&mut self, delivery: Delivery) {
        let item: WorkItem = match decode_any(&delivery.payload) {
            Ok(item) => item,
            Err(error) => {
                tracing::error!(key = delivery.key, %error, "a trigger can't be read here and is handed back");
                tokio::spawn(async move { delivery.handle.nak(UNREADABLE_DELAY).await });
                return;
            }
        };
        let handle: Arc<dyn DeliveryHandle> = Arc::from(delivery.handle);
        if let Some(held) = self.numbers.get(&item.key).and_then(|no| self.held.get_mut(no)) {
            // Delivered again while in hand: that copy goes on, with the new delivery.
            held.handle = handle;
            return;
        }
        self.last_no += 1;
        let (no, must_ask) = (self.last_no, item.ask || delivery.delivered > 1);
        let item = Arc::new(item);
        self.numbers.insert(item.key.clone(), no);
        let held = Held {
            no,
            item: Arc::clone(&item),
            handle,
            kwargs: None,
            folder: None,
            group: None,
            deaths: 0,
            failures: Failures::default(),
            asked: Instant::now(),
            log: Lines::default(),
        };
        self.held.insert(no, held);
        let (shared, events) = (Arc::clone(&self.shared), self.events.clone());
        tokio::spawn(async move {
            if must_ask && !is_waited_for(&shared, &item.key).await {
                drop(events.send(Event::Over(vec![item.key.clone()])));
                return;
            }
            drop(events.send(Event::Ready(no, make_ready(&shared, &item).await)));
        });
    }

    fn ready(&mut self, no: TriggerNo, ready: Result<(String, Option<String>), String>) {
        let Some(held) = self.held.get_mut(&no) else { return };
        match ready {
            Ok((kwargs, folder)) => {
                (held.kwargs, held.folder) = (Some(kwargs), folder);
                self.place(no, false);
            }
            Err(why) => self.fail(no, TriggerFailedWhy::NotMade, why),
        }
    }

    /// Puts a trigger into a process that has its code: one that is there, or where it is `apart`, a fresh one.
    fn place(&mut self, no: TriggerNo, after_death: bool) {
        let Some(held) = self.held.get(&no) else { return };
        let code = code_of(&held.item, &self.shared.settings);
        let fits = |group: &Group| group.code == code && !group.after_death;
        let found = self.groups.iter().find(|(_, group)| fits(group)).map(|(group, _)| *group);
        let group = if after_death { None } else { found };
        let group = group.or_else(|| self.start_group(no, after_death));
        if let Some(group) = group {
            self.join(no, group);
        }
    }

    fn start_group(&mut self, of: TriggerNo, after_death: bool) -> Option<GroupNo> {
        let held = self.held.get(&of)?;
        let (code, folder) = (code_of(&held.item, &self.shared.settings), held.folder.clone());
        self.last_group += 1;
        let group = self.last_group;
        let events = self.events.clone();
        match Process::start(&self.shared, (group, code.in_airflow), folder.as_deref(), events) {
            Ok(process) => {
                tracing::info!(pid = process.pid, "a process for triggers was started");
                self.groups.insert(group, Group::new(code, process, after_death));
                Some(group)
            }
            Err(error) => {
                let why = format!("no process could be started for it: {error}");
                self.fail(of, TriggerFailedWhy::NotMade, why);
                None
            }
        }
    }

    fn join(&mut self, no: TriggerNo, group: GroupNo) {
        let (Some(held), Some(to)) = (self.held.get_mut(&no), self.groups.get_mut(&group)) else {
            return;
        };
        held.group = Some(group);
        to.members.insert(no);
        to.idle_since = None;
        let kwargs = held.kwargs.as_deref().unwrap_or("{}");
        to.process.send(word::run_trigger(no, &held.item, kwargs));
        let path = held.item.trigger.as_ref().map_or("", |trigger| trigger.class_path.as_str());
        let message = format!(
            "trigger {path} runs in process {} of {}",
            to.process.pid, self.shared.settings.executor
        );
        held.log.system(self.shared.clock.now(), "info", message);
    }

    /// Takes a trigger out of its process and out of hand.
    fn let_go(&mut self, no: TriggerNo) -> Option<Held> {
        let held = self.held.remove(&no)?;
        self.numbers.remove(&held.item.key);
        if let Some(group) = held.group.and_then(|group| self.groups.get_mut(&group)) {
            group.members.remove(&no);
            group.process.send(word::cancel_trigger(no));
            if group.members.is_empty() {
                group.idle_since = Some(Instant::now());
            }
        }
        Some(held)
    }

    fn heard(&mut self, group: GroupNo, word: Word) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.heard = Instant::now();
        }
        match word {
            Word::Beat => {}
            Word::Fired(fired) => self.fired(fired),
            Word::Failed(Failed { number, why, traceback }) => self.fail(number, why, traceback),
            Word::Line(line) => {
                let now = self.shared.clock.now();
                if let Some(held) = self.held.get_mut(&line.number) {
                    held.log.logged(now, &line.line, &self.shared.masks);
                }
            }
            Word::Blocks(blocks) => self.blocked(group, blocks),
            Word::Mask(forms) => self.shared.masks.add(forms),
            Word::Asks { id, number, kind, body } => {
                let (Some(held), Some(group)) = (self.held.get(&number), self.groups.get(&group))
                else {
                    return;
                };
                let (shared, item) = (Arc::clone(&self.shared), Arc::clone(&held.item));
                let frames = group.process.frames();
                tokio::spawn(async move {
                    let frame = answer(&shared, &item, id, &kind, &body).await;
                    drop(frames.send(frame));
                });
            }
        }
    }

    fn fired(&mut self, Fired { number, event, ends, xcoms }: Fired) {
        if self.held.get(&number).is_some_and(|held| held.item.watches) {
            return self.saw(number, event);
        }
        let Some(mut held) = self.let_go(number) else { return };
        let shown = text::cut(&self.shared.masks.text(event.clone()), 512);
        held.log.system(self.shared.clock.now(), "info", format!("trigger fired: {shown}"));
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let log = std::mem::take(&mut held.log).store(&shared.store).await;
            let packed = deferral::pack(&shared.store, "the trigger's event", event).await;
            let values = match pack_all(&shared, xcoms).await {
                Ok(values) => values,
                Err(why) => return tell_failure(&shared, held, log, why).await,
            };
            match packed {
                Ok(event) => {
                    let body = ReportBody::TriggerFired { event, ends, xcoms: values, log };
                    tell(&shared, held, body).await;
                }
                Err(why) => tell_failure(&shared, held, log, why).await,
            }
        });
    }

    /// A watcher saw something, and goes on.
    fn saw(&mut self, no: TriggerNo, event: String) {
        let Some(held) = self.held.get_mut(&no) else { return };
        (held.deaths, held.failures) = (0, Failures::default());
        let shown = text::cut(&self.shared.masks.text(event.clone()), 512);
        tracing::info!(key = %held.item.key, event = shown, "a watcher of an asset fired");
        let (shared, item) = (Arc::clone(&self.shared), Arc::clone(&held.item));
        let events = self.events.clone();
        tokio::spawn(async move {
            let body = match deferral::pack(&shared.store, "the watcher's event", event).await {
                Ok(event) => {
                    ReportBody::TriggerFired { event, ends: None, xcoms: Vec::new(), log: None }
                }
                Err(traceback) => {
                    let why = TriggerFailedWhy::Raised;
                    ReportBody::TriggerFailed { why, traceback, log: None }
                }
            };
            let report = shared.reporter.report(&item.key, body);
            let refused = match report.send_asking().await {
                Ok(waiting) => report.answer(waiting).await.is_err(),
                Err(error) => {
                    tracing::error!(key = %item.key, %error, "a watcher's event can't be reported");
                    false
                }
            };
            report.forget();
            if refused {
                drop(events.send(Event::Over(vec![item.key.clone()])));
            }
        });
    }

    /// A watcher came to nothing: that is said, and it begins anew after a while.
    fn fail_for_now(&mut self, no: TriggerNo, why: TriggerFailedWhy, traceback: &str) {
        let Some(held) = self.held.get_mut(&no) else { return };
        held.deaths = 0;
        let wait = held.failures.wait(Instant::now());
        let (kwargs, folder) = (held.kwargs.clone(), held.folder.clone());
        if let Some(group) = held.group.take().and_then(|group| self.groups.get_mut(&group)) {
            group.members.remove(&no);
            group.process.send(word::cancel_trigger(no));
        }
        let log = std::mem::take(&mut held.log);
        let traceback = tail(&self.shared.masks.text(traceback.to_owned()));
        let seconds = wait.as_secs();
        tracing::warn!(key = %held.item.key, traceback, seconds, "a watcher of an asset failed; it begins anew");
        let (shared, item) = (Arc::clone(&self.shared), Arc::clone(&held.item));
        let events = self.events.clone();
        tokio::spawn(async move {
            let log = log.store(&shared.store).await;
            let body = ReportBody::TriggerFailed { why, traceback, log };
            if let Err(error) = shared.reporter.report(&item.key, body).send().await {
                tracing::error!(key = %item.key, %error, "a watcher's failure can't be reported");
            }
            tokio::time::sleep(wait).await;
            let ready = match kwargs {
                Some(kwargs) => Ok((kwargs, folder)),
                None => make_ready(&shared, &item).await,
            };
            drop(events.send(Event::Ready(no, ready)));
        });
    }

    fn fail(&mut self, no: TriggerNo, why: TriggerFailedWhy, traceback: String) {
        if self.held.get(&no).is_some_and(|held| held.item.watches) {
            return self.fail_for_now(no, why, &traceback);
        }
        let Some(mut held) = self.let_go(no) else { return };
        let traceback = self.shared.masks.text(traceback);
        held.log.system(self.shared.clock.now(), "error", format!("trigger failed: {traceback}"));
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let log = std::mem::take(&mut held.log).store(&shared.store).await;
            let traceback = tail(&traceback);
            tell(&shared, held, ReportBody::TriggerFailed { why, traceback, log }).await;
        });
    }

    /// One keeps the others waiting: that is said, and where it lasts, ended.
    fn blocked(&mut self, group: GroupNo, Blocks { number, seconds, stack }: Blocks) {
        let held = number.and_then(|no| self.held.get_mut(&no));
        let name = held.as_ref().map_or_else(
            || "code that is no trigger's".to_owned(),
            |held| {
                let path = held.item.trigger.as_ref().map(|trigger| trigger.class_path.clone());
                format!("the trigger {} of {}", path.unwrap_or_default(), held.item.key)
            },
        );
        let message = format!(
            "{name} has kept all triggers of its process waiting for {seconds:.1} s: it blocks where it should await"
        );
        tracing::warn!("{message}");
        if let Some(held) = held {
            held.log.system(self.shared.clock.now(), "warning", format!("{message}\n{stack}"));
        }
        if seconds < BLOCKED_MOST {
            return;
        }
        let Some(no) = number else {
            // Whose code it is can't be told: as with what kills a process, it is found by taking them apart.
            if let Some(group) = self.groups.get_mut(&group) {
                group.process.kill();
            }
            return self.lost(group, TriggerFailedWhy::Blocked, &format!("{message}\n{stack}"));
        };
        self.fail(no, TriggerFailedWhy::Blocked, format!("{message}\n{stack}"));
        if let Some(mut group) = self.groups.remove(&group) {
            group.process.kill();
            self.start_again(&group.members, false);
        }
    }

    /// A process died, or was killed since nothing of it went on. Its triggers run again together; where they do so again, in halves, so that one that kills its
    /// process is found.
    fn lost(&mut self, group: GroupNo, why: TriggerFailedWhy, how: &str) {
        let Some(group) = self.groups.remove(&group) else { return };
        let members: Vec<TriggerNo> = group.members.iter().copied().collect();
        if members.is_empty() {
            return;
        }
        tracing::warn!(
            triggers = members.len(),
            how,
            "a process for triggers died: they run again"
        );
        if let [only] = members[..] {
            let Some(held) = self.held.get_mut(&only) else { return };
            held.deaths += 1;
            if held.deaths > 1 {
                let text = format!("the process that ran it alone died, again and again: {how}");
                return self.fail(only, why, text);
            }
        }
        if group.after_death && members.len() > 1 {
            let (first, second) = members.split_at(members.len() / 2);
            self.start_again(&first.iter().copied().collect(), true);
            self.start_again(&second.iter().copied().collect(), true);
        } else {
            self.start_again(&group.members, true);
        }
    }

    fn start_again(&mut self, members: &BTreeSet<TriggerNo>, after_death: bool) {
        let mut group = None;
        for no in members {
            let Some(held) = self.held.get_mut(no) else { continue };
            held.group = None;
            group = group.or_else(|| self.start_group(*no, after_death));
            if let Some(group) = group {
                self.join(*no, group);
            }
        }
    }

    /// Renews the leases of all in hand.
    fn renew(&self) {
        let handles: Vec<_> = self.held.values().map(|held| Arc::clone(&held.handle)).collect();
        tokio::spawn(async move {
            stream::iter(handles)
                .for_each_concurrent(AT_ONCE, async |handle| {
                    if let Err(error) = handle.progress().await {
                        tracing::debug!(%error, "a trigger's lease is not renewed");
                    }
                })
                .await;
        });
    }

    /// Looks after what says nothing by itself.
    fn look(&mut self) {
        let stuck: Vec<GroupNo> =
            self.groups.iter().filter(|(_, it)| it.is_stuck()).map(|(no, _)| *no).collect();
        for no in stuck {
            tracing::warn!("a process for triggers says nothing any more and is killed");
            if let Some(group) = self.groups.get_mut(&no) {
                group.process.kill();
            }
            let how = "it was stuck, and said nothing for too long";
            self.lost(no, TriggerFailedWhy::Died, how);
        }
        self.groups.retain(|_, group| !group.is_idle());
        let due: Vec<(TriggerNo, TryKey)> = self
            .held
            .values()
            .filter(|held| held.asked.elapsed() > ASK_EVERY)
            .map(|held| (held.no, held.item.key.clone()))
            .take(AT_ONCE)
            .collect();
        for (no, key) in due {
            if let Some(held) = self.held.get_mut(&no) {
                held.asked = Instant::now();
            }
            let (shared, events) = (Arc::clone(&self.shared), self.events.clone());
            tokio::spawn(async move {
                if !is_waited_for(&shared, &key).await {
                    drop(events.send(Event::Over(vec![key])));
                }
            });
        }
    }
}
