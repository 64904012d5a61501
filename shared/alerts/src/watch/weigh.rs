//! What numbers say: memory that nears its limit, retries that rise, pools that are not there, executors that are gone.
use dagbok_events::{
    DagId, ExecutorId, ExecutorJoined, ExecutorLeft, ExecutorName, Fault, LeftWhy, RunKey, TaskId,
    Timestamp,
};

use super::{Condition, Executor, Lost, Watch, dag_labels};
use crate::{AlertScope, Labels, Rule, Severity, limits, text::cut};

/// What a condition says besides whose it is.
struct Said {
    rule: Rule,
    severity: Severity,
    fault: Fault,
    causes: Vec<u64>,
    since: Timestamp,
    labels: Vec<(&'static str, String)>,
    summary: String,
    details: Vec<(String, String)>,
}

impl Watch {
    fn say(&mut self, dag_id: &DagId, said: Said) {
        let Some(dag) = self.dags.get(dag_id) else { return };
        let mut labels = dag_labels(dag_id, dag);
        labels.extend(said.labels.into_iter().map(|(name, value)| (name.to_owned(), value)));
        self.raise(Condition {
            rule: said.rule,
            scope: AlertScope::Dag(dag_id.clone()),
            severity: said.severity,
            fault: Some(said.fault),
            since: said.since,
            causes: said.causes,
            due: None,
            run: None,
            labels,
            summary: cut(&said.summary),
            details: said.details,
        });
    }

    fn says(&self, rule: Rule, dag_id: &DagId) -> Option<&Condition> {
        self.raised.get(&(rule, AlertScope::Dag(dag_id.clone())))
    }

    /// Notes how much memory a try took, and holds it against what its task may have.
    pub(super) fn weigh_memory(&mut self, seq: u64, run: &RunKey, task_id: &TaskId, peak: u64) {
        if peak < limits::MEMORY_LEAST {
            return;
        }
        let Some(created) = self.runs.get(run).map(|known| known.created) else { return };
        let peaks = self.dag(&run.dag_id).peaks.entry(task_id.clone()).or_default();
        match peaks.last_mut() {
            // Of the copies of one run the largest counts.
            Some(last) if last.created == created => last.bytes = last.bytes.max(peak),
            _ => {
                if peaks.len() >= limits::PEAKS {
                    peaks.remove(0);
                }
                peaks.push(super::Peak { created, seq, bytes: peak });
            }
        }
        self.weigh_all_memory(&run.dag_id);
    }

    pub(super) fn weigh_all_memory(&mut self, dag_id: &DagId) {
        let Some(dag) = self.dags.get(dag_id) else { return };
        let limit = self.heeded(dag_id, dag).memory_bytes;
        let near = limit.and_then(|limit| {
            let found = dag.peaks.iter().find_map(|(task, peaks)| {
                let why = nears(peaks, limit)?;
                Some((task.clone(), *peaks.last()?, why))
            });
            found.map(|(task, last, why)| (task, last, why, limit))
        });
        let scope = AlertScope::Dag(dag_id.clone());
        let Some((task, last, why, limit)) = near else {
            return self.clear(self.last_seq, Rule::MemoryHigh, scope);
        };
        let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
        let known = self.says(Rule::MemoryHigh, dag_id).map(|it| (it.since, it.causes.clone()));
        let (since, mut causes) = known.unwrap_or((self.last_at, Vec::new()));
        causes.push(last.seq);
        causes.dedup();
        while causes.len() > limits::CAUSES {
            causes.remove(1);
        }
        let (peak, limit) = (mib(last.bytes), mib(limit));
        self.say(
            dag_id,
            Said {
                rule: Rule::MemoryHigh,
                severity: Severity::Warning,
                fault: Fault::User,
                causes,
                since,
                labels: vec![("task", task.to_string())],
                summary: format!("{dag_id}: task {task} had {peak} of {limit} of memory: {why}"),
                details: vec![
                    ("task".to_owned(), task.to_string()),
                    ("peak memory".to_owned(), peak),
                    ("limit".to_owned(), limit),
                ],
            },
        );
    }

    /// Of a run that is over: whether its DAG's tasks are tried again more and more often.
    pub(super) fn weigh_retries(&mut self, seq: u64, at: Timestamp, dag_id: &DagId, retries: u16) {
        let dag = self.dag(dag_id);
        if dag.retries.len() >= limits::RETRY_RUNS * 2 {
            dag.retries.remove(0);
        }
        dag.retries.push(retries);
        let rising = rising(&dag.retries);
        let scope = AlertScope::Dag(dag_id.clone());
        let Some((before, newest)) = rising else {
            return self.clear(seq, Rule::RetriesRising, scope);
        };
        if self.says(Rule::RetriesRising, dag_id).is_some() {
            return;
        }
        let runs = limits::RETRY_RUNS;
        self.say(
            dag_id,
            Said {
                rule: Rule::RetriesRising,
                severity: Severity::Warning,
                fault: Fault::User,
                causes: vec![seq],
                since: at,
                labels: Vec::new(),
                summary: format!(
                    "{dag_id}: tasks were tried again {newest} times in the last {runs} runs, and {before} times in the {runs} before"
                ),
                details: Vec::new(),
            },
        );
    }

