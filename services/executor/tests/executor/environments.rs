//! Environments of DAG folders: which Python a try runs in.
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use dagbok_events::FailureKind;
use dagbok_executor::{Environment, FindEnvironment, FolderEnvironments};
use dagbok_protocol::ReportBody;
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

/// The Python of an environment: it says its name to what runs in it.
fn environment(places: &Path, name: &str) -> Environment {
    let at = places.join(name);
    let real = python();
    let text = format!("#!/bin/sh\nWHERE={name} exec {} \"$@\"\n", real.display());
    fs::write(&at, text).unwrap();
    fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).unwrap();
    Environment { python: at, python_path: Some(python_path()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_runs_in_the_environment_whose_lock_its_bundle_has() {
    let places = tempfile::tempdir().unwrap();
    let (red, blue) = (environment(places.path(), "red"), environment(places.path(), "blue"));
    let looked = Arc::new(AtomicUsize::new(0));
    let find: FindEnvironment = {
        let looked = Arc::clone(&looked);
        Arc::new(move |folder| {
            looked.fetch_add(1, Ordering::Relaxed);
            let is_blue = fs::read_to_string(folder.join("dagbok.lock")).unwrap() == "b";
            let found = if is_blue { Ok(blue.clone()) } else { Err("it is not here".to_owned()) };
            Box::pin(async move { found })
        })
    };
    let known = [(digest_of(b"r"), red)].into();
    let environments = Some(FolderEnvironments { known, find });
    let mut rig = Rig::with(SAYS, memory::ports(), |settings| {
        settings.environments = environments;
    })
    .await;
    let cases = [
        (None, Some("none")),
        (Some("r"), Some("red")),
        (Some("b"), Some("blue")),
        (Some("?"), None),
    ];
    for (at, (lock, said)) in cases.into_iter().cycle().take(8).enumerate() {
        let mut files = vec![("dag.py", SAYS)];
        files.extend(lock.map(|lock| ("dagbok.lock", lock)));
        let mut item = rig.item("says");
        item.bundle = put_bundle(&rig.ports, &files).await;
        item.key.run_id = format!("run{at}").parse().unwrap();
        let end = rig.run_item(&item).await;
        let Some(said) = said else {
            let ReportBody::Failed { failure, .. } = &end else { panic!("{end:?}") };
            assert_eq!(failure.kind, FailureKind::CouldNotStart);
            assert!(failure.message.contains("it is not here"), "{failure:?}");
            continue;
        };
        let log = rig.log(&end).await;
        let said = format!("I am in {said}");
        assert!(log.iter().any(|line| line.m.contains(&said)), "{lock:?}: {log:?}");
    }
    // The one that was found stays; the one that is not here is looked for anew.
    assert_eq!(looked.load(Ordering::Relaxed), 3);
    rig.stop().await;
}
