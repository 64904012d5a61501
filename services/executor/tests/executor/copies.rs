//! Copies of mapped tasks and legs of tries, with the real Python runtime.
use dagbok_events::{Digest, Leg, MapIndex, Micros, Payload};
use dagbok_protocol::{ReportBody, ReturnedBy, names};
use dagbok_runlog::memory;
use dagbok_runtime::Clock;

use crate::{
    faults::{Away, faulty},
    rig::{Rig, failure, until},
};

const DAG: &str = r#"
from airflow.sdk import dag, task, Context
from airflow.sdk.bases.sensor import BaseSensorOperator

class Looks(BaseSensorOperator):
    def poke(self, context):
        ti = context["ti"]
        print(ti.try_number, ti.task_reschedule_count, ti.get_first_reschedule_date(context))
        return False

@dag(schedule=None)
def d():
    @task
    def f(x, ti=None):
        ti.xcom_push("mine", ti.map_index)
        return [x, ti.map_index, ti.xcom_pull("f", key="mine", map_indexes=ti.map_index)]

    @task
    def take(values, ti=None):
        pulled = ti.xcom_pull("f")
        assert len(values) == len(pulled) == 12, (len(values), len(pulled))
        assert [len(value) for value in pulled] == [6_000_000] * 3 + [1] * 9
        assert list(values) == pulled and values[-1] == pulled[-1] == "m", pulled[-1]
        assert ti.xcom_pull("f", map_indexes=11) == "l"
        assert len(ti.xcom_pull("f", key="other", default=())) == 0
        return values[3:]

    take(f.expand(x=["a", "b", "c"]))
    Looks(task_id="looks", mode="reschedule", poke_interval=30, timeout=90)
