//! What one run needs: a log, a scheduler, an executor, and a folder that goes with it.
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use dagbok_domain::namespace::DEFAULT_POOL;
use dagbok_events::{DagSpec, PoolName, QueueName, TaskId, TaskSpec, Timestamp};
use dagbok_processor::tell_once;
use dagbok_protocol::{Answer, limits::DEFAULT_POOL_SLOTS, names::DAG_CALLBACK};
use dagbok_runlog::Ports;
use dagbok_runtime::Clock;
use tempfile::TempDir;

use crate::{
    codes::Code,
    commands::dags::local::LocalDag,
    context::Context,
    failure::Failure,
    python::Python,
    services::{self, Crew, Stage as Order},
    wire,
};

/// How long the scheduler may take to answer: in this process it does so at once.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long tries may take to end when the run is given up.
const GIVE_UP: Duration = Duration::from_secs(10);

/// Where one run is acted.
#[derive(Debug)]
pub(super) struct Stage {
    ports: Ports,
    clock: Clock,
    /// The executor's folder, gone with this.
    _scratch: TempDir,
}

impl Stage {
    /// Starts a scheduler and an executor, on a log in memory or in `keep`; tries find `env` in their environment.
    pub(super) async fn set(
        context: &Context,
        dag: &LocalDag,
        keep: Option<&Path>,
        env: BTreeMap<String, String>,
    ) -> Result<(Self, Crew), Failure> {
        let ports = match keep {
            // What one run leaves stays in its folder, whatever the installation does with big things.
            Some(home) => {
                let mut config = context.config.clone();
                config.blobs = dagbok_config::Blobs::default();
                config.logging = dagbok_config::Logging::default();
                wire::open(home, &config, false).await?.0
            }
            None => wire::throw_away(),
        };
        let scratch = tempfile::Builder::new().prefix("dagbok-test-").tempdir();
        let scratch = scratch.map_err(|error| Failure::from_error(Code::HomeUnusable, &error))?;
        let mut scheduler = services::scheduler(&context.config)?;
        scheduler.executors_end_with_process = true;
        // Nothing is exported here.
        scheduler.lineage = false;
        let python = with_tasks_of_pools(dag);
        let mut executor = services::executor(&context.config, &python, scratch.path().to_owned())?;
        executor.env.extend(env);
        executor.fencing = false;
        let mut triggerer =
            services::triggerer(&context.config, &python, scratch.path().join("triggerer"))?;
        triggerer.fencing = false;
        executor.queues = vec![QueueName::new("default").expect("a constant within the rules")];
        executor.drain_timeout = Duration::ZERO;
        let clock = Clock::system();
        let mut crew = Crew::new(GIVE_UP);
        let traces =
            services::export_runs(ports.log.clone(), None, crew.shutdown(Order::Answers)).await;
        crew.add(Order::Answers, "traces", traces);
        let deciding = crew.shutdown(Order::Decides);
        let service = dagbok_scheduler::run(ports.clone(), scheduler, clock.clone(), deciding);
        crew.add(Order::Decides, "scheduler", service);
        let taking = crew.shutdown(Order::Takes);
        let service = dagbok_executor::run(ports.clone(), executor, clock.clone(), taking);
        crew.add(Order::Takes, "executor", service);
        let taking = crew.shutdown(Order::Takes);
        let service =
            dagbok_executor::run_triggerer(ports.clone(), triggerer, clock.clone(), taking);
        crew.add(Order::Takes, "triggerer", service);
        let answering = crew.shutdown(Order::Answers);
        let keys = services::key_file(&context.config, keep.unwrap_or(scratch.path()));
        let service = dagbok_api::answer_tasks(ports.clone(), clock.clone(), keys, answering);
        crew.add(Order::Answers, "answers to tasks", service);
        Ok((Self { ports, clock, _scratch: scratch }, crew))
    }

