//! Which crate of ours may know which, and which of the others' only one of ours may name.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// What each crate may know of ours. Arrows point at `dagbok-events`.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("dagbok-events", &[]),
    ("dagbok-protocol", &["events"]),
    ("dagbok-domain", &["events", "protocol"]),
    ("dagbok-runlog", &[]),
    ("dagbok-runlog-embedded", &["runlog"]),
    ("dagbok-runlog-jetstream", &["runlog"]),
    ("dagbok-config", &[]),
    ("dagbok-alerts", &["events", "protocol"]),
    ("dagbok-secrets", &["events", "protocol"]),
    ("dagbok-zipped", &["protocol"]),
    ("dagbok-runtime", &["events"]),
    ("dagbok-telemetry", &["events", "metrics", "runtime"]),
    ("dagbok-metrics", &["events", "protocol", "alerts"]),
    ("dagbok-lineage", &["events"]),
    ("dagbok-projection", &["events", "runlog", "runtime"]),
    ("dagbok-archive", &["runlog"]),
    ("dagbok-objects", &["runlog"]),
    ("dagbok-rows", &["events", "runlog", "projection", "runtime"]),
    ("dagbok-leading", &["events", "protocol", "runlog", "runtime"]),
    ("dagbok-inbox", &["events", "protocol", "secrets", "runlog", "runtime"]),
    (
        "dagbok-scheduler",
        &[
            "events",
            "protocol",
            "domain",
            "runlog",
            "archive",
            "projection",
            "inbox",
            "leading",
            "runtime",
            "telemetry",
        ],
    ),
    (
        "dagbok-executor",
        &["events", "protocol", "zipped", "runlog", "inbox", "runtime", "telemetry"],
    ),
    ("dagbok-pods", &["events", "protocol", "runlog", "inbox", "runtime"]),
    (
        "dagbok-processor",
        &["events", "protocol", "zipped", "runlog", "inbox", "runtime", "telemetry"],
    ),
    (
        "dagbok-api",
        &[
            "events",
            "protocol",
            "alerts",
            "secrets",
            "zipped",
            "runlog",
            "projection",
            "rows",
            "inbox",
            "runtime",
            "telemetry",
            "ui",
        ],
    ),
    ("dagbok-ui", &[]),
    (
        "dagbok-alerting",
        &["events", "alerts", "config", "leading", "runlog", "projection", "runtime", "telemetry"],
    ),
];

/// The one that wires them all.
const BINARY: &str = "dagbok";

/// Others' crates that only these of ours name: what they stand for is met behind a trait of ours.
const ONLY_NAMED_BY: &[(&str, &[&str])] = &[
    ("async-nats", &["dagbok-runlog-jetstream"]),
    ("sled", &["dagbok-rows"]),
    ("axum", &["dagbok-api", "dagbok"]),
    ("clap", &["dagbok"]),
    ("anyhow", &["dagbok"]),
    ("croner", &["dagbok-domain"]),
    ("uuid", &["dagbok-runtime"]),
    ("lettre", &["dagbok-alerting"]),
    ("object_store", &["dagbok-objects"]),
    ("kube", &["dagbok-pods", "dagbok"]),
    ("k8s-openapi", &["dagbok-pods"]),
];

/// Crates that the rules must not stand on: no runtime, no I/O, no chance.
const NOT_UNDER_THE_RULES: &[&str] = &[
    "tokio",
    "async-std",
    "smol",
    "futures",
    "futures-util",
    "futures-core",
    "mio",
    "rand",
    "rand_core",
    "getrandom",
    "fastrand",
    "socket2",
    "reqwest",
    "hyper",
    "async-nats",
    "sled",
    "tracing",
    "log",
    "notify",
    "nix",
    "rustix",
    "chrono",
];

/// The crates that are pure.
pub const PURE: &[&str] = &[
    "dagbok-events",
    "dagbok-protocol",
    "dagbok-domain",
    "dagbok-alerts",
    "dagbok-metrics",
    "dagbok-lineage",
];

/// A crate of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Whether it lies in `tests/`.
    pub is_test: bool,
    /// What it is built from.
    pub needs: BTreeSet<String>,
    /// What its tests are built from besides.
    pub dev_needs: BTreeSet<String>,
}

/// Our crates, from `cargo metadata`.
pub fn members(metadata: &Value) -> Result<Vec<Member>> {
    let root = metadata["workspace_root"].as_str().context("no workspace_root")?;
    let ours: Vec<&Value> =
        metadata["workspace_members"].as_array().into_iter().flatten().collect();
    let packages = metadata["packages"].as_array().context("no packages")?;
    packages
        .iter()
        .filter(|package| ours.contains(&&package["id"]))
        .map(|it| member(root, it))
        .collect()
}

fn member(root: &str, package: &Value) -> Result<Member> {
    let name = package["name"].as_str().context("a package without name")?.to_owned();
    let manifest = package["manifest_path"].as_str().context("a package without manifest")?;
    let is_test = manifest.strip_prefix(root).is_some_and(|path| path.starts_with("/tests/"));
    let (mut needs, mut dev_needs) = (BTreeSet::new(), BTreeSet::new());
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let of = dependency["name"].as_str().context("a dependency without name")?.to_owned();
        if dependency["kind"] == "dev" {
            dev_needs.insert(of)
        } else {
            needs.insert(of)
        };
    }
    Ok(Member { name, is_test, needs, dev_needs })
}

/// Arrows that point where they must not.
pub fn wrong_arrows(members: &[Member]) -> Vec<String> {
    let ours: BTreeMap<&str, &Member> = members.iter().map(|it| (it.name.as_str(), it)).collect();
    let mut wrong = Vec::new();
    for member in members.iter().filter(|member| !member.is_test && member.name != BINARY) {
        let Some((_, may)) = MAY_KNOW.iter().find(|(name, _)| *name == member.name) else {
            wrong.push(format!("{} is not in the table of tests/house/src/arrows.rs", member.name));
            continue;
        };
        let may: BTreeSet<String> = may.iter().map(|name| format!("dagbok-{name}")).collect();
        for need in member.needs.iter().filter(|need| ours.contains_key(need.as_str())) {
            if !may.contains(need) {
                wrong.push(format!("{} must not know {need}", member.name));
            }
        }
        // A test may use test crates, and its own crate's features; no more of ours than the crate.
        for need in &member.dev_needs {
            let Some(other) = ours.get(need.as_str()) else { continue };
            if !(other.is_test || may.contains(need)) {
                wrong.push(format!(
                    "the tests of {} must not know {need}; put them into tests/",
                    member.name
                ));
            }
        }
    }
    for member in members {
        for need in member.needs.iter().filter(|_| !member.is_test) {
            if ours.get(need.as_str()).is_some_and(|other| other.is_test) {
                wrong.push(format!("{} must not be built from {need}, a test crate", member.name));
            }
            for (other, by) in ONLY_NAMED_BY {
                if other == need && !by.contains(&member.name.as_str()) {
                    wrong.push(format!(
                        "{} must not name {other}: only {} may",
                        member.name,
                        by.join(", ")
                    ));
                }
            }
        }
    }
    wrong
}

/// What a pure crate stands on and must not, from the lines of `cargo tree`.
pub fn impure(tree: &str) -> Vec<&str> {
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    names.into_iter().filter(|name| NOT_UNDER_THE_RULES.contains(name)).collect()
}
