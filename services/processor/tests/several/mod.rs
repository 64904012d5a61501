//! Several DAG folders at once.
use std::{collections::BTreeMap, fs};

use dagbok_processor::ProcessorError;

use crate::bench::{Bench, Running, Said, dag};

/// A DAG whose id is what the helper beside its file says.
const BY_HELPER: &str =
    "from airflow import DAG\nfrom helper import NAME\ndag = DAG(NAME, schedule=None)\n";

/// What is said until each of `folders` is published: the DAGs of each file, and what was gone.
async fn said(
    running: &mut Running,
    folders: usize,
) -> (BTreeMap<String, Vec<String>>, Vec<String>) {
    let (mut read, mut gone, mut published) = (BTreeMap::new(), Vec::new(), 0);
    while published < folders {
        match running.next().await {
            Said::Read(file) => {
                let ids = file.dags.iter().map(|dag| {
                    assert_eq!(dag.spec.source.file, file.file);
                    dag.spec.dag_id.to_string()
                });
                read.insert(file.file.clone(), ids.collect());
            }
            Said::Gone(file) => gone.push(file),
            Said::Bundle(_) => published += 1,
        }
    }
    (read, gone)
}

fn read(of: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
    of.iter().map(|(file, dag)| ((*file).to_owned(), vec![(*dag).to_owned()])).collect()
}