    pub(super) fn ports(&self) -> &Ports {
        &self.ports
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Registers the DAG, so that it runs when asked and never by its schedule; returns what of it is another
    /// here than in an installation.
    pub(super) async fn register(&self, dag: &LocalDag) -> Result<Vec<String>, Failure> {
        let mut parsed = dag.parsed.clone();
        let mut notes = Vec::new();
        parsed.adjust(|spec| {
            let adjusted = make_playable(spec);
            if spec.dag_id == dag.spec.dag_id {
                notes = adjusted;
            }
            spec.is_paused_upon_creation = Some(false);
            // No instant lies before this, so that the schedule, which the run's dates follow, makes none. Tasks end as they
            // would.
            let last = spec.end_date.replace(Timestamp(0)).unwrap_or(TaskSpec::NEVER_ENDS);
            for task in &mut spec.tasks {
                task.end_date.get_or_insert(last);
            }
            spec.asset_condition = None;
            spec.watchers.clear();
        });
        let told = tell_once(&self.ports, &dag.settings, parsed, &self.clock).await;
        match told.map_err(|error| Failure::from_error(Code::SchedulerSilent, &error))? {
            Answer::Accepted { .. }
            | Answer::Unchanged
            | Answer::WouldClear { .. }
            | Answer::WouldMark { .. }
            | Answer::Waits(_)
            | Answer::WouldMake(_)
            | Answer::LastScheduled(_)
            | Answer::WouldBackfill(_) => Ok(notes),
            Answer::Refused(refusal) => Err(Failure::from_error(Code::Refused, &refusal)),
        }
    }
}

/// The Python of a DAG's file, with what runs on Airflow for its pool named task by task: here all take one pool.
fn with_tasks_of_pools(dag: &LocalDag) -> Python {
    let mut python = dag.python.clone();
    let Some(airflow) = &mut python.beside else { return python };
    let mut tasks = BTreeSet::new();
    let callback = TaskId::new(DAG_CALLBACK).expect("a constant within the rules");
    dag.parsed.clone().adjust(|spec| {
        let named = spec.tasks.iter().filter(|task| airflow.takes_pool(task.pool.as_str()));
        let named = named.map(|task| task.task_id.clone());
        let callback = airflow.takes_pool(DEFAULT_POOL).then(|| callback.clone());
        tasks.extend(named.chain(callback).map(|task| (spec.dag_id.clone(), task)));
    });
    airflow.pools.clear();
    airflow.tasks = tasks;
    python
}

/// Has tasks take their slots where there are some: a log that is thrown away has one pool, and one executor
/// that stands for all. A note for each that says something else.
fn make_playable(spec: &mut DagSpec) -> Vec<String> {
    let pool = PoolName::new(DEFAULT_POOL).expect("a constant within the rules");
    let queue = QueueName::new("default").expect("a constant within the rules");
    let mut notes = Vec::new();
    for task in &mut spec.tasks {
        let id = &task.task_id;
        if task.pool != pool {
            let name = &task.pool;
            notes.push(format!(
                "task `{id}` takes its slots from `{DEFAULT_POOL}` here; an installation must have the pool \
                 `{name}`, or the task waits there"
            ));
            task.pool = pool.clone();
        }
        if task.queue != queue {
            let name = &task.queue;
            notes.push(format!(
                "task `{id}` runs here whatever its queue; an installation must have an executor that pulls \
                 from the queue `{name}`, or the task waits there"
            ));
            task.queue = queue.clone();
        }
        if task.pool_slots > DEFAULT_POOL_SLOTS {
            let slots = task.pool_slots;
            notes.push(format!(
                "task `{id}` takes {DEFAULT_POOL_SLOTS} slots here, as many as its pool has, and not {slots}; \
                 an installation's pool must have those, or the task waits there"
            ));
            task.pool_slots = DEFAULT_POOL_SLOTS;
        }
    }
    notes
}
