//! A thousand pods at once, and how fast pods are made.
#![expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "figures for people")]
use std::time::{Duration, Instant};

use serde_json::json;

use crate::rig::{Rig, base_is, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_pods_at_once_and_none_is_left() {
    const PODS: usize = 1_000;
    let rig = Rig::with(|settings| {
        (settings.slots, settings.lease) = (1_000, Duration::from_secs(30));
    })
    .await;
    let began = Instant::now();
    for n in 0..PODS {
        rig.queue(&format!("t{n}"), json!({})).await;
    }
    until("all are made", async || rig.server.pods().len() == PODS).await;
    let took = began.elapsed();
    println!("{PODS} pods made in {took:?}: {:.0} a second", PODS as f64 / took.as_secs_f64());
    let began = Instant::now();
    for name in rig.server.pods().into_keys() {
        rig.server.set_status(&name, base_is("Succeeded", json!({"terminated": {"exitCode": 0}})));
    }
    rig.nothing_is_left().await;
    println!("and cleared away in {:?}", began.elapsed());
    assert_eq!(rig.server.made(), PODS as u64);
}

/// From the item on its queue to the request at the API server, at 200 a second.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn from_the_queue_to_the_api_server() {
    const PODS: u32 = 2_000;
    let rig = Rig::with(|settings| {
        (settings.slots, settings.lease) = (2_000, Duration::from_secs(30));
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    let mut queued = Vec::new();
    for n in 0..PODS {
        tokio::time::sleep_until((began + Duration::from_millis(5) * n).into()).await;
        let task = format!("t{n}");
        queued.push((task.clone(), Instant::now()));
        rig.queue(&task, json!({})).await;
    }
    until("all are made", async || rig.server.made() == u64::from(PODS)).await;
    let took = began.elapsed();
    let made = rig.server.made_at();
    let mut waits: Vec<Duration> =
        queued.iter().map(|(task, at)| made[task].duration_since(*at)).collect();
    waits.sort_unstable();
    let at = |part: usize| waits[waits.len() * part / 100];
    println!(
        "{PODS} pods in {took:?} ({:.0} a second): p50 {:?}, p99 {:?}, most {:?}",
        f64::from(PODS) / took.as_secs_f64(),
        at(50),
        at(99),
        waits[waits.len() - 1]
    );
}
