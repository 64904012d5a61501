//! Waits before a retry, held to what Airflow 2.11.2 and 3.3.2 answered (`oracle/record_backoffs.py`).
use dagbok_domain::backoff;
use dagbok_events::{DagId, Micros, TaskId, TaskSpec, Timestamp};
use serde_json::json;

const TABLES: [&str; 2] =
    [include_str!("oracle/backoffs-2.json"), include_str!("oracle/backoffs-3.json")];

/// DAG, task, logical date, number of the failure, delay, multiplier, longest wait, and Airflow's wait.
type Row = (DagId, TaskId, Option<i64>, u32, Micros, u32, Option<Micros>, Micros);

#[test]
fn waits_are_those_of_airflow() {
    for table in TABLES {
        let rows: Vec<Row> = serde_json::from_str(table).unwrap();
        assert_eq!(rows.len(), 400);
        for row in &rows {
            let (dag_id, task_id, date, number, delay, multiplier, longest, theirs) = row;
            let plain = json!({ "task_id": task_id, "operator": "EmptyOperator" });
            let mut spec: TaskSpec = serde_json::from_value(plain).unwrap();
            (spec.retry_delay, spec.max_retry_delay) = (*delay, *longest);
            spec.retry_backoff_milli = *multiplier;
            assert_eq!(
                backoff::wait(&spec, dag_id, date.map(Timestamp), *number),
                *theirs,
                "{row:?}"
            );
        }
    }
}