    /// Whether tasks of a DAG wait for a pool that is not there.
    pub(super) fn weigh_pools(&mut self, seq: u64, dag_id: &DagId) {
        let Some(dag) = self.dags.get(dag_id) else { return };
        let lacks = |pool: &&dagbok_events::PoolName| !self.pools.contains(*pool);
        let missing = dag.pools.keys().find(|pool| lacks(pool)).cloned();
        let waits = dag.active > 0 && !dag.is_gone;
        let Some(pool) = missing.filter(|_| waits) else {
            return self.clear(seq, Rule::PoolMissing, AlertScope::Dag(dag_id.clone()));
        };
        let task = dag.pools[&pool].to_string();
        let said = self.says(Rule::PoolMissing, dag_id);
        let names = |it: &Condition| it.labels.get("pool").is_some_and(|it| *it == pool.as_str());
        if said.is_some_and(names) {
            return;
        }
        self.say(
            dag_id,
            Said {
                rule: Rule::PoolMissing,
                severity: Severity::Critical,
                fault: Fault::User,
                causes: vec![seq],
                since: self.last_at,
                labels: vec![("task", task.clone()), ("pool", pool.to_string())],
                summary: format!(
                    "{dag_id}: task {task} needs the pool `{pool}`, which is not there: it waits until somebody makes it"
                ),
                details: vec![("pool".to_owned(), pool.to_string()), ("task".to_owned(), task)],
            },
        );
    }

    /// Another set of pools is there.
    pub(super) fn weigh_all_pools(&mut self, seq: u64) {
        let dags = self.dags.iter().filter(|(_, dag)| !dag.pools.is_empty());
        let dags: Vec<DagId> = dags.map(|(dag_id, _)| dag_id.clone()).collect();
        for dag_id in dags {
            self.weigh_pools(seq, &dag_id);
        }
    }

    /// Whether there is anybody who could begin what asks for more than a slot may be otherwise from now on.
    fn look_at_asking(&mut self) {
        let asking = |dag_id: &&DagId| self.dags.get(*dag_id).is_some_and(|it| !it.asks.is_empty());
        let dags: Vec<DagId> = self.queued.keys().filter(asking).cloned().collect();
        for dag_id in dags {
            self.touched.note(|| (Rule::StuckQueued, AlertScope::Dag(dag_id.clone())));
        }
    }

    pub(super) fn joined(&mut self, seq: u64, id: &ExecutorId, it: &ExecutorJoined) {
        let queues = it.queues.iter().cloned().collect();
        let (hostname, slots, running) = (it.hostname.clone(), it.slots, 0);
        let resources = it.resources.clone();
        let (name, is_part, is_full) = (it.called(), it.part_of.is_some(), false);
        let joined =
            Executor { queues, hostname, slots, running, resources, name, is_part, is_full };
        self.let_lost_go();
        // What it takes up nobody misses any more.
        self.lost.retain(|_, lost| {
            lost.hostname != joined.hostname && !lost.queues.is_subset(&joined.queues)
        });
        self.executors.insert(id.clone(), joined);
        self.look_at_asking();
        self.weigh_executors(seq);
    }

    /// Whoever is called so takes nothing new, or takes work again.
    pub(super) fn cordon(&mut self, name: &ExecutorName, is_cordoned: bool) {
        if is_cordoned {
            self.cordoned.insert(name.clone());
        } else {
            self.cordoned.remove(name);
        }
        self.look_at_queued();
    }

    /// An executor has no place for another try, or has one again.
    pub(super) fn filled(&mut self, id: &ExecutorId, is_full: bool) {
        if let Some(executor) = self.executors.get_mut(id) {
            executor.is_full = is_full;
            self.look_at_queued();
        }
    }

    /// Whether there is room for what is queued may be otherwise from now on.
    fn look_at_queued(&mut self) {
        let dags: Vec<DagId> = self.queued.keys().cloned().collect();
        for dag_id in dags {
            self.touched.note(|| (Rule::StuckQueued, AlertScope::Dag(dag_id.clone())));
        }
    }

    pub(super) fn left(&mut self, seq: u64, at: Timestamp, id: &ExecutorId, it: ExecutorLeft) {
        self.let_lost_go();
        let Some(gone) = self.executors.remove(id) else { return };
        self.look_at_asking();
        let is_replaced = self.executors.values().any(|other| other.hostname == gone.hostname);
        // A part is gone with its try, and whoever it is a part of tells why.
        let is_missed = it.why == LeftWhy::Gone && !is_replaced && !gone.is_part;
        if is_missed && self.lost.len() < limits::LOST {
            let (hostname, queues) = (gone.hostname, gone.queues);
            self.lost.insert(id.clone(), Lost { seq, at, hostname, queues });
        }
        self.weigh_executors(seq);
    }

