//! Environments of DAG folders: which Python a try runs in.
use std::{fs, os::unix::fs::PermissionsExt as _};

use dagbok_executor::Environment;
use dagbok_runlog::{digest_of, memory};

use crate::rig::{Rig, put_bundle, python, python_path};

/// A task that says where it is.
const SAYS: &str = "import os
from airflow import DAG
from airflow.decorators import task

with DAG('d', schedule=None):
    @task
    def says():
        print('I am in', os.environ.get('WHERE', 'none'))
    says()
";

#[tokio::test(flavor = "multi_thread")]
async fn a_try_runs_in_the_environment_whose_lock_its_bundle_has() {
    let places = tempfile::tempdir().unwrap();
    let environment = |name: &str, lock: &str| {
        let at = places.path().join(name);
        let real = python();
        let text = format!("#!/bin/sh\nWHERE={name} exec {} \"$@\"\n", real.display());
        fs::write(&at, text).unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).unwrap();
        let environment = Environment { python: at, python_path: Some(python_path()) };
        (digest_of(lock.as_bytes()), environment)
    };
    let mut rig = Rig::with(SAYS, memory::ports(), |settings| {
        settings.environments = [environment("red", "r"), environment("blue", "b")].into();
    })
    .await;
    let cases = [(None, "none"), (Some("r"), "red"), (Some("b"), "blue"), (Some("?"), "none")];
    for (at, (lock, said)) in cases.into_iter().enumerate() {
        let mut files = vec![("dag.py", SAYS)];
        files.extend(lock.map(|lock| ("dagbok.lock", lock)));
        let mut item = rig.item("says");
        item.bundle = put_bundle(&rig.ports, &files).await;
        item.key.run_id = format!("run{at}").parse().unwrap();
        let end = rig.run_item(&item).await;
        let log = rig.log(&end).await;
        let said = format!("I am in {said}");
        assert!(log.iter().any(|line| line.m.contains(&said)), "{lock:?}: {log:?}");
    }
    rig.stop().await;
}
