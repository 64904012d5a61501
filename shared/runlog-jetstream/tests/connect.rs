//! Who is let in, what is refused with which words, and what the doctor is told.
mod common;

use std::time::Duration;

use bytes::Bytes;
use common::on;
use dagbok_runlog::{Draft, PortError, Seq};
use dagbok_runlog_jetstream::{
    ConnectError, ConnectSettings, Credentials, Durability, LinkFailure, Storage, connect,
};
use dagbok_test_support::{NatsOptions, NatsServer, SyncInterval, versions};
use futures::StreamExt as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};

async fn refusal(settings: ConnectSettings) -> ConnectError {
    connect(settings).await.expect_err("this must be refused")
}

fn failure(error: &ConnectError) -> LinkFailure {
    match error {
        ConnectError::Unreachable { failure, .. } => *failure,
        other => panic!("not a failure to reach the server: {other}"),
    }
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused_with_the_reason() {
    let server = NatsServer::start(versions::TOO_OLD, SyncInterval::Default);
    let error = refusal(ConnectSettings::new(server.url(), "a")).await;
    assert!(matches!(error, ConnectError::TooOld { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("2.10.26") && said.contains("install 2.11 or later"), "{said}");
}

#[tokio::test]
async fn what_keeps_a_connection_from_coming_about_is_told_apart() {
    // Nobody listens on a port that was just given back.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = refusal(ConnectSettings::new(format!("nats://{address}"), "a")).await;
    assert_eq!(failure(&error), LinkFailure::Refused, "{error}");
    assert!(error.to_string().contains("check that the server runs"), "{error}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let other = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        }
    });
    let error = refusal(ConnectSettings::new(format!("nats://{address}"), "a")).await;
    assert_eq!(failure(&error), LinkFailure::NotNats, "{error}");
    other.abort();

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = ConnectSettings::new(silent.local_addr().unwrap().to_string(), "a");
    settings.timeout = Duration::from_millis(300);
    assert_eq!(failure(&refusal(settings).await), LinkFailure::TimedOut);

    let error = refusal(ConnectSettings::new("nats://host.invalid:4222", "a")).await;
    assert_eq!(failure(&error), LinkFailure::NoSuchHost, "{error}");
}

#[tokio::test]
async fn credentials_are_needed_where_the_server_wants_them_and_may_stand_in_the_url() {
    let extra = "authorization { user: \"me\", password: \"s p@ce\" }\n".to_owned();
    let server =
        NatsServer::start_with(&NatsOptions { extra, ..NatsOptions::new(versions::NEWEST) });
    let error = refusal(ConnectSettings::new(server.url(), "a")).await;
    assert_eq!(failure(&error), LinkFailure::NotAuthorized, "{error}");
    let with = |password: &str| ConnectSettings {
        credentials: Credentials::UserPassword { user: "me".into(), password: password.into() },
        ..ConnectSettings::new(server.url(), "a")
    };
    let error = refusal(with("wrong")).await;
    assert_eq!(failure(&error), LinkFailure::NotAuthorized);
    assert!(!error.to_string().contains("wrong"), "{error}");
    connect(with("s p@ce")).await.unwrap();

    let extra = "authorization { user: \"me\", password: \"plain\" }\n".to_owned();
    let server =
        NatsServer::start_with(&NatsOptions { extra, ..NatsOptions::new(versions::NEWEST) });
    let url = format!("nats://me:plain@127.0.0.1:{}", server.port());
    connect(ConnectSettings::new(url, "a")).await.unwrap();
}

#[tokio::test]
async fn a_server_without_jetstream_or_with_small_messages_is_refused() {
    let bare = NatsOptions { jetstream: false, ..NatsOptions::new(versions::NEWEST) };
    let bare = NatsServer::start_with(&bare);
    let error = refusal(ConnectSettings::new(bare.url(), "a")).await;
    assert!(matches!(error, ConnectError::NoJetStream { .. }), "{error}");
    assert!(error.to_string().contains("-js"), "{error}");

    let extra = "max_payload: 65536\n".to_owned();
    let small =
        NatsServer::start_with(&NatsOptions { extra, ..NatsOptions::new(versions::NEWEST) });
    let error = refusal(ConnectSettings::new(small.url(), "a")).await;
    assert!(matches!(error, ConnectError::PayloadLimit { actual: 65_536, .. }), "{error}");
}

#[tokio::test]
async fn a_stream_that_would_drop_facts_is_refused_field_by_field() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let client = async_nats::connect(server.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let limited = async_nats::jetstream::stream::Config {
        name: "dagbok_a_log".to_owned(),
        subjects: vec!["dagbok.a.log.>".to_owned()],
        max_age: Duration::from_hours(1),
        ..Default::default()
    };
    jetstream.create_stream(limited).await.unwrap();
    let error = refusal(ConnectSettings::new(server.url(), "a")).await;
    let said = error.to_string();
    for part in ["`dagbok_a_log`", "max_age is 3600s, not 0ns", "deny_delete is false, not true"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test]
async fn namespaces_do_not_see_one_another() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let ((a, _), (b, _)) = (on(&server, "a").await, on(&server, "b").await);
    let draft = Draft { subject: "log.x".to_owned(), payload: Bytes::from_static(b"a's") };
    a.log.append(Seq(0), vec![draft]).await.unwrap();
    a.state.put("k", Bytes::from_static(b"a's"), None).await.unwrap();
    assert_eq!(b.log.last().await.unwrap(), Seq(0));
    assert_eq!(b.state.get("k").await.unwrap(), None);
}

#[tokio::test]
async fn durability_is_read_from_the_stream_and_the_server() {
    let of = async |sync, storage, monitored: bool| {
        let server = NatsServer::start(versions::NEWEST, sync);
        let settings = ConnectSettings {
            storage,
            monitor: monitored.then(|| server.monitor_url()),
            ..ConnectSettings::new(server.url(), "a")
        };
        let (_ports, connection) = connect(settings).await.unwrap();
        connection.durability().await.unwrap()
    };
    let synced = of(SyncInterval::Always, Storage::File, true).await;
    assert_eq!(synced, Durability::Synced);
    assert!(synced.is_durable());
    let late = of(SyncInterval::Default, Storage::File, true).await;
    assert_eq!(late, Durability::NotSynced(Duration::from_mins(2)));
    assert!(!late.is_durable());
    let unknown = of(SyncInterval::Always, Storage::File, false).await;
    assert!(matches!(unknown, Durability::Unknown { .. }), "{unknown}");
    assert_eq!(of(SyncInterval::Always, Storage::Memory, true).await, Durability::Memory);
}

#[tokio::test]
async fn how_full_a_server_is_stands_on_its_page_and_of_an_account_in_its_information() {
    const MOST: u64 = 6 << 20;
    let extra =
        "accounts { A { jetstream { max_file: 4194304 }, users: [{ user: a, password: b }] } }";
    let options = NatsOptions {
        most: Some(MOST),
        extra: extra.to_owned(),
        ..NatsOptions::new(versions::NEWEST)
    };
    let server = NatsServer::start_with(&options);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let user = ("a".to_owned(), "b".to_owned());
    let settings = ConnectSettings {
        monitor: Some(format!("{}, {silent}", server.monitor_url())),
        credentials: Credentials::UserPassword { user: user.0, password: user.1 },
        timeout: Duration::from_millis(500),
        ..ConnectSettings::new(server.url(), "a")
    };
    let (ports, connection) = connect(settings).await.unwrap();
    let rooms = connection.rooms().await.unwrap();
    let limits: Vec<(bool, u64)> =
        rooms.limits.iter().map(|it| (it.of.starts_with("JetStream on "), it.most)).collect();
    assert_eq!(limits, [(false, 4 << 20), (true, MOST)], "{rooms:?}");
    let [failure] = rooms.failures.as_slice() else { panic!("{rooms:?}") };
    assert!(failure.starts_with(&silent), "{failure}");
    // What is stored is taken of both.
    let before: Vec<u64> = rooms.limits.iter().map(|it| it.used).collect();
    for _ in 0..3 {
        let last = ports.log.last().await.unwrap();
        let payload = Bytes::from(vec![7; 500_000]);
        let draft = Draft { subject: "log.x".to_owned(), payload };
        ports.log.append(last, vec![draft]).await.unwrap();
    }
    let after = connection.rooms().await.unwrap().limits;
    for (before, after) in before.iter().zip(&after) {
        let taken = after.used - before;
        assert!((1_500_000..1_600_000).contains(&taken), "{after:?}: {taken}");
    }
    let free = NatsServer::start(versions::OLDEST, SyncInterval::Default);
    let (_ports, connection) = connect(ConnectSettings::new(free.url(), "a")).await.unwrap();
    assert_eq!(
        connection.rooms().await.unwrap().limits,
        [],
        "nothing limits it, and no page is named"
    );
}

/// Greets as a new enough server does and answers pings; hangs up at the first question where `hangs_up`,
/// and never answers one otherwise.
async fn half_a_server(hangs_up: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let url = format!("nats://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        // Who hangs up is not there a second time.
        while let Ok((stream, _)) = listener.accept().await {
            let (read, mut write) = stream.into_split();
            let info = r#"INFO {"server_id":"half","version":"2.12.0","proto":1,"headers":true,"max_payload":1048576}"#;
            write.write_all(format!("{info}\r\n").as_bytes()).await.expect("it is there");
            let mut lines = BufReader::new(read).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                match line.split(' ').next().unwrap_or_default() {
                    "PING" => write.write_all(b"PONG\r\n").await.expect("it is there"),
                    "PUB" | "HPUB" if hangs_up => return,
                    _ => {}
                }
            }
        }
    });
    url
}