    /// Another set of executors is missed.
    fn weigh_executors(&mut self, seq: u64) {
        let key = (Rule::ExecutorLost, AlertScope::Namespace);
        self.touched.note(|| key.clone());
        if self.lost.is_empty() {
            self.cleared.insert(key, seq);
        } else {
            self.cleared.remove(&key);
        }
    }

    /// Whether others do for good what one that is lost did.
    fn is_served(&self, lost: &Lost, now: Timestamp) -> bool {
        let pulled = |queue| self.executors.values().any(|it| it.queues.contains(queue));
        lost.at.plus(limits::LOST_SERVED) <= now && lost.queues.iter().all(pulled)
    }

    /// Nobody misses those any more that others stand in for since long.
    fn let_lost_go(&mut self) {
        let now = self.last_at;
        let served = self.lost.iter().filter(|(_, lost)| self.is_served(lost, now));
        let served: Vec<ExecutorId> = served.map(|(id, _)| id.clone()).collect();
        for id in served {
            self.lost.remove(&id);
        }
    }

    /// When the next executor counts as lost, or as stood in for, after `now`.
    pub(super) fn next_lost(&self, now: Timestamp) -> Option<Timestamp> {
        let times = self.lost.values().flat_map(|lost| {
            [limits::LOST_GRACE, limits::LOST_SERVED].map(|wait| lost.at.plus(wait))
        });
        times.filter(|at| *at > now).min()
    }

    /// Executors that went without a word, and that nobody stood in for within the grace.
    pub(super) fn executors_gone(&self, now: Timestamp) -> Option<Condition> {
        let is_missed =
            |lost: &&Lost| lost.at.plus(limits::LOST_GRACE) <= now && !self.is_served(lost, now);
        let gone: Vec<&Lost> = self.lost.values().filter(is_missed).collect();
        let newest = gone.iter().max_by_key(|lost| lost.seq)?;
        let pulled = |queue| self.executors.values().any(|it| it.queues.contains(queue));
        let mut queues = gone.iter().flat_map(|lost| &lost.queues);
        let (severity, why) = match queues.find(|queue| !pulled(*queue)) {
            Some(queue) => (Severity::Critical, format!("nobody pulls from the queue `{queue}`")),
            None => (Severity::Warning, "others pull from its queues".to_owned()),
        };
        let mut causes: Vec<u64> = gone.iter().map(|lost| lost.seq).collect();
        causes.sort_unstable();
        while causes.len() > limits::CAUSES {
            causes.remove(1);
        }
        let hosts: Vec<&str> = gone.iter().map(|lost| lost.hostname.as_str()).collect();
        Some(Condition {
            rule: Rule::ExecutorLost,
            scope: AlertScope::Namespace,
            severity,
            fault: Some(Fault::System),
            since: newest.at,
            causes,
            due: None,
            run: None,
            labels: Labels::from([("host".to_owned(), newest.hostname.clone())]),
            summary: cut(&format!(
                "the executor on {} went without a word: {why}",
                newest.hostname
            )),
            details: vec![("executors gone".to_owned(), cut(&hosts.join(", ")))],
        })
    }
}

/// Why a series of peaks is a matter of concern, where it is: it is near the limit, or will soon be.
fn nears(peaks: &[super::Peak], limit: u64) -> Option<&'static str> {
    let last = peaks.last()?.bytes;
    if last.saturating_mul(10) >= limit.saturating_mul(9) {
        return Some("it is near its limit");
    }
    let bytes: Vec<i128> = peaks.iter().map(|peak| i128::from(peak.bytes)).collect();
    let count = i128::try_from(bytes.len()).ok().filter(|n| *n >= 4)?;
    // The straight line through them, by least squares, in whole numbers: sums over places 0, 1, 2, …
    let places = || (0..count).zip(&bytes);
    let (of_places, of_peaks) = (count * (count - 1) / 2, bytes.iter().sum::<i128>());
    let product: i128 = places().map(|(x, y)| x * y).sum();
    let square: i128 = (0..count).map(|x| x * x).sum();
    let slope = (count * product - of_places * of_peaks) / (count * square - of_places * of_places);
    let soon = i128::from(last) + slope * limits::FORECAST_RUNS;
    (slope > 0 && soon >= i128::from(limit)).then_some("as it grows, it reaches that in three runs")
}

/// How many retries there were in the runs before, and how many in the newest, where they rise.
fn rising(retries: &[u16]) -> Option<(u32, u32)> {
    let runs = limits::RETRY_RUNS;
    if retries.len() < runs * 2 {
        return None;
    }
    let (before, newest) = retries.split_at(retries.len() - runs);
    let sum = |some: &[u16]| some.iter().map(|n| u32::from(*n)).sum::<u32>();
    let (was, is) = (sum(before), sum(newest));
    let always = newest.iter().all(|n| *n > 0);
    (always && is > was.saturating_mul(2)).then_some((was, is))
}
