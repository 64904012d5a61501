//! An executor's life: its presence, orders, redeliveries, the end.
use std::time::Duration;

use dagbok_events::{FailureKind, LostWhy, decode_any};
use dagbok_executor::{ExecutorError, ExecutorSettings, LogSource, Runner, run};
use dagbok_protocol::{CommandBody, Presence, Report, ReportBody, WorkItem, names};
use dagbok_runlog::{QueueSettings, memory};
use dagbok_runtime::{Clock, Shutdown};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::rig::{LONG, Rig, failure, is_alive, kind, lost, settings, until};

/// Tasks that wait for files, so that a test says when they go on.
const DAG: &str = r#"
import os, sys, time
from datetime import datetime
from airflow import DAG
from airflow.operators.python import PythonOperator

def quick(**context):
    print("done")

def sleeps(**context):
    print("sleeping", flush=True)
    time.sleep(300)

def talks(**context):
    print("first", flush=True)
    while not os.path.exists(os.environ["GO"]):
        time.sleep(0.01)
    print("second", flush=True)

def floods(**context):
    line = "x" * 1023 + "\n"
    for n in range(100 * 1024):
        sys.stdout.write(line)
    sys.stdout.write("the last line\n")

def long_line(**context):
    print("y" * 200_000)

with DAG("d", start_date=datetime(2026, 1, 1), schedule=None) as dag:
    for f in [quick, sleeps, talks, floods, long_line]:
        PythonOperator(task_id=f.__name__, python_callable=f)
"#;

