//! Triggering and cancelling runs.
use dagbok_events::{
    DagId, Fact, Micros, Partition, Payload, RunCancelled, RunCreated, RunId, RunKey, RunType,
    Scope, Timestamp,
};
use dagbok_protocol::{Command, RefusalCode, TriggerRun, limits, names};

use super::own::first_facts;
use crate::{
    graph::Version,
    namespace::{
        Dag, Decision, Namespace, Outcome, accepted, answering, ending_word, refuse,
        run_id::run_id_for,
    },
    partition,
    run::EndedBy,
};

impl Namespace {
    pub(super) fn trigger(&self, at: Timestamp, command: &Command, ask: &TriggerRun) -> Decision {
        let Some(dag) = self.dags.get(&ask.dag_id).filter(|dag| !dag.gone) else {
            return no_dag(&ask.dag_id);
        };
        let version = &dag.current;
        if let Err(why) = check(ask) {
            return refuse(RefusalCode::Invalid, why);
        }
        let partition = match partition_of(version, ask) {
            Ok(partition) => partition,
            Err(why) => return refuse(RefusalCode::Invalid, why),
        };
        // Files of the older era read `ds` and its kin in every run, so such a run always has a date.
        let undated = self.undated(dag, ask, at);
        let logical_date = ask.logical_date.or((version.spec.era < 3).then_some(undated));
        if let (Some(date), Some(start)) = (ask.logical_date, version.spec.start_date)
            && date < start
        {
            let why = format!("the logical date {date} lies before the DAG's start date {start}");
            return refuse(RefusalCode::Invalid, why);
        }
        if let Some(date) = logical_date.filter(|date| dag.dates.contains(*date)) {
            let why = format!("a run of {} has the logical date {date} already", ask.dag_id);
            return refuse(RefusalCode::LogicalDateTaken, why);
        }
        let chosen = ask.run_id.clone();
        let run_id =
            chosen.unwrap_or_else(|| run_id_for(RunType::Manual, logical_date.unwrap_or(undated)));
        let key = RunKey { dag_id: ask.dag_id.clone(), run_id };
        if self.knows_run(&key) {
            let why =
                format!("{} has a run {} already; choose another run id", key.dag_id, key.run_id);
            return refuse(RefusalCode::RunAlreadyExists, why);
        }
        // One of a date that is yet to come waits for that, as in Airflow.
        let run_after = ask.logical_date.unwrap_or(at);
        let data_interval =
            logical_date.and_then(|date| Some(version.schedule.as_ref()?.manual_interval(date)));
        let created = RunCreated {
            run_type: RunType::Manual,
            logical_date,
            data_interval,
            run_after,
            version: version.number,
            bundle: dag.bundle.clone(),
            conf: ask.conf.clone().map(Payload::Inline),
            note: ask.note.clone(),
            asset_events: Vec::new(),
            asset_events_left_out: 0,
            backfill_id: None,
            partition,
        };
        // A new run must not overtake an older one that waits for its turn.
        let starts = dag.may_start() && dag.queued.is_empty() && run_after <= at;
        let start = if starts { first_facts(&key, at, dag, &created) } else { Vec::new() };
        let facts = [Fact::RunCreated(Box::new(created))].into_iter().chain(start).collect();
        let run_id = Some(key.run_id.clone());
        let records = vec![answering(command, at, Scope::Run(key), facts)];
        Decision { records, outcome: Outcome::Accepted { run_id } }
    }

    /// The instant that a run goes by where nobody gave it a date: `at`, or as little later as makes its date
    /// and its id its own. Many may be triggered in the same microsecond.
    fn undated(&self, dag: &Dag, ask: &TriggerRun, at: Timestamp) -> Timestamp {
        let taken = |date: &Timestamp| {
            let run_id = run_id_for(RunType::Manual, *date);
            let key = RunKey { dag_id: ask.dag_id.clone(), run_id };
            dag.dates.contains(*date) || (ask.run_id.is_none() && self.knows_run(&key))
        };
        // At the ends of time every date is written the same.
        let can_be_told = |date: &Timestamp| Timestamp::from(date.to_jiff()) == *date;
        let mut dates = (0..).map(|n| at.plus(Micros(n))).take_while(can_be_told);
        dates.find(|date| !taken(date)).unwrap_or(at)
    }

