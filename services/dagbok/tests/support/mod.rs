//! The real binary, with the checkout's Python.
#![expect(dead_code, reason = "each test binary uses a part of it")]
use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// A DAG of two tasks that prints, hands on a value, and takes conf.
pub(crate) const GOOD: &str = "
from datetime import datetime
from airflow import DAG
from airflow.decorators import task
with DAG('good', schedule='@daily', start_date=datetime(2024, 1, 1), catchup=False, tags=['b', 'a'],
         default_args={'owner': 'me', 'retries': 1}):
    @task
    def first(**context):
        print('from first', context['dag_run'].conf, context['ds'])
        return 21
    @task(trigger_rule='all_done')
    def second(value):
        print('got', value)
    second(first())
";

/// A DAG whose only task raises.
pub(crate) const FAILS: &str = "
from airflow import DAG
from airflow.operators.python import PythonOperator
def raises():
    raise ValueError('as it must')
with DAG('fails', schedule=None):
    PythonOperator(task_id='raises', python_callable=raises)
";

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Asks until the answer will do.
pub(crate) fn until(ask: impl Fn() -> Ran, will_do: impl Fn(&Ran) -> bool) -> Ran {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let ran = ask();
        if will_do(&ran) {
            return ran;
        }
        assert!(Instant::now() < give_up, "it never came: {ran:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The Python of the tests: what the environment names, the checkout's, or the machine's.
pub(crate) fn python() -> PathBuf {
    let venv = checkout().join(".venv/bin/python");
    std::env::var_os("DAGBOK_PYTHON")
        .map_or_else(|| if venv.exists() { venv } else { "python3".into() }, PathBuf::from)
}

/// A folder of DAG files, a home, and nothing of the machine's own settings.
pub(crate) struct Bench {
    pub(crate) root: TempDir,
}

impl Bench {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("dags")).unwrap();
        for (name, text) in files {
            std::fs::write(root.path().join("dags").join(name), text).unwrap();
        }
        Self { root }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.root.path().join(name).to_str().unwrap().to_owned()
    }

    /// `dagbok` with these arguments, not yet started.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dagbok"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DAGBOK") {
                command.env_remove(name);
            }
        }
        command
            .args(args)
            .current_dir(self.root.path())
            .env("HOME", self.root.path())
            .env("DAGBOK_HOME", self.root.path().join("home"))
            .env("DAGBOK_PYTHON", python())
            .env("DAGBOK_PYTHONPATH", checkout().join("shared/python/src"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The one JSON document on stdout.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What went wrong, with `--json`.
    pub(crate) fn error(&self) -> Value {
        let line = self.err.lines().last().unwrap_or_default();
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {self:?}"))["error"].take()
    }
}

/// A standalone installation that runs.
pub(crate) struct Standalone {
    child: Child,
    /// Its API.
    pub(crate) api: String,
}

impl Standalone {
    pub(crate) fn start(bench: &Bench) -> Self {
        let args = ["standalone", "--dags", "dags", "--listen", "127.0.0.1:0", "--json"];
        let log = std::fs::File::create(bench.root.path().join("log.txt")).unwrap();
        let mut child = bench.command(&args).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let up: Value = serde_json::from_str(&line).unwrap_or_else(|error| {
            panic!(
                "{error}: {line}{}",
                std::fs::read_to_string(bench.root.path().join("log.txt")).unwrap()
            )
        });
        Self { child, api: up["api"].as_str().unwrap().to_owned() }
    }

    pub(crate) fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Ends it as a supervisor does.
    pub(crate) fn stop(mut self) -> i32 {
        nix::sys::signal::kill(self.pid(), nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        // Ended already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