async fn presence(rig: &Rig) -> Option<Presence> {
    let found = rig.ports.state.get(&names::presence_key(&rig.settings.executor)).await.unwrap();
    found.map(|found| decode_any(&found.value).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_says_what_it_holds_and_goes() {
    let mut rig = Rig::new(DAG).await;
    let item = rig.item("sleeps");
    rig.queue(&item).await;
    let pid = rig.scheduler.started(&item.key).await;
    until("the presence names the try", async || {
        presence(&rig).await.is_some_and(|now| {
            now.holds.iter().any(|one| one.key == item.key && one.pid == Some(pid))
        })
    })
    .await;
    let now = presence(&rig).await.unwrap();
    assert_eq!((now.slots, now.hostname.as_str(), now.draining), (4, "testhost", false));
    assert!(now.python.starts_with("3."), "{now:?}");
    let joined = |body: &CommandBody| matches!(body, CommandBody::ExecutorJoined { presence, .. } if presence.slots == 4);
    until("it has introduced itself", async || rig.scheduler.others().iter().any(joined)).await;
    rig.order_kill(&item.key, "the test is over").await;
    until("the try is let go", async || {
        presence(&rig).await.is_some_and(|now| now.holds.is_empty())
    })
    .await;
    assert!(!is_alive(pid));
    rig.until_acknowledged().await;
    let end = rig.scheduler.end(&item.key).await;
    assert_eq!(lost(&end), (LostWhy::Ordered, true));
    let kept = rig.log(&end).await;
    assert!(kept.iter().any(|line| line.m.contains("the test is over")), "{kept:?}");
    let log = rig.read_log(&item.key, 0, Duration::ZERO).await;
    assert!(log.complete && log.lines.contains("the test is over"), "{log:?}");
    rig.stop().await;
    assert!(presence(&rig).await.is_none());
    assert!(
        rig.scheduler.others().iter().any(|body| matches!(body, CommandBody::ExecutorLeft { .. }))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_can_be_followed_while_it_grows() {
    let go = tempfile::tempdir().unwrap();
    let file = go.path().join("go");
    let rig = Rig::with(DAG, memory::ports(), |settings| {
        settings.env.insert("GO".to_owned(), file.to_str().unwrap().to_owned());
    })
    .await;
    let item = rig.item("talks");
    rig.queue(&item).await;
    rig.scheduler.started(&item.key).await;
    let first = rig.read_log(&item.key, 0, LONG / 2).await;
    assert!(first.lines.contains("\"first\"") && !first.complete, "{first:?}");
    let (second, ()) = tokio::join!(rig.read_log(&item.key, first.next_offset, LONG / 2), async {
        std::fs::write(&file, "").unwrap();
    });
    assert!(second.lines.contains("\"second\""), "{second:?}");
    let end = rig.scheduler.end(&item.key).await;
    let mut whole = first.lines + &second.lines;
    let mut next = second.next_offset;
    loop {
        let more = rig.read_log(&item.key, next, LONG / 2).await;
        whole += &more.lines;
        next = more.next_offset;
        if more.complete {
            break;
        }
    }
    let kept = rig.log(&end).await;
    assert_eq!(whole.lines().count(), kept.len(), "what was followed is what is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_cut_in_the_middle_and_said() {
    let rig = Rig::new(DAG).await;
    let end = rig.run_task("floods").await;
    let ReportBody::Succeeded { log: Some(log), .. } = &end else { panic!("{end:?}") };
    assert!(log.size <= 64 << 20, "{} bytes are more than the limit", log.size);
    assert!(log.dropped > 1_000, "{log:?}");
    let lines = rig.log(&end).await;
    assert_eq!(lines.last().unwrap().m, "the last line");
    let marks: Vec<_> = lines.iter().filter(|line| line.s == LogSource::System).collect();
    assert_eq!(marks.len(), 2, "{marks:?}");
    assert!(marks[0].m.contains("has reached its limit of 64 MiB"), "{marks:?}");
    assert!(marks[1].m.contains(&format!("{} lines", log.dropped)), "{marks:?}");
    let kept = lines.iter().filter(|line| line.s == LogSource::Stdout).count() as u64;
    assert_eq!(kept + log.dropped, 100 * 1024 + 1, "every line is kept or counted");

    let lines = rig.log(&rig.run_task("long_line").await).await;
    let cut = lines.iter().find(|line| line.s == LogSource::Stdout).unwrap();
    assert_eq!((cut.m.len(), cut.cut), (64 << 10, Some(200_000 - (64 << 10))));
}

fn licences(count: u64) -> dagbok_events::Resources {
    let custom = [("licence".to_owned(), count)].into();
    dagbok_events::Resources { custom, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_resource_holds_no_slot_and_stays_the_same_try() {
    let mut rig = Rig::with(DAG, memory::ports(), |settings| {
        (settings.slots, settings.resources) = (2, licences(1));
    })
    .await;
    let ask = |task: &str| WorkItem { resources: licences(1), ..rig.item(task) };
    let (first, second) = (ask("sleeps"), ask("quick"));
    rig.queue(&first).await;
    rig.scheduler.started(&first.key).await;
    rig.queue(&second).await;
    let waiting = [&first.key, &second.key];
    until("it is in hand", async || {
        presence(&rig)
            .await
            .is_some_and(|now| waiting.iter().all(|key| now.holds.iter().any(|it| it.key == **key)))
    })
    .await;
    // One slot is left for it.
    let mut plain = rig.item("quick");
    plain.key.run_id = "plain".parse().unwrap();
    assert!(matches!(rig.run_item(&plain).await, ReportBody::Succeeded { .. }));
    rig.order_kill(&first.key, "it is enough").await;
    assert!(matches!(rig.scheduler.end(&second.key).await, ReportBody::Succeeded { .. }));
    let said = rig.scheduler.said(&second.key);
    assert!(!said.iter().any(|it| matches!(it.body, ReportBody::Returned)), "{said:?}");
    rig.until_acknowledged().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_here_is_passed_on_unbegun_and_runs_elsewhere_as_the_same_try() {
    let rig = Rig::with(DAG, memory::ports(), |settings| {
        settings.queues = vec!["again".parse().unwrap()];
        settings.fencing = true;
    })
    .await;
    let mut large = WorkItem { resources: licences(1), ..rig.item("quick") };
    large.queue = "again".parse().unwrap();
    rig.queue(&large).await;
    let passed = names::passed_key(&large.key);
    until("it is passed on", async || rig.ports.state.get(&passed).await.unwrap().is_some()).await;
    let (shutdown, running) = start_another_with(&rig, |settings| {
        (settings.fencing, settings.resources) = (true, licences(1));
    });
    assert!(matches!(rig.scheduler.end(&large.key).await, ReportBody::Succeeded { .. }));
    let said = rig.scheduler.said(&large.key);
    let is_first = |it: &Report| matches!(it.body, ReportBody::Started { again: false, .. });
    assert!(said.iter().any(is_first), "nobody had begun it: {said:?}");
    assert!(!said.iter().any(|it| matches!(it.body, ReportBody::Returned)), "{said:?}");
    shutdown.start();
    running.await.unwrap().unwrap();
}

/// Queues items that somebody took before and let go.
async fn queue_again(rig: &Rig, items: &[&WorkItem]) {
    let queue = rig.ports.queues.open("work.again", QueueSettings { lease: LONG }).await.unwrap();
    for item in items {
        rig.queue(item).await;
    }
    for delivery in queue.pull(items.len(), LONG).await.unwrap() {
        delivery.handle.nak(Duration::ZERO).await.unwrap();
    }
}

/// A second executor, which pulls from the queue `again`.
fn start_another(rig: &Rig) -> (Shutdown, JoinHandle<Result<(), ExecutorError>>) {
    start_another_with(rig, |_| {})
}

fn start_another_with(
    rig: &Rig,
    change: impl FnOnce(&mut ExecutorSettings),
) -> (Shutdown, JoinHandle<Result<(), ExecutorError>>) {
    let mut settings =
        ExecutorSettings { env: rig.settings.env.clone(), ..settings(rig.home.path()) };
    settings.queues = vec!["again".parse().unwrap()];
    change(&mut settings);
    let shutdown = Shutdown::new();
    let run = run(rig.ports.clone(), settings, Clock::system(), shutdown.clone());
    (shutdown, tokio::spawn(run))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivery_runs_only_if_the_scheduler_says_so() {
    let rig = Rig::new(DAG).await;
    let (mut ours, mut theirs) = (rig.item("quick"), rig.item("sleeps"));
    (ours.queue, theirs.queue) = ("again".parse().unwrap(), "again".parse().unwrap());
    queue_again(&rig, &[&ours, &theirs]).await;
    rig.scheduler.refuse(&theirs.key);
    let (shutdown, running) = start_another(&rig);
    assert!(matches!(rig.scheduler.end(&ours.key).await, ReportBody::Succeeded { .. }));
    let queue = rig.ports.queues.open("work.again", QueueSettings { lease: LONG }).await.unwrap();
    until("both items are done with", async || queue.depth().await.unwrap() == 0).await;
    let said = rig.scheduler.said(&theirs.key);
    assert_eq!(said.len(), 1, "{said:?}");
    let ReportBody::Started { pid, .. } = said[0].body else { panic!("{said:?}") };
    assert!(!is_alive(pid));
    shutdown.start();
    timeout(LONG, running).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_offered_before_runs_only_if_the_scheduler_says_so() {
    let go = tempfile::tempdir().unwrap();
    let file = go.path().join("go");
    std::fs::write(&file, "").unwrap();
    let rig = Rig::with(DAG, memory::ports(), |settings| {
        settings.env.insert("GO".to_owned(), file.to_str().unwrap().to_owned());
    })
    .await;
    let (mut asked, mut late) = (rig.item("talks"), rig.item("talks"));
    asked.ask = true;
    // It may be given up by now, since it lay on its queue for so long.
    late.ask_after = Some(dagbok_events::Micros(0));
    late.key.try_number = dagbok_events::TryNumber::new(2).unwrap();
    for item in [asked, late] {
        rig.scheduler.be_silent(true);
        rig.queue(&item).await;
        rig.scheduler.started(&item.key).await;
        // A try that did not wait would be over by now: it takes some twenty milliseconds.
        sleep(Duration::from_millis(500)).await;
        assert_eq!(rig.scheduler.said(&item.key).len(), 1);
        rig.scheduler.be_silent(false);
        assert!(matches!(rig.scheduler.end(&item.key).await, ReportBody::Succeeded { .. }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivery_runs_no_user_code_before_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    std::fs::write(&go, "").unwrap();
    let rig = Rig::with(DAG, memory::ports(), |settings| {
        settings.env.insert("GO".to_owned(), go.to_str().unwrap().to_owned());
    })
    .await;
    let mut item = rig.item("talks");
    item.queue = "again".parse().unwrap();
    queue_again(&rig, &[&item]).await;
    rig.scheduler.be_silent(true);
    let (shutdown, running) = start_another(&rig);
    rig.scheduler.started(&item.key).await;
    // A try that did not wait would be over by now: it takes some twenty milliseconds.
    sleep(Duration::from_millis(500)).await;
    assert_eq!(rig.scheduler.said(&item.key).len(), 1);
    rig.scheduler.be_silent(false);
    assert!(matches!(rig.scheduler.end(&item.key).await, ReportBody::Succeeded { .. }));
    shutdown.start();
    timeout(LONG, running).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_start_is_killed_and_its_log_kept() {
    let rig = Rig::new(DAG).await;
    let item = rig.item("sleeps");
    rig.scheduler.refuse(&item.key);
    rig.queue(&item).await;
    let pid = rig.scheduler.started(&item.key).await;
    rig.until_acknowledged().await;
    assert!(!is_alive(pid));
    let end = rig.scheduler.end(&item.key).await;
    assert_eq!(lost(&end), (LostWhy::Ordered, true), "what it did until then is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_then_ends_what_is_left() {
    let mut rig = Rig::with(DAG, memory::ports(), |settings| {
        settings.drain_timeout = Duration::from_millis(300);
    })
    .await;
    let item = rig.item("sleeps");
    rig.queue(&item).await;
    let pid = rig.scheduler.started(&item.key).await;
    rig.stop().await;
    let end = rig.scheduler.end(&item.key).await;
    assert_eq!(lost(&end), (LostWhy::Drained, true), "its log and usage are kept");
    assert!(!is_alive(pid));
    assert_eq!(rig.depth().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_does_not_load_fails_its_tries_with_its_line() {
    let rig = Rig::new("import os\n\nraise RuntimeError('broken file')\n").await;
    let end = rig.run_task("any").await;
    let failure = failure(&end);
    assert_eq!((failure.kind, failure.line), (FailureKind::ImportError, Some(3)));
    assert_eq!(
        (failure.file.as_deref(), failure.exception.as_deref()),
        (Some("dag.py"), Some("RuntimeError"))
    );
    assert!(rig.log(&end).await.iter().any(|line| line.m.contains("broken file")));
    let missing = Rig::new(DAG).await;
    let end = missing.run_task("no_such_task").await;
    assert_eq!(kind(&end).0, FailureKind::ImportError);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_import_is_broken_off_and_its_process_killed() {
    let go = tempfile::tempdir().unwrap();
    let file = go.path().join("pid");
    let source = format!(
        "import os, signal, time\nopen({file:?}, 'w').write(str(os.getpid()))\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\nwhile True:\n    time.sleep(1)\n"
    );
    let rig = Rig::with(&source, memory::ports(), |settings| {
        settings.load_timeout = Duration::from_millis(500);
    })
    .await;
    let end = rig.run_task("any").await;
    assert_eq!(kind(&end).0, FailureKind::ImportError);
    assert!(kind(&end).1.contains("took longer"), "{end:?}");
    let pid = std::fs::read_to_string(&file).unwrap().parse().unwrap();
    until("the importing process is gone", async || !is_alive(pid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_threads_still_runs_its_tries() {
    let source = format!(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(300,), daemon=True).start()\n{DAG}"
    );
    let rig = Rig::new(&source).await;
    assert!(matches!(rig.run_task("quick").await, ReportBody::Succeeded { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_zygote_loses_its_tries_and_is_replaced() {
    let rig = Rig::new(DAG).await;
    let item = rig.item("sleeps");
    rig.queue(&item).await;
    let pid = rig.scheduler.started(&item.key).await;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let parent = stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(parent), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    let end = rig.scheduler.end(&item.key).await;
    assert_eq!(lost(&end), (LostWhy::NotHeld, false), "nobody could count");
    until("its process is gone", async || !is_alive(pid)).await;
    assert!(matches!(rig.run_task("quick").await, ReportBody::Succeeded { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_run_says_so_at_its_start() {
    let home = tempfile::tempdir().unwrap();
    let start = async |change: &dyn Fn(&mut ExecutorSettings)| {
        let mut settings = settings(home.path());
        change(&mut settings);
        let run = run(memory::ports(), settings, Clock::system(), Shutdown::new());
        timeout(LONG, run).await.unwrap().unwrap_err()
    };
    let error = start(&|settings| settings.python = "/no/such/python".into()).await;
    assert!(error.to_string().contains("/no/such/python"), "{error}");
    // A Python without its packages, whatever is installed in the one that the tests have.
    let bare = home.path().join("bare-python");
    let text = format!("#!/bin/sh\nexec '{}' -S \"$@\"\n", settings(home.path()).python.display());
    std::fs::write(&bare, text).unwrap();
    std::fs::set_permissions(&bare, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let error = start(&|settings| {
        settings.python.clone_from(&bare);
        settings.python_path = Some("/nowhere".into());
    })
    .await;
    assert!(matches!(error, ExecutorError::Python { .. }));
    assert!(error.to_string().contains("dagbok"), "{error}");
    let error = start(&|settings| settings.slots = 0).await;
    assert!(matches!(error, ExecutorError::Setting { setting: "slots", .. }));
    let error = start(&|settings| settings.home = "/proc/none".into()).await;
    assert!(matches!(error, ExecutorError::Home { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_null_runner_reports_and_runs_nothing() {
    let rig = Rig::with(DAG, memory::ports(), |settings| settings.runner = Runner::Null).await;
    let end = rig.run_task("sleeps").await;
    assert!(matches!(end, ReportBody::Succeeded { log: None, .. }));
    assert_eq!(rig.scheduler.started(&rig.item("sleeps").key).await, 0);
    rig.until_acknowledged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_queue_in_this_process_it_ends_at_once() {
    let mut rig = Rig::with(DAG, memory::ports(), |settings| settings.fencing = false).await;
    assert!(matches!(rig.run_task("quick").await, ReportBody::Succeeded { .. }));
    let since = Instant::now();
    rig.stop().await;
    assert!(since.elapsed() < Duration::from_secs(5), "it took {:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_can_not_be_read_is_left_to_others() {
    let rig = Rig::new(DAG).await;
    let queue = rig
        .ports
        .queues
        .open("work.default", QueueSettings { lease: rig.settings.lease })
        .await
        .unwrap();
    queue.publish("odd", b"noise".as_slice().into()).await.unwrap();
    assert!(decode_any::<WorkItem>(b"noise").is_err());
    assert!(matches!(rig.run_task("quick").await, ReportBody::Succeeded { .. }));
    until("only the odd one is left", async || rig.depth().await == 1).await;
}