/// Folders `a` and `b`, with a file and a helper of the same names in both.
fn two() -> Bench {
    let bench = Bench::new();
    for folder in ["a", "b"] {
        bench.write_in(folder, "etl.py", BY_HELPER.as_bytes());
        bench.write_in(folder, "helper.py", format!("NAME = 'from_{folder}'\n").as_bytes());
    }
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn each_folder_is_read_and_packed_by_itself_and_its_files_are_told_apart() {
    let bench = two();
    let mut running = bench.start_folders(&["a", "b"]);
    let (files, _) = said(&mut running, 2).await;
    assert_eq!(files, read(&[("etl.py", "from_a"), ("b//etl.py", "from_b")]));
    let published = running.published.clone();
    assert!(published.keys().map(Option::as_deref).eq([None, Some("b")]), "{published:?}");
    for (folder, name) in [(None, "a"), (Some("b".to_owned()), "b")] {
        let helper = bench.content(&published[&folder], "helper.py").await;
        assert_eq!(helper, format!("NAME = 'from_{name}'\n"));
    }
    // A helper that changes is the business of its own folder.
    bench.write_in("b", "helper.py", b"NAME = 'changed'\n");
    let (files, _) = said(&mut running, 1).await;
    assert_eq!(files, read(&[("b//etl.py", "changed")]));
    fs::remove_file(bench.folder("b").join("etl.py")).unwrap();
    let (files, gone) = said(&mut running, 1).await;
    assert_eq!((files.len(), gone), (0, vec!["b//etl.py".to_owned()]));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_more_or_less_changes_nothing_about_the_others_files() {
    let bench = two();
    let mut running = bench.start_folders(&["b"]);
    assert_eq!(said(&mut running, 1).await.0, read(&[("etl.py", "from_b")]));
    running.stop().await;
    // Named first, the new one is the new one.
    let mut running = bench.start_folders(&["a", "b"]);
    let (files, gone) = said(&mut running, 2).await;
    assert_eq!(files, read(&[("etl.py", "from_b"), ("a//etl.py", "from_a")]));
    assert_eq!(gone, Vec::<String>::new());
    running.stop().await;
    // Of a folder that is not among them any more the files are gone, and no others.
    let mut running = bench.start_folders(&["a"]);
    let (files, gone) = said(&mut running, 1).await;
    assert_eq!(files, read(&[("a//etl.py", "from_a")]));
    assert_eq!(gone, ["etl.py"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_away_keeps_its_files_and_is_in_no_others_way() {
    let bench = two();
    let mut running = bench.start_folders(&["a", "b"]);
    said(&mut running, 2).await;
    fs::rename(bench.folder("b"), bench.folder("away")).unwrap();
    bench.write_in("a", "helper.py", b"NAME = 'meanwhile'\n");
    let (files, gone) = said(&mut running, 1).await;
    assert_eq!((files, gone.len()), (read(&[("etl.py", "meanwhile")]), 0));
    fs::write(bench.folder("away").join("helper.py"), "NAME = 'back'\n").unwrap();
    fs::rename(bench.folder("away"), bench.folder("b")).unwrap();
    let (files, gone) = said(&mut running, 1).await;
    assert_eq!((files, gone.len()), (read(&[("b//etl.py", "back")]), 0));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dag_that_a_folder_lets_go_of_is_another_folders_that_has_it_too() {
    let bench = Bench::new();
    bench.write_in("a", "first.py", dag("same").as_bytes());
    bench.write_in("b", "second.py", dag("same").as_bytes());
    let mut running = bench.start_folders(&["a", "b"]);
    said(&mut running, 2).await;
    fs::remove_file(bench.folder("a").join("first.py")).unwrap();
    // Read again once the scheduler knows that the first is gone.
    let (mut gone, mut again) = (false, false);
    while !again {
        match running.next().await {
            Said::Gone(file) => gone = file == "first.py",
            Said::Read(file) => again = gone && file.file == "b//second.py",
            Said::Bundle(_) => {}
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processors_of_one_namespace_that_name_their_folders_leave_each_others_files() {
    let bench = two();
    let mut one = bench.start_folders(&["one=a"]);
    assert_eq!(said(&mut one, 1).await.0, read(&[("one//etl.py", "from_a")]));
    one.stop().await;
    let mut two = bench.start_folders(&["two=b"]);
    let told = said(&mut two, 1).await;
    assert_eq!(told, (read(&[("two//etl.py", "from_b")]), vec![]), "the other is away for now");
    two.stop().await;
    // One that names none of its folders has all, but for those.
    bench.write_in("c", "more.py", dag("more").as_bytes());
    let mut third = bench.start_folders(&["c"]);
    assert_eq!(said(&mut third, 1).await, (read(&[("more.py", "more")]), vec![]));
    third.stop().await;
    let mut one = bench.start_folders(&["one=a"]);
    assert_eq!(said(&mut one, 1).await.1, Vec::<String>::new());
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_given_another_name_leaves_its_files_by_the_one_before() {
    let bench = two();
    let none = Vec::<String>::new();
    for (folder, file, gone) in [
        ("a", "etl.py", &none[..]),
        ("red=a", "red//etl.py", &["etl.py".to_owned()]),
        ("blue=a", "blue//etl.py", &["red//etl.py".to_owned()]),
        // Where it is given none it keeps the one it had.
        ("a", "blue//etl.py", &[]),
        ("default=a", "etl.py", &["blue//etl.py".to_owned()]),
        ("a", "etl.py", &[]),
    ] {
        let mut running = bench.start_folders(&[folder]);
        let told = said(&mut running, 1).await;
        assert_eq!(told, (read(&[(file, "from_a")]), gone.to_vec()), "{folder}");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renaming_that_nobody_heard_of_is_told_of_at_the_next_start() {
    let bench = two();
    let mut running = bench.start_folders(&["red=a"]);
    said(&mut running, 1).await;
    running.stop().await;
    let mut running = bench.start_folders_unheard(&["blue=a"]);
    assert_eq!(running.next().await, Said::Gone("red//etl.py".to_owned()));
    running.stop().await;
    let mut running = bench.start_folders(&["blue=a"]);
    let told = said(&mut running, 1).await;
    assert_eq!(told, (read(&[("blue//etl.py", "from_a")]), vec!["red//etl.py".to_owned()]));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_processor_elsewhere_has_is_left_to_it() {
    let bench = two();
    let mut one = bench.start_folders_on("one", &["default=a"]);
    assert_eq!(said(&mut one, 1).await.0, read(&[("etl.py", "from_a")]));
    one.stop().await;
    // The folder of the same path there is another.
    let mut two = bench.start_folders_on("two", &["blue=a"]);
    assert_eq!(said(&mut two, 1).await, (read(&[("blue//etl.py", "from_a")]), vec![]));
    two.stop().await;
    let mut two = bench.start_folders_on("two", &["red=a"]);
    let told = said(&mut two, 1).await;
    assert_eq!(told, (read(&[("red//etl.py", "from_a")]), vec!["blue//etl.py".to_owned()]));
    two.stop().await;
    // Nor is it taken by who names none.
    let mut third = bench.start_folders_on("three", &["b"]);
    assert_eq!(said(&mut third, 1).await, (read(&[("b//etl.py", "from_b")]), vec![]));
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_within_another_is_refused() {
    let bench = two();
    let nested = bench.folders(&["a", "a/sub"]);
    bench.write_in("a/sub", "x.py", b"");
    let refused = bench.run_all_to_end(nested).await.unwrap_err();
    assert!(matches!(refused, ProcessorError::Nested { .. }), "{refused}");
}