    pub(super) fn cancel(
        &self,
        at: Timestamp,
        command: &Command,
        dag_id: &DagId,
        run_id: &RunId,
    ) -> Decision {
        let key = RunKey { dag_id: dag_id.clone(), run_id: run_id.clone() };
        if let Some(run) = self.run(&key) {
            let (teardowns_left, then) = run.after_end(EndedBy::Somebody);
            let was = Some(run.phase().was());
            let mut facts = vec![Fact::RunCancelled(RunCancelled { teardowns_left, was })];
            facts.extend(then);
            return accepted(vec![answering(command, at, Scope::Run(key), facts)]);
        }
        if let Some(ending) = self.past_ending(&key) {
            let why = format!("run {key} is over already: {}", ending_word(ending));
            return refuse(RefusalCode::RunOver, why);
        }
        self.no_run(&key)
    }

    /// There is no such run; or not even its DAG.
    pub(in crate::namespace) fn no_run(&self, key: &RunKey) -> Decision {
        let RunKey { dag_id, run_id } = key;
        if self.dags.contains_key(dag_id) {
            refuse(RefusalCode::RunNotFound, format!("the DAG {dag_id} has no run {run_id}"))
        } else {
            no_dag(dag_id)
        }
    }
}

/// The partition that somebody asks a run for.
fn partition_of(version: &Version, ask: &TriggerRun) -> Result<Option<Partition>, String> {
    let Some(key) = &ask.partition_key else { return Ok(None) };
    let schedule = &version.spec.schedule;
    if !schedule.timetable.takes_partitions() {
        return Err(format!(
            "Dag '{}' is not a partitioned Dag and does not accept a partition_key",
            ask.dag_id
        ));
    }
    if let Some(fault) = partition::key_fault(key) {
        return Err(fault);
    }
    let date = partition::date_of_trigger(schedule, key)?;
    Ok(Some(Partition { key: key.clone(), date }))
}

pub(in crate::namespace) fn no_dag(dag_id: &DagId) -> Decision {
    let why = format!(
        "there is no DAG {dag_id}; `dagbok dags list` names those there are, `dagbok dags errors` the files that can't be read"
    );
    refuse(RefusalCode::DagNotFound, why)
}

/// Whether this may be a run's conf.
pub(super) fn check_conf(conf: &str) -> Result<(), String> {
    if conf.len() > limits::CONF_BYTES {
        let most = limits::CONF_BYTES;
        return Err(format!(
            "the conf has {} bytes of JSON, at most {most} are taken: put the data where the task can read \
             it, and its place in the conf",
            conf.len()
        ));
    }
    match serde_json::from_str::<serde_json::Value>(conf) {
        Ok(serde_json::Value::Object(_)) => Ok(()),
        Ok(_) => Err("the conf must be a JSON object".to_owned()),
        Err(error) => Err(format!("the conf is not JSON: {error}")),
    }
}

fn check(ask: &TriggerRun) -> Result<(), String> {
    let run_id = ask.run_id.as_ref().map_or("", RunId::as_str);
    if let Some(prefix) = names::reserved_prefix(run_id) {
        return Err(format!(
            "the run id {run_id} begins with {prefix}, which is kept for runs that nobody triggers; choose another"
        ));
    }
    if let Some(note) = &ask.note
        && note.len() > limits::NOTE_BYTES
    {
        return Err(format!(
            "the note has {} bytes, at most {} are kept",
            note.len(),
            limits::NOTE_BYTES
        ));
    }
    ask.conf.as_deref().map_or(Ok(()), check_conf)
}
