//! Whether an executor may take work: cordoned, drained, refused; and that it never takes more than it has.
use std::{collections::BTreeMap, time::Duration};

use dagbok_events::{Actor, ExecutorName, LostWhy, Resources, Timestamp, TryKey, encode_any};
use dagbok_executor::{AfterDrain, ExecutorError};
use dagbok_protocol::{Cordon, Order, ReportBody, WorkItem, names};
use dagbok_runlog::{Ports, memory};

use crate::rig::{Rig, lost, settings, until};

const DAG: &str = r#"
import os, time
from airflow.sdk import DAG, task
with DAG("d"):
    @task
    def quick():
        return 1
    quick()
    @task
    def short():
        time.sleep(0.3)
    short()
    @task
    def waits():
        while not os.path.exists(os.environ["GO"]):
            time.sleep(0.02)
    waits()
    @task
    def sleeps():
        time.sleep(600)
    sleeps()
"#;

async fn cordon(ports: &Ports, seq: u64, drain: bool, limit_ms: Option<u64>) {
    let name = ExecutorName::new("testhost").unwrap();
    let by = Actor::User("ada".to_owned());
    let cordon = Cordon { seq, drain, limit_ms, by, reason: None, at: Timestamp(0) };
    let word = encode_any(&cordon).into();
    ports.state.put(&names::cordon_key(&name), word, None).await.unwrap();
}

/// Has the executor look now.
async fn look(rig: &Rig) {
    let subject = names::orders_subject(&rig.settings.executor);
    let order = encode_any(&Order::LookAtCordon).into();
    rig.ports.signals.publish(&subject, order).await.unwrap();
}

async fn presence(rig: &Rig) -> dagbok_protocol::Presence {
    let key = names::presence_key(&rig.settings.executor);
    let found = rig.ports.state.get(&key).await.unwrap();
    dagbok_events::decode_any(&found.unwrap().value).unwrap()
}

