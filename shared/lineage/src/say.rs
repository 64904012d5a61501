//! Events, put together from what is known of a run, a try and what the DAG's file says.
use dagbok_events::{AssetUpdated, DagSpec, RunKey, TaskSpec, Timestamp};

use crate::{
    airflow,
    event::{Event, EventType, Facets, Names, Parts},
    facets::{self, Datasets, Named},
    fold::{Lineage, RunEnd},
    ids::{run_uuid, try_uuid},
    run::{Copy, Run, Token},
    specs,
    told::Told,
    tries::End,
};

/// Adds a facet, if there is one.
fn put(facets: &mut Facets, name: &str, facet: Option<serde_json::Value>) {
    if let Some(facet) = facet {
        facets.insert(name.to_owned(), facet);
    }
}

fn named(names: &Names, key: &RunKey, run: &Run) -> Named {
    Named {
        run_id: run_uuid(&names.namespace, &key.dag_id, run.date(), run.round),
        namespace: names.namespace.clone(),
        job: key.dag_id.to_string(),
    }
}

impl Lineage {
    /// What is said of a run when it begins, and when it ends.
    pub(crate) fn run_event(
        &self,
        names: &Names,
        key: &RunKey,
        event_type: EventType,
        at: Timestamp,
        end: Option<&RunEnd>,
    ) -> Option<Event> {
        let run = self.runs.get(key)?;
        let spec = self.specs.get(&key.dag_id, run.version).map(|spec| &**spec);
        let mut facets = Facets::new();
        let ended = end.is_some().then_some(at);
        let dag_run = spec.map(|spec| airflow::dag_run_facet(names, key, run, spec, ended));
        put(&mut facets, "airflowDagRun", dag_run);
        put(&mut facets, "nominalTime", facets::nominal_time(names, run.interval));
        let parent = run.led_by.as_ref();
        let parent = parent.map(|(parent, root)| facets::parent(names, parent, root));
        put(&mut facets, "parent", parent);
        put(&mut facets, "jobDependencies", run.dependencies(names));
        if let Some(end) = end {
            put(&mut facets, "airflowState", Some(airflow::state_facet(names, run, end.state)));
            let error = end.why.map(|why| facets::error_message(names, why, None));
            put(&mut facets, "errorMessage", error);
        }
        put(&mut facets, "processing_engine", Some(facets::processing_engine(names)));
        let mut job_facets = facets::job(names, "DAG", spec, None, Some(&run.bundle));
        if event_type == EventType::Start {
            let of_job = spec.map(|spec| airflow::job_facet(names, spec));
            put(&mut job_facets, "airflow", of_job);
        }
        let of = named(names, key, run);
        let parts = Parts {
            event_type,
            at,
            run_id: of.run_id,
            run: facets,
            job: of.job,
            job_facets,
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        Some(parts.event(names))
    }

    /// What is said of a try that has begun and goes on.
    pub(crate) fn try_event(
        &self,
        names: &Names,
        key: &RunKey,
        token: &Token,
        (event_type, at): (EventType, Timestamp),
    ) -> Option<Event> {
        let run = self.runs.get(key)?;
        let copy = run.copies.get(&(token.task_id.clone(), token.map_index))?;
        Some(self.of(names, (key, run), (token, copy), (event_type, at), None, &[]))
    }

    /// What is said of a try that has ended.
    pub(crate) fn try_end_event(
        &self,
        names: &Names,
        key: &RunKey,
        copy: &Copy,
        (end, at): (&End<'_>, Timestamp),
        updates: &[&AssetUpdated],
    ) -> Option<Event> {
        let run = self.runs.get(key)?;
        let when = (end.event_type, at);
        Some(self.of(names, (key, run), (&end.token, copy), when, Some(end), updates))
    }

    fn of(
        &self,
        names: &Names,
        (key, run): (&RunKey, &Run),
        (token, copy): (&Token, &Copy),
        (event_type, at): (EventType, Timestamp),
        end: Option<&End<'_>>,
        updates: &[&AssetUpdated],
    ) -> Event {
        let spec = self.specs.get(&key.dag_id, run.version).map(|spec| &**spec);
        let task = spec.and_then(|spec| specs::task(spec, &token.task_id));
        let mut run_facets = Facets::new();
        let parent = named(names, key, run);
        let root = run.led_by.as_ref().map_or(&parent, |(_, root)| root);
        put(&mut run_facets, "parent", Some(facets::parent(names, &parent, root)));
        put(&mut run_facets, "nominalTime", facets::nominal_time(names, run.interval));
        let both: Option<(&DagSpec, &TaskSpec)> = spec.zip(task);
        if let Some((spec, task)) = both {
            let mapped = airflow::mapped_facet(names, token, task);
            put(&mut run_facets, "airflow_mappedTask", mapped);
            let ended = end.is_some().then_some(at);
            let of = airflow::run_facet(names, (key, run), (spec, task), (token, copy), ended);
            put(&mut run_facets, "airflow", Some(of));
        }
        let failure = end.and_then(|end| end.failure);
        let why = end.and_then(|end| end.why);
        let error = failure.map(|failure| facets::failure(names, failure));
        let error = error.or_else(|| Some(facets::error_message(names, why?, None)));
        put(&mut run_facets, "errorMessage", error);
        put(&mut run_facets, "processing_engine", Some(facets::processing_engine(names)));
        let declared = |assets| Datasets::declared(names, assets);
        let mut inputs = task.map(|task| declared(&task.inlets)).unwrap_or_default();
        let mut outputs = task.map(|task| declared(&task.outlets)).unwrap_or_default();
        for update in updates {
            outputs.updated(names, update);
        }
        let mut job_facets = facets::job(names, "TASK", spec, task, Some(&run.bundle));
        if let Some(text) = copy.told.as_deref().filter(|_| end.is_some()) {
            let told = Told::read(names, text);
            facets::add(&mut run_facets, told.run);
            facets::add(&mut job_facets, told.job);
            inputs.told(told.inputs);
            outputs.told(told.outputs);
        }
        let id = (&token.task_id, token.map_index, token.try_number);
        let parts = Parts {
            event_type,
            at,
            run_id: try_uuid(&names.namespace, &key.dag_id, run.date(), id),
            run: run_facets,
            job: format!("{}.{}", key.dag_id, token.task_id),
            job_facets,
            inputs: inputs.into_vec(),
            outputs: outputs.into_vec(),
        };
        parts.event(names)
    }
}
