//! The users of `deploy/nats`: each can do its work, and nothing of what would let it harm the log.
use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use dagbok_runlog::{Draft, Ports, Published, QueueSettings, ReadLimit, Seq};
use dagbok_runlog_jetstream::{ConnectSettings, Connection, Credentials, connect};
use dagbok_test_support::{NatsOptions, NatsServer, check_config, versions};
use futures::StreamExt as _;

const LEASE: QueueSettings = QueueSettings { lease: Duration::from_secs(30) };

fn deployed(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/nats").join(file)
}

#[test]
fn servers_old_and_new_read_the_configurations() {
    let env = [
        ("DAGBOK_SCHEDULER_PASSWORD", "a"),
        ("DAGBOK_EXECUTOR_PASSWORD", "b"),
        ("DAGBOK_TRIGGERER_PASSWORD", "t"),
        ("DAGBOK_PROCESSOR_PASSWORD", "c"),
        ("DAGBOK_UI_PASSWORD", "d"),
        ("DAGBOK_ALERTING_PASSWORD", "e"),
        ("DAGBOK_NODE", "a"),
        ("DAGBOK_HOST", "127.0.0.1"),
    ];
    for version in [versions::OLDEST, versions::NEWEST] {
        for file in ["one-node.conf", "three-nodes.conf"] {
            check_config(version, &deployed(file), &env)
                .unwrap_or_else(|said| panic!("{version} refuses {file}: {said}"));
        }
    }
    let said = check_config(versions::NEWEST, &deployed("one-node.conf"), &[]).unwrap_err();
    assert!(said.contains("PASSWORD"), "a missing password is an error: {said}");
}

fn server() -> NatsServer {
    let passwords: String = ["SCHEDULER", "EXECUTOR", "TRIGGERER", "PROCESSOR", "UI", "ALERTING"]
        .map(|role| format!("DAGBOK_{role}_PASSWORD: \"secret of {role}\"\n"))
        .concat();
    let users = std::fs::read_to_string(deployed("users.conf")).expect("deploy/nats has it");
    let extra = passwords + &users;
    NatsServer::start_with(&NatsOptions { extra, ..NatsOptions::new(versions::NEWEST) })
}

async fn as_user(server: &NatsServer, user: &str) -> Ports {
    connected(server, user).await.0
}

async fn connected(server: &NatsServer, user: &str) -> (Ports, Connection) {
    let password = format!("secret of {}", user.to_uppercase());
    let credentials = Credentials::UserPassword { user: user.to_owned(), password };
    let creates = user == "scheduler";
    let settings =
        ConnectSettings { credentials, creates, ..ConnectSettings::new(server.url(), "default") };
    connect(settings).await.unwrap_or_else(|error| panic!("{user}: {error}"))
}

fn draft() -> Vec<Draft> {
    vec![Draft { subject: "log.dag.d".to_owned(), payload: Bytes::from_static(b"x") }]
}

