//! The executor under test, where the suite starts it.
use std::{fs::File, path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::{codes::Code, failure::Failure};

/// How long it may take to end once it was asked to.
const ENDS: Duration = Duration::from_secs(15);
/// So much of what it says is shown, in bytes.
const SHOWN: usize = 2_000;

/// A process that was started, with where its words go.
pub(super) struct Started {
    child: Child,
    said: PathBuf,
}

impl Started {
    /// Starts a command in which `{nats}`, `{namespace}` and `{queue}` stand for what they name. The same is in its
    /// environment as `DAGBOK_CONFORMANCE_NATS`, `_NAMESPACE` and `_QUEUE`.
    pub(super) fn start(
        command: &[String],
        meant: [(&str, &str); 3],
        said: PathBuf,
    ) -> Result<Self, Failure> {
        let filled = command.iter().map(|word| {
            meant.iter().fold(word.clone(), |word, (name, value)| {
                word.replace(&format!("{{{name}}}"), value)
            })
        });
        let words: Vec<String> = filled.collect();
        let failed = |error: std::io::Error| {
            let what = format!("`{}` can't be started: {error}", words.join(" "));
            Failure::new(Code::Usage, what)
        };
        let (program, args) = words.split_first().expect("clap asks for one word at least");
        let out = File::create(&said).map_err(failed)?;
        let errors = out.try_clone().map_err(failed)?;
        let mut start = Command::new(program);
        start.args(args).stdin(Stdio::null()).stdout(out).stderr(errors).kill_on_drop(true);
        for (name, value) in meant {
            start.env(format!("DAGBOK_CONFORMANCE_{}", name.to_uppercase()), value);
        }
        Ok(Self { child: start.spawn().map_err(failed)?, said })
    }

    /// Why nothing is to be expected of it any more.
    pub(super) fn over(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("the executor's process ended ({status}); it said:\n{}", self.last_words()))
    }

    /// What it said last.
    pub(super) fn last_words(&self) -> String {
        let said = std::fs::read(&self.said).unwrap_or_default();
        let from = said.len().saturating_sub(SHOWN);
        String::from_utf8_lossy(&said[from..]).trim().to_owned()
    }

    /// It must end by itself, and well.
    pub(super) async fn must_end(&mut self, within: Duration) -> Result<(), String> {
        match timeout(within, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("its process ends with {status}, not with 0")),
            Ok(Err(error)) => Err(format!("its process can't be waited for: {error}")),
            Err(_) => Err(format!("its process goes on {within:?} after it said goodbye")),
        }
    }

    /// Ends it, well where it can.
    pub(super) async fn end(&mut self) {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGTERM);
            if timeout(ENDS, self.child.wait()).await.is_err() {
                drop(self.child.kill().await);
            }
        }
    }
}
