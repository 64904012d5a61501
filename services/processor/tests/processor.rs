//! The processor against the real Python parser, with a scheduler that only writes down what it is told.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod bench;
mod several;

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    os::unix::fs::{FileExt as _, symlink},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bench::{Bench, Said, dag, silent};
use dagbok_processor::mark_home;
use dagbok_protocol::DagFile;
use dagbok_zipped::made::{Packed, zip_of};
use tokio::io::AsyncReadExt as _;

#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_told_once_and_then_the_folder() {
    let bench = Bench::new();
    bench.write("one.py", &dag("one"));
    bench.write("sub/two.py", &dag("two"));
    bench.write("helper.py", "VALUE = 1\n");
    bench.write("notes.txt", "airflow dag\n");
    let mut running = bench.start();
    let mut files = running.next_read(2).await;
    files.sort_by(|a, b| a.file.cmp(&b.file));
    assert_eq!(
        files.iter().map(|file| file.file.as_str()).collect::<Vec<_>>(),
        ["one.py", "sub/two.py"]
    );
    assert_eq!(files[0].errors, []);
    assert_eq!(files[0].dags[0].spec.dag_id.as_str(), "one");
    assert_eq!(files[0].dags[0].spec.tasks.len(), 2);
    assert_eq!(files[0].dags[0].spec.tasks[1].upstream, [0]);
    let Said::Bundle(bundle) = running.next().await else { panic!("the folder comes last") };
    assert_eq!(bundle, files[0].bundle.as_str());
    let names = bench.bundle(&bundle).await;
    assert_eq!(names, ["helper.py", "notes.txt", "one.py", "sub/two.py"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_read_again_only_when_its_text_or_what_it_reads_changed() {
    let bench = Bench::new();
    bench.write("apart.py", &dag("apart"));
    bench.write("lib/names.py", "NAME = 'first'\n");
    bench.write("settings.json", r#"{"retries": 1}"#);
    bench.write(
        "uses.py",
        "import json, pathlib\nfrom lib.names import NAME\nfrom airflow import DAG\n\
         from airflow.operators.empty import EmptyOperator\n\
         retries = json.loads((pathlib.Path(__file__).parent / 'settings.json').read_text())['retries']\n\
         with DAG(NAME, schedule=None):\n    EmptyOperator(task_id='a', retries=retries)\n",
    );
    let mut running = bench.start();
    running.next_read(2).await;
    let Said::Bundle(first) = running.next().await else { panic!("the folder comes last") };

    // The same text with another time: nothing to tell, so that the next word is about the helper.
    bench.write("apart.py", &dag("apart"));
    bench.write("lib/names.py", "NAME = 'second'\n");
    let read = running.next_read(1).await.remove(0);
    assert_eq!((read.file.as_str(), read.dags[0].spec.dag_id.as_str()), ("uses.py", "second"));
    let Said::Bundle(second) = running.next().await else { panic!("the folder comes last") };
    assert_ne!(first, second);

    bench.write("settings.json", r#"{"retries": 4}"#);
    let read = running.next_read(1).await.remove(0);
    assert_eq!((read.file.as_str(), read.dags[0].spec.tasks[0].retries), ("uses.py", 4));
    assert!(matches!(running.next().await, Said::Bundle(_)));

    // What nobody reads changes the folder's code and no DAG's meaning.
    bench.write("lib/unused.py", "X = 1\n");
    assert!(matches!(running.next().await, Said::Bundle(_)));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_file_does_there_is_a_clear_error_and_the_others_are_read() {
    let bench = Bench::new();
    let head = "from airflow import DAG\n";
    bench.write("good.py", &dag("good"));
    bench.write("syntax.py", &format!("{head}def broken(:\n"));
    bench.write("missing.py", &format!("{head}\nimport no_such_module\n"));
    bench.write("exits.py", &format!("{head}import sys\nsys.exit(3)\n"));
    bench.write("vanishes.py", &format!("{head}import os\nos._exit(0)\n"));
    bench.write(
        "aborts.py",
        &format!("{head}import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"),
    );
    bench.write("noisy.py", &format!("print('{{' * 1000)\n{}", dag("noisy")));
    bench.write_bytes(
        "package.zip",
        &zip_of(&[("inside.py", b"airflow dag")], Packed::Stored)[..60],
    );
    let mut running = bench.start();
    let files = running.next_read(8).await;
    let of = |name: &str| files.iter().find(|file| file.file == name).unwrap();
    assert_eq!((of("good.py").dags.len(), of("good.py").errors.len()), (1, 0));
    assert_eq!((of("noisy.py").dags.len(), of("noisy.py").errors.len()), (1, 0));
    let error = |name: &str| &of(name).errors[0];
    assert_eq!(
        (error("syntax.py").exception.as_str(), error("syntax.py").line),
        ("SyntaxError", Some(2))
    );
    assert_eq!(
        (error("missing.py").exception.as_str(), error("missing.py").line),
        ("ModuleNotFoundError", Some(3))
    );
    assert!(error("missing.py").traceback.contains("no_such_module"));
    assert_eq!(error("exits.py").exception, "SystemExit");
    assert!(error("vanishes.py").message.contains("exit code 0"), "{:?}", error("vanishes.py"));
    assert!(error("aborts.py").message.contains("SIGKILL"), "{:?}", error("aborts.py"));
    assert_eq!(error("package.zip").exception, "BadZipFile");
    assert!(error("package.zip").message.contains("not complete"));

    // A mended file has no error any more.
    bench.write("syntax.py", &dag("syntax"));
    let mended = loop {
        match running.next().await {
            Said::Read(file) if file.file == "syntax.py" => break file,
            _ => {}
        }
    };
    assert_eq!((mended.dags.len(), mended.errors.len()), (1, 0));
    running.stop().await;
}

/// A zip with a module that has a DAG called as its helper says, a second DAG, and what is no DAG file.
fn package(name: &str) -> Vec<u8> {
    let helper = format!("NAME = '{name}'\n");
    let first =
        "from airflow import DAG\nfrom lib.names import NAME\ndag = DAG(NAME, schedule=None)\n";
    let files: [(&str, &[u8]); 5] = [
        ("first.py", first.as_bytes()),
        ("second.py", b"from airflow import DAG\ndag = DAG('other', schedule=None)\n"),
        ("tool.py", b"raise RuntimeError"),
        ("lib/__init__.py", b""),
        ("lib/names.py", helper.as_bytes()),
    ];
    zip_of(&files, Packed::Deflated)
}

/// What was told of files, by name: the ids of the DAGs, and the first error.
fn told(files: &[DagFile]) -> Vec<(&str, Vec<&str>, Option<&str>)> {
    let mut told: Vec<_> = files
        .iter()
        .map(|it| {
            let ids = it.dags.iter().map(|dag| dag.spec.dag_id.as_str()).collect();
            (it.file.as_str(), ids, it.errors.first().map(|error| error.exception.as_str()))
        })
        .collect();
    told.sort();
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zip_that_is_half_written_keeps_its_dags_whatever_part_of_it_is_there() {
    let bench = Bench::new();
    bench.write_bytes("p.zip", &package("one"));
    let mut running = bench.start();
    assert_eq!(told(&running.next_read(2).await).len(), 2);
    assert!(matches!(running.next().await, Said::Bundle(_)));
    // Neither has a name of a module in it. What changes beside them is read and published meanwhile.
    for (part, name) in [(&package("two")[..20], "torn"), (&b""[..], "empty")] {
        bench.write_bytes("p.zip", part);
        bench.write(&format!("{name}.py"), &dag(name));
        loop {
            match running.next().await {
                Said::Gone(file) => panic!("{file} is not gone"),
                Said::Read(file) if file.file == format!("{name}.py") => break,
                Said::Read(_) | Said::Bundle(_) => {}
            }
        }
        loop {
            match running.next().await {
                Said::Gone(file) => panic!("{file} is not gone"),
                Said::Bundle(_) => break,
                Said::Read(_) => {}
            }
        }
    }
    running.stop().await;

    // A later start knows of them from before.
    let mut running = bench.start();
    loop {
        match running.next().await {
            Said::Gone(file) => panic!("{file} is not gone"),
            Said::Bundle(_) => break,
            Said::Read(_) => {}
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_modules_of_a_zip_are_files_that_change_with_it() {
    let bench = Bench::new();
    bench.write_bytes("team/p.zip", &package("one"));
    bench.write_bytes("data.zip", &zip_of(&[("a.csv", b"airflow dag")], Packed::Stored));
    bench.write_bytes("ignored.zip", &package("ignored"));
    bench.write(".airflowignore", "ignored.zip\n");
    let mut running = bench.start();
    let files = running.next_read(2).await;
    let (first, second) = ("team/p.zip/first.py", "team/p.zip/second.py");
    assert_eq!(told(&files), [(first, vec!["one"], None), (second, vec!["other"], None)]);
    assert_eq!(files[0].dags[0].spec.source.file, files[0].file);
    let Said::Bundle(bundle) = running.next().await else { panic!("the folder comes last") };
    assert_eq!(files[0].bundle.as_str(), bundle);

    // What a module imports from its zip changes with it; and so does what may have changed.
    bench.write_bytes("team/p.zip", &package("two"));
    let files = running.next_read(2).await;
    assert_eq!(told(&files), [(first, vec!["two"], None), (second, vec!["other"], None)]);
    assert!(matches!(running.next().await, Said::Bundle(changed) if changed != bundle));

    // One that can't be read, as one that is being written: what it had is not gone.
    bench.write_bytes("team/p.zip", &package("three")[..400]);
    let files = running.next_read(2).await;
    let broken = Some("BadZipFile");
    assert_eq!(told(&files), [(first, vec![], broken), (second, vec![], broken)]);
    assert!(matches!(running.next().await, Said::Bundle(_)));
    running.stop().await;

    // Nor at a later start, which knows of its modules only from before.
    let mut running = bench.start();
    let mut said = Vec::new();
    while !said.iter().any(|it| matches!(it, Said::Bundle(_))) {
        said.push(running.next().await);
    }
    assert!(
        !said.iter().any(|it| matches!(it, Said::Gone(file) if file != "team/p.zip")),
        "{said:?}"
    );
    for name in [first, second] {
        let failed = |it: &Said| matches!(it, Said::Read(file) if file.file == name && file.errors.len() == 1);
        assert!(said.iter().any(failed), "{name}: {said:?}");
    }

    // Whole again, with one module less.
    bench.write_bytes(
        "team/p.zip",
        &zip_of(&[("second.py", &dag("other").into_bytes())], Packed::Stored),
    );
    let mut gone = BTreeSet::new();
    let mended = loop {
        match running.next().await {
            Said::Gone(file) => drop(gone.insert(file)),
            Said::Read(file) if file.errors.is_empty() => break file,
            _ => {}
        }
    };
    assert_eq!(told(&[*mended]), [(second, vec!["other"], None)]);
    while !gone.contains(first) {
        if let Said::Gone(file) = running.next().await {
            gone.insert(file);
        }
    }
    assert!(!gone.contains(second));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_is_read_again_only_when_what_it_missed_comes() {
    let bench = Bench::new();
    let count = bench.outside("readings");
    bench.write(
        "broken.py",
        &format!(
            "open({count:?}, 'a').write('.')\nfrom team.names import NAME\nfrom airflow import DAG\n\
             with DAG(NAME, schedule=None): pass\n"
        ),
    );
    bench.write("syntax.py", &format!("def broken(:  # airflow dag\n{}", dag("syntax")));
    let mut running = bench.start();
    running.next_read(2).await;
    assert!(matches!(running.next().await, Said::Bundle(_)));

    // Code and data that have nothing to do with it, one of them a DAG file: it is told of, they are not.
    bench.write("names.py", "NAME = 'unrelated'\n");
    bench.write("data.json", "{}");
    bench.write("good.py", &dag("good"));
    assert_eq!(running.next_read(1).await[0].file, "good.py");
    assert!(matches!(running.next().await, Said::Bundle(_)));
    assert_eq!(fs::read_to_string(&count).unwrap(), ".");

    // Its package comes, without what it wants of that; then with it.
    bench.write("team/__init__.py", "");
    let read = running.next_read(1).await.remove(0);
    assert!(read.errors[0].message.contains("team.names"), "{:?}", read.errors);
    assert!(matches!(running.next().await, Said::Bundle(_)));
    bench.write("team/names.py", "NAME = 'mended'\n");
    let read = running.next_read(1).await.remove(0);
    assert_eq!((read.dags[0].spec.dag_id.as_str(), read.errors.len()), ("mended", 0));
    assert_eq!(fs::read_to_string(&count).unwrap(), "...");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optional_module_that_comes_is_another_meaning_of_a_good_file() {
    let bench = Bench::new();
    bench.write(
        "uses.py",
        "try:\n    from overrides import NAME\nexcept ImportError:\n    NAME = 'plain'\n\
         from airflow import DAG\nwith DAG(NAME, schedule=None): pass\n",
    );
    let mut running = bench.start();
    assert_eq!(running.next_read(1).await[0].dags[0].spec.dag_id.as_str(), "plain");
    assert!(matches!(running.next().await, Said::Bundle(_)));
    bench.write("overrides.py", "NAME = 'special'\n");
    assert_eq!(running.next_read(1).await[0].dags[0].spec.dag_id.as_str(), "special");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_makes_dags_of_what_lies_in_a_folder_makes_one_of_a_new_file() {
    let bench = Bench::new();
    bench.write("pipelines/first.yaml", "");
    bench.write(
        "factory.py",
        "import pathlib\nfrom airflow import DAG\n\
         for path in sorted((pathlib.Path(__file__).parent / 'pipelines').glob('*.yaml')):\n    \
         with DAG(path.stem, schedule=None): pass\n",
    );
    let mut running = bench.start();
    let ids = |file: &DagFile| -> Vec<String> {
        file.dags.iter().map(|dag| dag.spec.dag_id.to_string()).collect()
    };
    assert_eq!(ids(&running.next_read(1).await[0]), ["first"]);
    assert!(matches!(running.next().await, Said::Bundle(_)));
    bench.write("pipelines/second.yaml", "");
    assert_eq!(ids(&running.next_read(1).await[0]), ["first", "second"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_stopped_or_died_is_read_again_when_what_it_had_read_changes() {
    let bench = Bench::new();
    let count = bench.outside("readings");
    let file = |id: &str, how: &str| {
        format!(
            "open({count:?}, 'a').write('.')\nimport os\nfrom lib import settings\n\
             while settings.{how}: pass\n{}",
            dag(id)
        )
    };
    bench.write("endless.py", &file("endless", "ENDLESS"));
    bench.write("dies.py", &file("dies", "DIES and os._exit(1)"));
    bench.write("lib/settings.py", "ENDLESS = DIES = True\n");
    let mut settings = bench.settings();
    settings.parse_timeout = Duration::from_secs(5);
    let mut running = bench.start_with(settings);
    let files = running.next_read(2).await;
    let exceptions: Vec<_> = files.iter().map(|file| file.errors[0].exception.as_str()).collect();
    assert_eq!(exceptions, ["ParserDied", "Timeout"]);
    assert!(matches!(running.next().await, Said::Bundle(_)));

    bench.write("lib/unrelated.py", "");
    assert!(matches!(running.next().await, Said::Bundle(_)));
    assert_eq!(fs::read_to_string(&count).unwrap(), "..");

    bench.write("lib/settings.py", "ENDLESS = DIES = False\n");
    for read in running.next_read(2).await {
        assert_eq!((read.dags.len(), read.errors.len()), (1, 0), "{:?}", read.errors);
    }
    assert_eq!(fs::read_to_string(&count).unwrap(), "....");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_file_that_is_mended_or_taken_away_is_not_waited_for() {
    let bench = Bench::new();
    let begun = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endless = format!(
        "# airflow dag\nimport socket\nheld = socket.create_connection(('127.0.0.1', {}))\nwhile True: pass\n",
        begun.local_addr().unwrap().port()
    );
    bench.write("endless.py", &endless);
    bench.write("goes.py", &endless);
    let mut settings = bench.settings();
    // Longer than anything here is waited for.
    settings.parse_timeout = Duration::from_mins(10);
    let mut running = bench.start_with(settings);
    let mut held = [begun.accept().await.unwrap().0, begun.accept().await.unwrap().0];
    bench.remove("goes.py");
    bench.write("endless.py", &dag("mended"));
    let read = running.next_read(1).await.remove(0);
    assert_eq!((read.file.as_str(), read.dags.len(), read.errors.len()), ("endless.py", 1, 0));
    assert!(matches!(running.next().await, Said::Bundle(_)));
    for held in &mut held {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_mins(1), held.read_to_end(&mut rest));
        ended.await.expect("both processes are gone").ok();
    }
    running.stop().await;
}

/// Waits until a process that was killed is gone: the kernel takes it apart when it gets round to it.
async fn until_gone(pid: &str) {
    let state = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let is_gone = |state: &str| {
        state.is_empty()
            || state.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('Z'))
    };
    let gone = async {
        while !is_gone(&state()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let gone = tokio::time::timeout(Duration::from_secs(20), gone).await;
    assert!(gone.is_ok(), "the process that it started lives on: {}", state());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_import_is_stopped_with_all_that_it_started() {
    let bench = Bench::new();
    let pid_file = bench.outside("pid");
    bench.write(
        "endless.py",
        &format!(
            "from airflow import DAG\nimport subprocess, time\n\
             child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n\
             open({pid_file:?}, 'w').write(str(child.pid))\nwhile True: time.sleep(1)\n"
        ),
    );
    bench.write("good.py", &dag("good"));
    let mut settings = bench.settings();
    settings.parse_timeout = Duration::from_secs(5);
    let mut running = bench.start_with(settings);
    let files = running.next_read(2).await;
    let endless = files.iter().find(|file| file.file == "endless.py").unwrap();
    assert_eq!(endless.errors[0].exception, "Timeout");
    assert!(endless.errors[0].message.contains("5s"), "{:?}", endless.errors);
    let pid = fs::read_to_string(&pid_file).unwrap();
    until_gone(&pid).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_a_good_file_leaves_behind_is_ended() {
    let bench = Bench::new();
    let pid_file = bench.outside("pid");
    bench.write(
        "leaves.py",
        &format!(
            "import subprocess\nchild = subprocess.Popen(['sleep', '600'], start_new_session=True)\n\
             open({pid_file:?}, 'w').write(str(child.pid))\n{}",
            dag("leaves")
        ),
    );
    let mut running = bench.start();
    let files = running.next_read(1).await;
    assert_eq!(files[0].dags.len(), 1, "{:?}", files[0].errors);
    let pid = fs::read_to_string(&pid_file).unwrap();
    until_gone(&pid).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_goes_is_told_of_now_or_at_the_next_start() {
    let bench = Bench::new();
    bench.write("one.py", &dag("one"));
    bench.write("two.py", &dag("two"));
    let mut running = bench.start();
    running.next_read(2).await;
    assert!(matches!(running.next().await, Said::Bundle(_)));
    bench.remove("one.py");
    assert_eq!(running.next().await, Said::Gone("one.py".into()));
    // Once the next word comes, the one before is known to have been answered.
    assert!(matches!(running.next().await, Said::Bundle(_)));
    running.stop().await;

    bench.remove("two.py");
    let mut running = bench.start();
    let mut said = running.several(1).await;
    while !said.contains(&Said::Gone("two.py".into())) {
        said.extend(running.several(1).await);
    }
    assert!(!said.contains(&Said::Gone("one.py".into())), "told of once: {said:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ignored_files_are_published_and_not_parsed() {
    for (syntax, patterns) in [
        (dagbok_processor::IgnoreSyntax::Glob, "drafts/\n*_old.py\n!keep_old.py\n"),
        (dagbok_processor::IgnoreSyntax::Regexp, "drafts/.*\n_old\\.py$  # not these\n"),
    ] {
        let bench = Bench::new();
        bench.write(".airflowignore", patterns);
        bench.write("drafts/a.py", &dag("a"));
        bench.write("b_old.py", &dag("b"));
        bench.write("c.py", &dag("c"));
        bench.write(".dagbokignore", "data/\n");
        bench.write("data/large.csv", "1,2\n");
        let mut settings = bench.settings();
        settings.ignore_syntax = syntax;
        let mut running = bench.start_with(settings);
        let read = running.next_read(1).await;
        assert_eq!(read[0].file, "c.py", "{syntax:?}");
        let Said::Bundle(bundle) = running.next().await else {
            panic!("only one file is read: {syntax:?}")
        };
        let names = bench.bundle(&bundle).await;
        assert_eq!(names, [".airflowignore", ".dagbokignore", "b_old.py", "c.py", "drafts/a.py"]);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn homes_of_installations_are_published_neither_from_the_folder_nor_through_links() {
    let bench = Bench::new();
    bench.write("one.py", &dag("one"));
    bench.write("state/blobs/one.py", &dag("inside"));
    mark_home(Path::new(&bench.outside("dags/state")));
    fs::create_dir_all(bench.outside("around/state/blobs")).unwrap();
    fs::write(bench.outside("around/lib.py"), "").unwrap();
    fs::write(bench.outside("around/state/blobs/two.py"), dag("linked")).unwrap();
    mark_home(Path::new(&bench.outside("around/state")));
    symlink(bench.outside("around"), bench.outside("dags/around")).unwrap();
    symlink(bench.outside("around/state/blobs"), bench.outside("dags/deep")).unwrap();
    let mut running = bench.start();
    assert_eq!(running.next_read(1).await[0].file, "one.py");
    let Said::Bundle(bundle) = running.next().await else { panic!("only one file is read") };
    assert_eq!(bench.bundle(&bundle).await, ["around/lib.py", "one.py"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dag_folder_in_a_home_is_one_and_a_home_is_none() {
    let bench = Bench::new();
    bench.write("one.py", &dag("one"));
    mark_home(Path::new(&bench.outside("")));
    symlink(bench.outside(""), bench.outside("dags/up")).unwrap();
    let mut running = bench.start();
    assert_eq!(running.next_read(1).await[0].file, "one.py");
    let Said::Bundle(bundle) = running.next().await else { panic!("only one file is read") };
    assert_eq!(bench.bundle(&bundle).await, ["one.py"]);
    running.stop().await;

    mark_home(Path::new(&bench.outside("dags")));
    let error = bench.run_to_end(bench.settings()).await.unwrap_err().to_string();
    assert!(error.contains("--home") && error.contains(".dagbokhome"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_changes_on_and_on_waits_while_code_and_what_a_file_reads_do_not() {
    let bench = Bench::new();
    bench.write("settings.json", "1");
    bench.write(
        "uses.py",
        "import json, pathlib\nfrom airflow import DAG\nfrom airflow.operators.empty import EmptyOperator\n\
         retries = json.loads((pathlib.Path(__file__).parent / 'settings.json').read_text())\n\
         with DAG('uses', schedule=None):\n    EmptyOperator(task_id='a', retries=retries)\n",
    );
    let mut running = bench.start();
    running.next_read(1).await;
    assert!(matches!(running.next().await, Said::Bundle(_)));
    // Five are borne; from there on each waits longer.
    let mut last = Instant::now();
    for rest in [0, 0, 0, 0, 0, 2, 4] {
        let before = std::mem::replace(&mut last, Instant::now());
        bench.write("app.log", &format!("{last:?}"));
        assert!(matches!(running.next().await, Said::Bundle(_)), "{rest}");
        assert!(before.elapsed() >= Duration::from_secs(rest), "{rest}");
    }
    let came = Instant::now();
    bench.write("app.log", "with the settings");
    bench.write("settings.json", "4");
    let read = running.next_read(1).await.remove(0);
    assert_eq!(read.dags[0].spec.tasks[0].retries, 4);
    let Said::Bundle(bundle) = running.next().await else { panic!("what was read is published") };
    assert_eq!(read.bundle.as_str(), bundle);
    assert_eq!(bench.content(&bundle, "settings.json").await, "4");
    assert_eq!(bench.content(&bundle, "app.log").await, "with the settings");
    assert!(came.elapsed() < Duration::from_secs(8), "it waited for {:?}", came.elapsed());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_is_discarded_is_followed_by_a_walk_and_one_of_what_is_there_then() {
    let bench = Bench::new();
    let readings = bench.outside("readings");
    bench.write("data.txt", "1");
    bench.write(
        "once.py",
        &format!(
            "import pathlib\ndata = pathlib.Path(__file__).parent / 'data.txt'\n\
             with open({readings:?}, 'a') as readings:\n    readings.write(data.read_text())\n\
             if data.read_text() == '1':\n    data.write_text('2')\n{}",
            dag("once")
        ),
    );
    let mut running = bench.start();
    assert_eq!(running.next_read(1).await[0].dags.len(), 1);
    assert_eq!(fs::read_to_string(readings).unwrap(), "12");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_is_published_though_data_is_rewritten_all_the_time() {
    let bench = Bench::new();
    bench.write("one.py", &dag("before"));
    // Between the walk and the packing of the one after it, this takes longer than a write.
    bench.write("model.bin", &"x".repeat(8 << 20));
    bench.write("state.json", "");
    let state = OpenOptions::new().write(true).open(bench.outside("dags/state.json")).unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&ended);
    let writer = std::thread::spawn(move || {
        for n in 0_u64.. {
            state.write_all_at(format!("{n:020}").as_bytes(), 0).unwrap();
            if until.load(Ordering::Relaxed) {
                break;
            }
        }
    });
    let mut running = bench.start();
    assert_eq!(running.next_read(1).await[0].dags[0].spec.dag_id.as_str(), "before");
    bench.write("one.py", &dag("after"));
    let read = loop {
        if let Said::Read(read) = running.next().await {
            break read;
        }
    };
    assert_eq!(read.dags[0].spec.dag_id.as_str(), "after");
    assert_eq!(bench.content(read.bundle.as_str(), "one.py").await, dag("after"));
    ended.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dag_that_moves_is_told_again_where_it_went() {
    let bench = Bench::new();
    bench.write("a.py", &dag("moves"));
    bench.write("b.py", &dag("moves"));
    let mut running = bench.start();
    running.next_read(2).await;
    assert!(matches!(running.next().await, Said::Bundle(_)));
    bench.remove("a.py");
    assert_eq!(running.next().await, Said::Gone("a.py".into()));
    let read = running.next_read(1).await;
    assert_eq!((read[0].file.as_str(), read[0].dags[0].spec.dag_id.as_str()), ("b.py", "moves"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_asked_into_again_under_the_same_id() {
    let bench = Bench::new();
    bench.write("one.py", &dag("one"));
    let mut running = bench.start_before(silent());
    let ids = running.ids(2).await;
    assert_eq!(ids[0], ids[1], "the second asking must not be another command");
    running.stop().await;
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_refused_by_name() {
    let bench = Bench::new();
    let mut settings = bench.settings();
    settings.folder = bench.outside("nowhere").into();
    let error = bench.run_to_end(settings).await.unwrap_err().to_string();
    assert!(error.contains("nowhere") && error.contains("No such file"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_what_has_no_end_keeps_no_dag_away_and_the_end_is_heard() {
    let bench = Bench::new();
    bench.write("a.py", &dag("a"));
    bench.write("lib/b.py", &dag("b"));
    bench.link("lib/system", "/proc");
    bench.link("root", "/");
    let mut running = bench.start();
    let mut ids: Vec<_> = running.next_read(2).await.into_iter().map(|file| file.file).collect();
    ids.sort();
    assert_eq!(ids, ["a.py", "lib/b.py"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_come_are_watched_and_so_are_those_behind_links() {
    let bench = Bench::new();
    bench.write("a.py", &dag("a"));
    fs::create_dir(bench.outside("elsewhere")).unwrap();
    fs::write(bench.outside("elsewhere/l.py"), dag("l")).unwrap();
    bench.link("linked", &bench.outside("elsewhere"));
    let mut settings = bench.settings();
    // Only a watch tells of a change in time.
    settings.rescan = Duration::from_hours(1);
    let mut running = bench.start_with(settings);
    running.next_read(2).await;
    let Said::Bundle(_) = running.next().await else { panic!("the folder's code is told of") };
    for (name, inside) in [("new/deep/b.py", "new/deep/c.py"), ("linked/m.py", "linked/n.py")] {
        for file in [name, inside] {
            bench.write(file, &dag("x"));
            let read = running.next_read(1).await;
            assert_eq!(read[0].file, file);
            let Said::Bundle(_) = running.next().await else { panic!("{file}") };
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_by_as_many_processes_as_there_are_parsers() {
    let bench = Bench::new();
    let parents = bench.outside("parents");
    fs::create_dir(&parents).unwrap();
    for n in 0..12 {
        let name = format!("f{n}");
        bench.write(
            &format!("{name}.py"),
            &format!("import os\nopen(f'{parents}/{{os.getppid()}}', 'w')\n{}", dag(&name)),
        );
    }
    let mut settings = bench.settings();
    settings.parsers = 2;
    let mut running = bench.start_with(settings);
    running.next_read(12).await;
    let processes = fs::read_dir(&parents).unwrap().count();
    assert!((1..=2).contains(&processes), "{processes} processes read 12 files");
    running.stop().await;
}
