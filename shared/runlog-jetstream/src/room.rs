//! How much JetStream may hold in files, and how much of that is taken. The account's own limit comes with its
//! information, which every user may ask for; what a server may hold stands on its monitoring page alone.
use std::{collections::BTreeMap, time::Duration};

use dagbok_runlog::PortResult;
use futures::future::join_all;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use crate::{durability::page, link::Link, settings::ConnectSettings};

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Whose limit it is: the account's, or a server's by its name.
    pub of: String,
    /// What is taken of it, in bytes.
    pub used: u64,
    /// What it allows, in bytes.
    pub most: u64,
}

/// All limits that are known, and what could not be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rooms {
    /// Those that there are.
    pub limits: Vec<Room>,
    /// Monitoring addresses that did not tell, each with why.
    pub failures: Vec<String>,
}

/// The account, as the server tells of it.
#[derive(Debug, Deserialize)]
struct Account {
    #[serde(flatten)]
    whole: Usage,
    /// Limits by the number of copies that streams have.
    #[serde(default)]
    tiers: BTreeMap<String, Usage>,
}

#[derive(Debug, Deserialize)]
struct Usage {
    #[serde(default)]
    storage: u64,
    #[serde(default)]
    limits: Limits,
}

#[derive(Debug, Default, Deserialize)]
struct Limits {
    /// Negative where there is none.
    #[serde(default)]
    max_storage: i64,
}

/// What of a server's page is read.
#[derive(Debug, Deserialize)]
struct Varz {
    #[serde(default)]
    server_name: String,
    jetstream: OnServer,
}

#[derive(Debug, Deserialize)]
struct OnServer {
    config: ServerLimits,
    stats: Taken,
}

#[derive(Debug, Deserialize)]
struct ServerLimits {
    max_storage: i64,
}

#[derive(Debug, Deserialize)]
struct Taken {
    storage: u64,
}

/// All that is known of it now.
pub(crate) async fn of(link: &Link, settings: &ConnectSettings) -> PortResult<Rooms> {
    let account: Account =
        link.api("INFO", &json!({})).await.map_err(|error| error.port("JetStream"))?;
    let mut rooms = Rooms { limits: account.limits(), failures: Vec::new() };
    let monitors: Vec<&str> = settings.monitors().collect();
    for one in told(&monitors, settings.timeout).await {
        match one {
            Ok(room) => rooms.limits.extend(room),
            Err(why) => rooms.failures.push(why),
        }
    }
    Ok(rooms)
}

/// What each monitoring address tells, in their order. They are asked all at once: those that hang cost one wait.
async fn told(monitors: &[&str], within: Duration) -> Vec<Result<Option<Room>, String>> {
    let asked: Vec<_> = monitors.iter().map(|monitor| ask(monitor, within)).collect();
    join_all(asked).await
}

async fn ask(monitor: &str, within: Duration) -> Result<Option<Room>, String> {
    let read = match timeout(within, page(monitor, "/varz")).await {
        Ok(page) => page.and_then(|page| on_server(&page)),
        Err(_) => Err("it does not answer".to_owned()),
    };
    read.map_err(|why| format!("{monitor}: {why}"))
}

impl Account {
    fn limits(&self) -> Vec<Room> {
        let whole = ("the account of JetStream".to_owned(), &self.whole);
        let tiers = self.tiers.iter();
        let tiers = tiers.map(|(tier, usage)| (format!("the account of JetStream, {tier}"), usage));
        let all = std::iter::once(whole).chain(tiers);
        all.filter_map(|(of, usage)| room(of, usage.storage, usage.limits.max_storage)).collect()
    }
}

/// A limit, where there is one.
fn room(of: String, used: u64, most: i64) -> Option<Room> {
    let most = u64::try_from(most).ok().filter(|most| *most > 0)?;
    Some(Room { of, used, most })
}

/// What a server's page says of the files of JetStream.
fn on_server(page: &str) -> Result<Option<Room>, String> {
    let Varz { server_name, jetstream } = serde_json::from_str(page)
        .map_err(|_| "the page says nothing of what JetStream may hold".to_owned())?;
    let of = format!("JetStream on {server_name}");
    Ok(room(of, jetstream.stats.storage, jetstream.config.max_storage))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(text: &str) -> Vec<Room> {
        serde_json::from_str::<Account>(text).expect("an account").limits()
    }

    #[test]
    fn a_limit_of_the_account_is_one_and_none_is_none() {
        let none = r#"{"memory":0,"storage":7,"limits":{"max_storage":-1}}"#;
        assert_eq!(account(none), []);
        let one = r#"{"memory":0,"storage":7,"limits":{"max_storage":100}}"#;
        let of = "the account of JetStream".to_owned();
        assert_eq!(account(one), [Room { of, used: 7, most: 100 }]);
        let tiers = r#"{"storage":9,"limits":{},"tiers":{"R3":{"storage":9,"limits":{"max_storage":50}},"R1":{"storage":0}}}"#;
        let of = "the account of JetStream, R3".to_owned();
        assert_eq!(account(tiers), [Room { of, used: 9, most: 50 }]);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_hang_cost_one_wait() {
        let mut listening = Vec::new();
        for _ in 0..6 {
            listening.push(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let names = listening.iter().map(|it| format!("http://{}", it.local_addr().unwrap()));
        let names: Vec<String> = names.collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (begun, within) = (tokio::time::Instant::now(), Duration::from_secs(10));
        let told = told(&names, within).await;
        let hangs = names.iter().map(|name| Err(format!("{name}: it does not answer")));
        let hang: Vec<Result<Option<Room>, String>> = hangs.collect();
        assert_eq!(told, hang);
        assert!(begun.elapsed() < within * 2, "{:?}", begun.elapsed());
    }

    #[test]
    fn a_page_without_jetstream_says_so() {
        let said = on_server(r#"{"server_name":"n1","jetstream":{}}"#);
        assert_eq!(said, Err("the page says nothing of what JetStream may hold".to_owned()));
        assert!(on_server("<html>").is_err());
    }
}