#[tokio::test]
async fn a_server_that_goes_silent_or_away_while_connecting_is_not_there() {
    let mut silent = ConnectSettings::new(half_a_server(false).await, "a");
    silent.timeout = Duration::from_millis(300);
    let error = refusal(silent).await;
    assert_eq!(failure(&error), LinkFailure::TimedOut, "{error}");
    assert!(error.to_string().contains("while `JetStream`"), "{error}");
    let error = refusal(ConnectSettings::new(half_a_server(true).await, "a")).await;
    assert_eq!(failure(&error), LinkFailure::Broke, "{error}");
    assert!(error.to_string().contains("check that the server stays up"), "{error}");
}

#[tokio::test]
async fn the_servers_time_is_between_asking_and_having_it() {
    let server = NatsServer::start(versions::OLDEST, SyncInterval::Default);
    let (_ports, connection) = on(&server, "a").await;
    let time = connection.server_time().await.unwrap();
    // As RFC 3339 has it, in UTC: `2026-11-22T13:57:44.5Z`.
    assert!(time.len() > 19 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
}

#[tokio::test]
async fn health_tells_of_a_server_that_goes_and_comes() {
    let mut server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let (_ports, connection) = on(&server, "a").await;
    let health = connection.health();
    assert!(health.connected && health.breaks == 0, "{health:?}");
    assert_eq!(health.server_version, versions::NEWEST);
    assert_eq!(connection.server_version().to_string(), versions::NEWEST);
    assert!(connection.round_trip().await.unwrap() < Duration::from_secs(1));
    assert_eq!(connection.failures().await, []);

    server.kill();
    until(async || !connection.health().connected).await;
    let failures = connection.failures().await;
    assert_eq!(failures, [(format!("127.0.0.1:{}", server.port()), LinkFailure::Refused)]);

    server.restart();
    until(async || connection.health().connected).await;
    assert!(connection.health().breaks >= 1);
    assert_eq!(connection.failures().await, []);

    server.freeze();
    let failures = connection.failures().await;
    server.thaw();
    assert_eq!(failures[0].1, LinkFailure::TimedOut);
}

async fn until(mut is: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it comes about in time");
}

#[tokio::test]
async fn what_a_user_may_not_do_fails_at_once_and_says_so() {
    let extra = r#"
        authorization { users: [
            { user: "scheduler", password: "s" }
            { user: "reader", password: "r", permissions: {
                publish: { deny: ["dagbok.*.log.>", "$JS.API.STREAM.DELETE.>"] } } }
        ] }
    "#;
    let extra = extra.to_owned();
    let server =
        NatsServer::start_with(&NatsOptions { extra, ..NatsOptions::new(versions::NEWEST) });
    let as_user = |user: &str, password: &str| ConnectSettings {
        credentials: Credentials::UserPassword { user: user.into(), password: password.into() },
        ..ConnectSettings::new(server.url(), "a")
    };
    let (scheduler, _) = connect(as_user("scheduler", "s")).await.unwrap();
    let (reader, _) = connect(as_user("reader", "r")).await.unwrap();
    let draft = || vec![Draft { subject: "log.x".to_owned(), payload: Bytes::new() }];
    let start = std::time::Instant::now();
    let error = reader.log.append(Seq(0), draft()).await.unwrap_err();
    assert!(error.to_string().contains("denies"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(scheduler.log.append(Seq(0), draft()).await.unwrap(), Seq(1));
    assert_eq!(reader.log.last().await.unwrap(), Seq(1));
}

#[tokio::test]
async fn a_tampered_blob_is_damage_and_not_bytes() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let (ports, _connection) = on(&server, "a").await;
    let client = async_nats::connect(server.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    for bytes in [vec![7_u8; 1_000], (0..=250).cycle().take(600_000).collect()] {
        let digest = ports.blobs.put(bytes.into()).await.unwrap();
        let subject = format!("dagbok.a.blobs.{digest}");
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Dagbok-Pieces", "0");
        let sent = jetstream.publish_with_headers(subject, headers, Bytes::from_static(b"forged"));
        sent.await.unwrap().await.unwrap();
        let error = ports.blobs.get(&digest).await.unwrap_err();
        assert!(
            matches!(&error, PortError::Damaged { place, .. } if place.contains(&digest)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_blob_that_is_there_is_marked_as_new_and_none_of_its_pieces_is_sent_again() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let (ports, _connection) = on(&server, "a").await;
    let client = async_nats::connect(server.url()).await.unwrap();
    let bytes = Bytes::from((0..=250).cycle().take(600_000).collect::<Vec<u8>>());
    let digest = ports.blobs.put(bytes.clone()).await.unwrap();
    let put_at = ports.blobs.list(None, 1).await.unwrap()[0].modified;
    let mut sent = client.subscribe("dagbok.a.blobs.>").await.unwrap();
    client.flush().await.unwrap();
    ports.blobs.put(bytes.clone()).await.unwrap();
    assert!(ports.blobs.list(None, 1).await.unwrap()[0].modified > put_at, "as if it was put now");
    assert!(!ports.blobs.delete(&digest, put_at).await.unwrap(), "so nobody deletes it");
    let (head, last) = (format!("dagbok.a.blobs.{digest}"), "dagbok.a.blobs.last");
    client.publish(last, Bytes::new()).await.unwrap();
    let subjects = sent.by_ref().map(|message| message.subject.to_string());
    let subjects: Vec<String> =
        subjects.take_while(|subject| std::future::ready(subject != last)).collect().await;
    assert_eq!(subjects, std::slice::from_ref(&head), "its head alone");
    let stream = async_nats::jetstream::new(client).get_stream("dagbok_a_blobs").await.unwrap();
    stream.purge().filter(format!("{head}.1")).await.unwrap();
    assert!(ports.blobs.get(&digest).await.is_err(), "a piece is gone");
    ports.blobs.put(bytes.clone()).await.unwrap();
    assert_eq!(ports.blobs.get(&digest).await.unwrap(), Some(bytes), "it is whole again");
}

#[tokio::test]
async fn snapshots_are_replaced_whole_and_leave_nothing_behind() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let (ports, _connection) = on(&server, "a").await;
    let snapshots = ports.snapshots;
    assert_eq!(snapshots.get("fold").await.unwrap(), None);
    for size in [10, 900_000, 0, 3_000_000, 5] {
        let bytes: Bytes = (0..=252).cycle().take(size).collect();
        snapshots.put("fold", bytes.clone()).await.unwrap();
        assert_eq!(snapshots.get("fold").await.unwrap(), Some(bytes), "{size}");
    }
    snapshots.put("other", Bytes::from_static(b"o")).await.unwrap();
    let error = snapshots.put("no.dots", Bytes::new()).await.unwrap_err();
    assert!(matches!(error, PortError::Refused { .. }), "{error}");
    let client = async_nats::connect(server.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let stream = jetstream.get_stream("dagbok_a_snapshots").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 4, "two heads and a piece for each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedulers_that_start_at_once_make_the_namespace_together() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    for round in 0..20 {
        let starting: Vec<_> = (0..6)
            .map(|_| {
                let settings = ConnectSettings::new(server.url(), format!("together{round}"));
                tokio::spawn(connect(settings))
            })
            .collect();
        for one in starting {
            one.await.unwrap().map(drop).expect("one of them took the others' streams for remains");
        }
    }
}