d()
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_its_element_and_its_own_values() {
    let rig = Rig::new(DAG).await;
    let mut item = rig.item("f");
    item.key.map_index = MapIndex(1);
    let end = rig.run_item(&item).await;
    let ReportBody::Succeeded { xcoms, .. } = &end else { panic!("{end:?}") };
    let Some(Payload::Inline(value)) = &xcoms[0].value else { panic!("{xcoms:?}") };
    assert_eq!(value, r#"["b",1,1]"#);
    item.key.map_index = MapIndex(3);
    let end = rig.run_item(&item).await;
    assert!(failure(&end).message.contains("there is no copy 3"), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_copies_come_in_order_and_in_several_answers() {
    let rig = Rig::new(DAG).await;
    let own = rig.item("f").key;
    let put = async |map_index: i32, key: &str, payload: &Payload| {
        let map_index = MapIndex(map_index);
        let place = names::xcom_key(&own.dag_id, &own.run_id, &own.task_id, map_index, key);
        let bytes = serde_json::to_vec(payload).unwrap();
        rig.ports.state.put(&place, bytes.into(), None).await.unwrap();
    };
    // The second copy handed nothing on; three values are larger than one answer should hold.
    for (map_index, letter) in (0..13).zip("abcdefghijklm".chars()) {
        let payload = match map_index {
            1 => continue,
            0 | 2 | 3 => {
                let value = format!("\"{}\"", letter.to_string().repeat(6_000_000));
                let size = value.len() as u64;
                let digest = rig.ports.blobs.put(value.into_bytes().into()).await.unwrap();
                Payload::Blob { digest: Digest::new(digest).unwrap(), size }
            }
            _ => Payload::Inline(format!("\"{letter}\"")),
        };
        put(map_index, "return_value", &payload).await;
        put(map_index, "mine", &Payload::Inline("1".to_owned())).await;
    }
    put(-1, "return_value", &Payload::Inline("\"not a copy's\"".to_owned())).await;
    let end = rig.run_task("take").await;
    let ReportBody::Succeeded { xcoms, .. } = &end else {
        panic!("{end:?} {:?}", rig.log(&end).await)
    };
    let Some(Payload::Inline(value)) = &xcoms[0].value else { panic!("{xcoms:?}") };
    assert_eq!(value, r#"["e","f","g","h","i","j","k","l","m"]"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leg_ends_with_when_the_next_is_due() {
    let rig = Rig::new(DAG).await;
    let before = Clock::system().now();
    let end = rig.run_task("looks").await;
    let ReportBody::Rescheduled { due, .. } = &end else { panic!("{end:?}") };
    let wait = due.since(before);
    assert!(wait >= Micros::from_secs(30) && wait < Micros::from_secs(90), "{wait:?}");
    assert!(rig.log(&end).await.iter().any(|line| line.m == "1 0 None"));

    let mut item = rig.item("looks");
    item.key.leg = Leg(2);
    item.first_started_at = Some(before.plus(Micros::from_secs(-60)));
    let end = rig.run_item(&item).await;
    assert!(matches!(end, ReportBody::Rescheduled { .. }), "{end:?}");
    item.key.leg = Leg(3);
    item.first_started_at = Some(before.plus(Micros::from_secs(-100)));
    let end = rig.run_item(&item).await;
    assert!(!failure(&end).retryable, "{end:?}");
}

const LISTS: &str = r"
from airflow.sdk import dag, task

@dag(schedule=None)
def d():
    @task
    def give():
        return [1, 2]

    @task
    def f(x, ti=None):
        return [x, ti.map_index]

    @task
    def g(x):
        return x

    g.expand(x=f.expand(x=give()))
d()
";

#[tokio::test(flavor = "multi_thread")]
async fn a_list_beside_the_log_is_read_once_for_all_copies() {
    let rig = Rig::new(LISTS).await;
    let mut item = rig.item("f");
    let text = serde_json::to_string(&(0..50_000).collect::<Vec<_>>()).unwrap();
    let size = text.len() as u64;
    let digest = rig.ports.blobs.put(text.into_bytes().into()).await.unwrap();
    let stored = Payload::Blob { digest: Digest::new(digest.clone()).unwrap(), size };
    let of = rig.item("give").key;
    let place =
        names::xcom_key(&of.dag_id, &of.run_id, &of.task_id, MapIndex::UNMAPPED, "return_value");
    let bytes = serde_json::to_vec(&stored).unwrap();
    rig.ports.state.put(&place, bytes.into(), None).await.unwrap();
    for copy in [0, 49_999] {
        item.key.map_index = MapIndex(copy);
        let end = rig.run_item(&item).await;
        let ReportBody::Succeeded { xcoms, .. } = &end else { panic!("{end:?}") };
        assert_eq!(xcoms[0].value, Some(Payload::Inline(format!("[{copy},{copy}]"))));
        // What one copy found the others need not look for.
        let long_ago = std::time::SystemTime::now() + std::time::Duration::from_mins(1);
        rig.ports.blobs.delete(&digest, long_ago).await.unwrap();
    }
    item.key.map_index = MapIndex(50_000);
    let end = rig.run_item(&item).await;
    assert!(failure(&end).message.contains("there is no copy 50000: there are 50000"), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_are_counted_already_are_not_listed() {
    let rig = Rig::new(LISTS).await;
    let of = rig.item("f").key;
    let put = async |place: &str, bytes: Vec<u8>| {
        rig.ports.state.put(place, bytes.into(), None).await.unwrap();
    };
    for copy in 0..6 {
        let place =
            names::xcom_key(&of.dag_id, &of.run_id, &of.task_id, MapIndex(copy), "return_value");
        let value = Payload::Inline(format!("\"of {copy}\""));
        put(&place, serde_json::to_vec(&value).unwrap()).await;
    }
    // Only what is counted is looked at: these, whatever else lies there.
    let counted = ReturnedBy::of([1, 2, 5].map(MapIndex));
    let place = names::returned_by_key(&of.dag_id, &of.run_id, &of.task_id);
    put(&place, serde_json::to_vec(&counted).unwrap()).await;
    let mut item = rig.item("g");
    for (copy, from) in [(0, 1), (1, 2), (2, 5)] {
        item.key.map_index = MapIndex(copy);
        let end = rig.run_item(&item).await;
        let ReportBody::Succeeded { xcoms, .. } = &end else { panic!("{end:?}") };
        assert_eq!(xcoms[0].value, Some(Payload::Inline(format!("\"of {from}\""))));
    }
    item.key.map_index = MapIndex(3);
    let end = rig.run_item(&item).await;
    assert!(failure(&end).message.contains("there is no copy 3: there are 3"), "{end:?}");
}

const PULLS: &str = r#"
from airflow.sdk import dag, task

@dag(schedule=None)
def d():
    @task
    def gives(): ...

    @task
    def pulls(given, ti=None):
        return [given, ti.xcom_pull("gives", key="other")]

    pulls(gives())
d()
"#;

/// The state was lost, and a scheduler fills it again: what is not there yet is waited for, and not taken for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_missing_is_none_only_where_the_state_is_whole() {
    let (ports, away) = (memory::ports(), Away::default());
    let rig = Rig::over(ports.clone(), faulty(&ports, &away), PULLS, |_| {}).await;
    // It knows how it stands, and asks no more by itself but each quarter of a lease.
    assert!(matches!(rig.run_task("gives").await, ReportBody::Succeeded { .. }));
    let item = rig.item("pulls");
    let of = rig.item("gives").key;
    let place = |key| names::xcom_key(&of.dag_id, &of.run_id, &of.task_id, of.map_index, key);
    ports.state.delete(&place("return_value")).await.unwrap();
    let spoken = ports.state.get(names::PROTOCOL).await.unwrap().unwrap().value;
    ports.state.delete(names::PROTOCOL).await.unwrap();
    rig.queue(&item).await;
    rig.scheduler.started(&item.key).await;
    until("the task's read is put off", async || away.found_unfilled() >= 2).await;
    let seven = serde_json::to_vec(&Payload::Inline("7".to_owned())).unwrap();
    ports.state.put(&place("return_value"), seven.into(), None).await.unwrap();
    ports.state.put(names::PROTOCOL, spoken, None).await.unwrap();
    let end = rig.scheduler.end(&item.key).await;
    let ReportBody::Succeeded { xcoms, .. } = &end else { panic!("{end:?}") };
    assert_eq!(xcoms[0].value, Some(Payload::Inline("[7,null]".to_owned())), "and what never was");
}