fn denied(outcome: &dyn std::fmt::Debug) {
    let said = format!("{outcome:?}");
    assert!(said.contains("denies") || said.contains("Permissions Violation"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_can_do_its_work_and_only_the_scheduler_writes_the_log() {
    let server = server();
    let scheduler = as_user(&server, "scheduler").await;
    let executor = as_user(&server, "executor").await;
    let processor = as_user(&server, "processor").await;
    let ui = as_user(&server, "ui").await;
    let alerting = as_user(&server, "alerting").await;

    assert_eq!(scheduler.log.append(Seq(0), draft()).await.unwrap(), Seq(1));
    scheduler.snapshots.put("fold", Bytes::from_static(b"f")).await.unwrap();
    scheduler.state.create("lease/scheduler", Bytes::new(), None).await.unwrap();
    let work = scheduler.queues.open("work.default", LEASE).await.unwrap();
    assert_eq!(work.publish("try", Bytes::new()).await.unwrap(), Published::New);

    let queue = executor.queues.open("work.default", LEASE).await.unwrap();
    let item = queue.pull(1, Duration::from_secs(5)).await.unwrap().remove(0);
    item.handle.progress().await.unwrap();
    let inbox = executor.queues.open("inbox", LEASE).await.unwrap();
    inbox.publish("report", Bytes::new()).await.unwrap();
    item.handle.ack().await.unwrap();
    executor.state.put("presence/e", Bytes::new(), Some(Duration::from_secs(30))).await.unwrap();
    executor.state.put("xcom/d/r/t", Bytes::new(), None).await.unwrap();
    assert_eq!(executor.state.list("xcom/").await.unwrap().len(), 1);
    let digest = processor.blobs.put(vec![1; 600_000].into()).await.unwrap();
    assert!(executor.blobs.get(&digest).await.unwrap().is_some());
    let _orders = executor.signals.subscribe("orders.e").await.unwrap();
    processor.state.put("processor/file/a.py", Bytes::new(), None).await.unwrap();
    assert_eq!(processor.state.list("processor/file/").await.unwrap().len(), 1);
    let command = processor.queues.open("inbox", LEASE).await.unwrap();
    command.publish("registered", Bytes::new()).await.unwrap();

    for reader in [&ui, &alerting, &processor] {
        assert_eq!(reader.log.read(Seq(0), ReadLimit::default()).await.unwrap().len(), 1);
        assert_eq!(reader.log.follow(Seq(0)).next().await.unwrap().unwrap().len(), 1);
    }
    ui.queues.open("inbox", LEASE).await.unwrap().publish("command", Bytes::new()).await.unwrap();
    assert_eq!(ui.state.list("presence/").await.unwrap().len(), 1);
    assert!(ui.snapshots.get("fold").await.unwrap().is_some());
    let unnamed = processor.blobs.put(vec![2; 600_000].into()).await.unwrap();
    let since = SystemTime::now() + Duration::from_hours(1);
    assert_eq!(ui.blobs.list(None, 10).await.unwrap().len(), 2);
    assert!(ui.blobs.delete(&unnamed, since).await.unwrap());
    assert!(!ui.blobs.has(&unnamed).await.unwrap());
    assert!(executor.blobs.get(&digest).await.unwrap().is_some(), "another stays");
    let inbox = scheduler.queues.open("inbox", LEASE).await.unwrap();
    assert_eq!(inbox.pull(10, Duration::from_secs(5)).await.unwrap().len(), 3);

    let log = server.log();
    let violations: Vec<_> = log.lines().filter(|line| line.contains("Violation")).collect();
    assert_eq!(violations, Vec::<&str>::new(), "nobody asks for what is not theirs");
    for other in [&executor, &processor, &ui, &alerting] {
        denied(&other.log.append(Seq(1), draft()).await.unwrap_err());
    }
    denied(&executor.log.read(Seq(0), ReadLimit::default()).await);
    denied(&executor.state.put("lease/scheduler", Bytes::new(), None).await);
    denied(&inbox_pull(&executor).await);
    denied(&inbox_pull(&ui).await);
    denied(&processor.state.put("lease/scheduler", Bytes::new(), None).await);
    denied(&alerting.state.put("x", Bytes::new(), None).await);
    denied(&alerting.blobs.delete(&digest, since).await);
    assert_eq!(scheduler.log.last().await.unwrap(), Seq(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerting_alone_makes_and_writes_the_log_of_alerts() {
    let server = server();
    let (scheduler, of_scheduler) = connected(&server, "scheduler").await;
    let (alerting, of_alerting) = connected(&server, "alerting").await;
    let (_, of_ui) = connected(&server, "ui").await;
    scheduler.log.append(Seq(0), draft()).await.unwrap();
    let unmade = of_ui.alert_log(false).await.unwrap();
    unmade.last().await.unwrap_err();
    let log = of_alerting.alert_log(true).await.unwrap();
    let fact = || {
        let payload = Bytes::from_static(b"x");
        vec![Draft { subject: "alerts.alert.1".to_owned(), payload }]
    };
    assert_eq!(log.append(Seq(0), fact()).await.unwrap(), Seq(1));
    let again = of_alerting.alert_log(true).await.unwrap();
    assert_eq!(again.read(Seq(0), ReadLimit::default()).await.unwrap().len(), 1);
    let read = of_ui.alert_log(false).await.unwrap();
    assert_eq!(read.follow(Seq(0)).next().await.unwrap().unwrap().len(), 1);
    let lease = alerting.state.create("lease/alerting", Bytes::new(), None).await.unwrap();
    alerting.state.update("lease/alerting", Bytes::new(), lease, None).await.unwrap();
    alerting.snapshots.put("alerting", Bytes::from_static(b"f")).await.unwrap();
    alerting.snapshots.put("alerting", Bytes::from_static(b"g")).await.unwrap();
    assert!(alerting.snapshots.get("alerting").await.unwrap().is_some());
    let log_of_server = server.log();
    let violations: Vec<_> =
        log_of_server.lines().filter(|line| line.contains("Violation")).collect();
    assert_eq!(violations, Vec::<&str>::new(), "nobody asks for what is not theirs");
    for other in [&of_scheduler, &of_ui] {
        let theirs = other.alert_log(false).await.unwrap();
        denied(&theirs.append(Seq(1), fact()).await.unwrap_err());
    }
    denied(&alerting.snapshots.put("scheduler", Bytes::new()).await);
}

/// What others report is not to be taken from the inbox.
async fn inbox_pull(ports: &Ports) -> dagbok_runlog::PortResult<usize> {
    let inbox = ports.queues.open("inbox", LEASE).await?;
    inbox.pull(1, Duration::from_millis(200)).await.map(|items| items.len())
}

#[tokio::test]
async fn nobody_deletes_the_log() {
    let server = server();
    let scheduler = as_user(&server, "scheduler").await;
    scheduler.log.append(Seq(0), draft()).await.unwrap();
    let options = async_nats::ConnectOptions::with_user_and_password(
        "scheduler".to_owned(),
        "secret of SCHEDULER".to_owned(),
    );
    let client = options.request_timeout(Some(Duration::from_millis(300)));
    let client = client.connect(server.url()).await.unwrap();
    for question in [
        "STREAM.DELETE.dagbok_default_log",
        "STREAM.PURGE.dagbok_default_log",
        "STREAM.UPDATE.dagbok_default_log",
        "STREAM.MSG.DELETE.dagbok_default_log",
    ] {
        client.request(format!("$JS.API.{question}"), Bytes::from_static(b"{}")).await.unwrap_err();
    }
    assert_eq!(scheduler.log.last().await.unwrap(), Seq(1));
    assert_eq!(scheduler.log.read(Seq(0), ReadLimit::default()).await.unwrap().len(), 1);
}