/// Its first words are that it is cordoned, and that it stays.
async fn assert_cordoned_from_the_start(rig: &Rig) {
    until("it says so", async || {
        let key = names::presence_key(&rig.settings.executor);
        rig.ports.state.get(&key).await.unwrap().is_some()
    })
    .await;
    let now = presence(rig).await;
    assert!(now.cordoned && !now.draining, "{now:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_cordoned_at_its_start_takes_nothing_and_stays_though_it_says_drain() {
    let ports = memory::ports();
    cordon(&ports, 7, true, None).await;
    let mut rig = Rig::with(DAG, ports, |_| {}).await;
    let item = rig.item("quick");
    rig.queue(&item).await;
    assert_cordoned_from_the_start(&rig).await;
    assert_eq!(rig.depth().await, 1);
    let name = ExecutorName::new("testhost").unwrap();
    rig.ports.state.delete(&names::cordon_key(&name)).await.unwrap();
    look(&rig).await;
    assert!(matches!(rig.scheduler.end(&item.key).await, ReportBody::Succeeded { .. }));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_drained_takes_nothing_more_ends_what_it_runs_and_leaves() {
    let go = tempfile::tempdir().unwrap();
    let file = go.path().join("go");
    let mut rig = Rig::with(DAG, memory::ports(), |settings| {
        settings.env.insert("GO".to_owned(), file.to_str().unwrap().to_owned());
    })
    .await;
    let item = rig.item("waits");
    rig.queue(&item).await;
    rig.scheduler.started(&item.key).await;
    cordon(&rig.ports, 1, true, Some(60_000)).await;
    look(&rig).await;
    until("it says so", async || presence(&rig).await.draining).await;
    let later = rig.item("quick");
    rig.queue(&later).await;
    std::fs::write(&file, "").unwrap();
    assert!(matches!(rig.scheduler.end(&item.key).await, ReportBody::Succeeded { .. }));
    rig.stopped().await;
    // A pull that was under way may have brought it: then it is handed back, by a report.
    let told = rig.scheduler.in_order().into_iter().filter(|it| it.key == later.key);
    let told: Vec<ReportBody> = told.map(|it| it.body).collect();
    assert!(told.iter().all(|it| matches!(it, ReportBody::Returned)), "{told:?}");
    assert_eq!(rig.depth().await + told.len() as u64, 1, "what came later is for others");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_limit_of_a_drain_tries_are_ended_or_go_on_as_it_is_set() {
    let mut rig = Rig::new(DAG).await;
    let item = rig.item("sleeps");
    rig.queue(&item).await;
    rig.scheduler.started(&item.key).await;
    cordon(&rig.ports, 1, true, Some(0)).await;
    look(&rig).await;
    assert_eq!(lost(&rig.scheduler.end(&item.key).await).0, LostWhy::Drained);
    rig.stopped().await;
    let go = tempfile::tempdir().unwrap();
    let file = go.path().join("go");
    let mut rig = Rig::with(DAG, memory::ports(), |settings| {
        settings.env.insert("GO".to_owned(), file.to_str().unwrap().to_owned());
        settings.after_drain = AfterDrain::Wait;
    })
    .await;
    let item = rig.item("waits");
    rig.queue(&item).await;
    rig.scheduler.started(&item.key).await;
    cordon(&rig.ports, 1, true, Some(0)).await;
    look(&rig).await;
    until("it says so", async || presence(&rig).await.draining).await;
    std::fs::write(&file, "").unwrap();
    assert!(matches!(rig.scheduler.end(&item.key).await, ReportBody::Succeeded { .. }));
    rig.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pull_brings_that_was_under_way_as_it_was_cordoned_is_passed_on() {
    let mut rig = Rig::new(DAG).await;
    let item = rig.item("quick");
    rig.queue(&item).await;
    assert!(matches!(rig.scheduler.end(&item.key).await, ReportBody::Succeeded { .. }));
    cordon(&rig.ports, 1, false, None).await;
    look(&rig).await;
    until("it says so", async || presence(&rig).await.cordoned).await;
    let later = rig.item("sleeps");
    rig.queue(&later).await;
    // Longer than a pull waits.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let told = rig.scheduler.in_order().into_iter().filter(|it| it.key == later.key);
    assert_eq!(told.map(|it| it.body).collect::<Vec<_>>(), []);
    assert_eq!(rig.depth().await, 1, "it is for others");
    rig.stop().await;
}

/// Nobody else pulls in its process, so what waits for a GPU would wait for ever, and begin one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_room_as_it_is_cordoned_is_not_begun() {
    let go = tempfile::tempdir().unwrap();
    let file = go.path().join("go");
    let mut rig = Rig::with(DAG, memory::ports(), |settings| {
        settings.env.insert("GO".to_owned(), file.to_str().unwrap().to_owned());
        settings.resources = Resources { gpus: 1, ..Resources::default() };
        settings.gpus = vec!["0".to_owned()];
        settings.fencing = false;
    })
    .await;
    let gpu = |task: &str| {
        let mut item = rig.item(task);
        item.resources = Resources { gpus: 1, ..Resources::default() };
        item
    };
    let (runs, waits) = (gpu("waits"), gpu("quick"));
    rig.queue(&runs).await;
    rig.scheduler.started(&runs.key).await;
    rig.queue(&waits).await;
    let holds = async |key: &TryKey| presence(&rig).await.holds.iter().any(|it| it.key == *key);
    until("it waits", async || holds(&waits.key).await).await;
    cordon(&rig.ports, 1, false, None).await;
    look(&rig).await;
    until("it is let go", async || !holds(&waits.key).await).await;
    std::fs::write(&file, "").unwrap();
    assert!(matches!(rig.scheduler.end(&runs.key).await, ReportBody::Succeeded { .. }));
    until("only it is left", async || rig.depth().await == 1).await;
    assert!(rig.scheduler.in_order().iter().all(|it| it.key == runs.key), "nothing of it is told");
    let name = ExecutorName::new("testhost").unwrap();
    rig.ports.state.delete(&names::cordon_key(&name)).await.unwrap();
    look(&rig).await;
    assert!(matches!(rig.scheduler.end(&waits.key).await, ReportBody::Succeeded { .. }));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_that_asks_for_a_label_that_is_not_here_is_for_others() {
    let region = |name: &str| Resources {
        labels: BTreeMap::from([("region".to_owned(), name.to_owned())]),
        ..Resources::default()
    };
    let mut rig =
        Rig::with(DAG, memory::ports(), |settings| settings.resources = region("eu")).await;
    let [mut there, mut here] = [rig.item("quick"), rig.item("short")];
    (there.resources, here.resources) = (region("us"), region("eu"));
    rig.queue(&there).await;
    rig.queue(&here).await;
    assert!(matches!(rig.scheduler.end(&here.key).await, ReportBody::Succeeded { .. }));
    until("only it is left", async || rig.depth().await == 1).await;
    assert!(rig.scheduler.in_order().iter().all(|it| it.key == here.key), "nothing of it is told");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_is_said_anew_has_the_newer_limit() {
    let mut rig = Rig::new(DAG).await;
    let item = rig.item("sleeps");
    rig.queue(&item).await;
    rig.scheduler.started(&item.key).await;
    cordon(&rig.ports, 1, true, Some(3_600_000)).await;
    look(&rig).await;
    until("it says so", async || presence(&rig).await.draining).await;
    cordon(&rig.ports, 2, true, Some(0)).await;
    look(&rig).await;
    assert_eq!(lost(&rig.scheduler.end(&item.key).await).0, LostWhy::Drained);
    rig.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cordon_that_can_not_be_read_whole_is_one() {
    for word in [&b"\xc1 no value"[..], &newer_cordon()] {
        let ports = memory::ports();
        let name = ExecutorName::new("testhost").unwrap();
        let key = names::cordon_key(&name);
        ports.state.put(&key, word.to_vec().into(), None).await.unwrap();
        let mut rig = Rig::with(DAG, ports, |_| {}).await;
        let item = rig.item("quick");
        rig.queue(&item).await;
        assert_cordoned_from_the_start(&rig).await;
        // The same record in words that it knows: it was there at the start all the same.
        cordon(&rig.ports, 7, true, None).await;
        look(&rig).await;
        cordon(&rig.ports, 7, false, None).await;
        look(&rig).await;
        assert!(!presence(&rig).await.draining);
        rig.ports.state.delete(&key).await.unwrap();
        look(&rig).await;
        assert!(matches!(rig.scheduler.end(&item.key).await, ReportBody::Succeeded { .. }));
        rig.stop().await;
    }
}

/// As a scheduler writes it that knows one more kind of actor.
fn newer_cordon() -> Vec<u8> {
    let by = serde_json::json!({ "Robot": "r2" });
    encode_any(&serde_json::json!({ "seq": 7, "drain": true, "by": by, "at": 0 }))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_scheduler_speaks_a_version_too_far_away_takes_nothing_and_says_why() {
    let ports = memory::ports();
    ports.state.put(names::PROTOCOL, "9".into(), None).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut settings = settings(home.path());
    settings.runner = dagbok_executor::Runner::Null;
    let clock = dagbok_runtime::Clock::system();
    let ended = dagbok_executor::run(ports, settings, clock, dagbok_runtime::Shutdown::new()).await;
    let Err(error @ ExecutorError::Refused { .. }) = ended else { panic!("{ended:?}") };
    assert!(error.to_string().contains("the scheduler version 9"), "{error}");
}

/// In whatever order tries come and end: what runs never takes up more than there is, by its reports, which are what
/// the log has.
#[tokio::test(flavor = "multi_thread")]
async fn slots_and_resources_are_never_oversubscribed_by_what_is_reported() {
    const SLOTS: usize = 3;
    let licences = |count| BTreeMap::from([("licence".to_owned(), count)]);
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let mut rig = Rig::with(DAG, memory::ports(), |settings| {
        settings.slots = u32::try_from(SLOTS).unwrap();
        settings.resources =
            Resources { memory: Some(100), gpus: 2, custom: licences(1), ..Resources::default() };
        settings.gpus = vec!["0".to_owned(), "1".to_owned()];
        // Nobody else pulls: what finds no room waits for it.
        settings.fencing = false;
    })
    .await;
    let mut asked: BTreeMap<TryKey, Resources> = BTreeMap::new();
    for number in 1..=24_u16 {
        let task = ["quick", "short"][usize::try_from(next(2)).unwrap()];
        let mut item: WorkItem = rig.item(task);
        item.key.try_number = dagbok_events::TryNumber::new(number).unwrap();
        item.resources = Resources {
            memory: Some(next(90)),
            gpus: u32::try_from(next(3)).unwrap(),
            custom: licences(next(2)),
            ..Resources::default()
        };
        asked.insert(item.key.clone(), item.resources.clone());
        rig.queue(&item).await;
        tokio::time::sleep(Duration::from_millis(next(40))).await;
    }
    for key in asked.keys() {
        assert!(matches!(rig.scheduler.end(key).await, ReportBody::Succeeded { .. }));
    }
    let mut running: Vec<&TryKey> = Vec::new();
    let mut most = 0;
    for report in rig.scheduler.in_order() {
        let (key, resources) = asked.get_key_value(&report.key).unwrap();
        match report.body {
            ReportBody::Started { .. } => running.push(key),
            ReportBody::Succeeded { .. } => running.retain(|other| *other != key),
            other => panic!("{other:?} of {key}, which asks for {resources:?}"),
        }
        let sum =
            |of: fn(&Resources) -> u64| running.iter().map(|key| of(&asked[*key])).sum::<u64>();
        assert!(running.len() <= SLOTS, "{running:?}");
        assert!(sum(|it| it.memory.unwrap_or(0)) <= 100, "{running:?}");
        assert!(sum(|it| u64::from(it.gpus)) <= 2, "{running:?}");
        assert!(sum(|it| it.custom["licence"]) <= 1, "{running:?}");
        most = most.max(running.len());
    }
    assert!(most > 1, "some ran at once");
    rig.stop().await;
}
