//! One process of somebody else's code: bounded in time and in what it may say, and gone afterwards
//! with everything that it started.
use std::{
    collections::VecDeque,
    fs, io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use dagbok_runtime::{Shutdown, fresh_id};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
    runtime::Handle,
    task::JoinHandle,
    time::timeout,
};

/// An answer larger than this is none: a DAG of the most tasks that are allowed needs a tenth of it.
const ANSWER_BYTES: usize = 64 << 20;
/// The end of stderr that is kept for people.
const STDERR_BYTES: usize = 16 << 10;
/// Names the process and what it started, wherever that went.
const MARK: &str = "DAGBOK_PARSE";
/// The pauses between rounds of looking for what was started, in milliseconds: something may be started
/// while one goes on, and dying takes a moment.
const PAUSES: [u64; 8] = [1, 1, 2, 5, 10, 20, 50, 100];

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Ended(ExitStatus),
    TimedOut,
    TooMuch,
}

/// What is left of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) end: End,
    pub(crate) stdout: Vec<u8>,
    /// Its end, where it was long.
    pub(crate) stderr: String,
}

/// Runs `command` to its end, or to the end of `within`; `None` where it is given up before, and gone then.
/// Dropping the future kills it, and nobody waits for that.
pub(crate) async fn run(
    mut command: Command,
    within: Duration,
    given_up: &Shutdown,
) -> io::Result<Option<Outcome>> {
    let mark = format!("{MARK}={}", fresh_id());
    command
        .env(MARK, &mark[MARK.len() + 1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn()?;
    let mut remains = Remains { group: child.id().and_then(|id| i32::try_from(id).ok()), mark };
    let stdout = child.stdout.take().expect("stdout was piped just above");
    let stderr = child.stderr.take().expect("stderr was piped just above");
    let tail: JoinHandle<io::Result<Vec<u8>>> = tokio::spawn(read_tail(stderr));
    let mut head = tokio::spawn(read_head(stdout));
    let mut answer = None;

    let work = async {
        tokio::select! {
            ended = child.wait() => return ended.map(End::Ended),
            read = &mut head => {
                let (bytes, whole) = read.map_err(io::Error::other)??;
                answer = Some(bytes);
                if !whole {
                    return Ok(End::TooMuch);
                }
            }
        }
        child.wait().await.map(End::Ended)
    };
    let end = tokio::select! {
        end = timeout(within, work) => Some(end.unwrap_or(Ok(End::TimedOut))?),
        () = given_up.started() => None,
    };
    if matches!(end, Some(End::Ended(_))) {
        // Reaped: its number may be another's by now, so the rest is found by the mark.
        remains.group = None;
    }
    // Whoever holds the pipes open goes first, or they would never end.
    let remains = tokio::task::spawn_blocking(move || {
        remains.end();
        remains
    });
    drop(remains.await.map_err(io::Error::other)?);
    // Reaps it where it had to be killed.
    child.wait().await?;
    let Some(end) = end else { return Ok(None) };
    let stdout = match answer {
        Some(answer) => answer,
        None => head.await.map_err(io::Error::other)??.0,
    };
    let stderr = tail.await.map_err(io::Error::other)??;
    Ok(Some(Outcome { end, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }))
}

/// The first [`ANSWER_BYTES`], and whether that was all.
async fn read_head(from: impl AsyncRead + Unpin) -> io::Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    let mut capped = from.take(ANSWER_BYTES as u64 + 1);
    capped.read_to_end(&mut bytes).await?;
    let whole = bytes.len() <= ANSWER_BYTES;
    Ok((bytes, whole))
}

/// The last [`STDERR_BYTES`].
async fn read_tail(mut from: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut tail = VecDeque::new();
    let mut chunk = vec![0; 8 << 10];
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(tail.into());
        }
        tail.extend(&chunk[..read]);
        let excess = tail.len().saturating_sub(STDERR_BYTES);
        tail.drain(..excess);
    }
}

/// The process and what it started, until they are gone.
#[derive(Debug)]
struct Remains {
    /// Its process group, while its number can't be another's.
    group: Option<i32>,
    mark: String,
}

impl Remains {
    /// Kills the group, then whatever left it. Blocks.
    fn end(&mut self) {
        self.kill_group();
        for pause in PAUSES {
            let marked = self.marked();
            if marked.is_empty() {
                return;
            }
            for pid in marked {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(pause));
        }
        tracing::warn!(mark = self.mark, "a process that a DAG file started can't be ended");
    }

    /// Kills the group; whether it was to be killed still.
    fn kill_group(&mut self) -> bool {
        let group = self.group.take();
        if let Some(group) = group {
            // Gone already is what we want.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        group.is_some()
    }

    /// Living processes that bear the mark; a zombie has no environment any more.
    fn marked(&self) -> Vec<i32> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid: &i32| {
                fs::read(format!("/proc/{pid}/environ")).is_ok_and(|all| {
                    all.split(|byte| *byte == 0).any(|one| one == self.mark.as_bytes())
                })
            })
            .collect()
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        if !self.kill_group() {
            return;
        }
        let mut rest = Self { group: None, mark: std::mem::take(&mut self.mark) };
        match Handle::try_current() {
            // Looking for what left the group takes its time, which is not that of a runtime's thread.
            Ok(runtime) => drop(runtime.spawn_blocking(move || rest.end())),
            Err(_) => rest.end(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tokio::time::sleep;

    use super::*;

    /// Longer than anything here takes on a busy machine.
    const PATIENCE: Duration = Duration::from_mins(1);

    /// A process that starts another one, which leaves its group, and writes down that one's number.
    fn two(folder: &tempfile::TempDir) -> (Command, PathBuf) {
        let (draft, file) = (folder.path().join("draft"), folder.path().join("pid"));
        let mut command = Command::new("sh");
        command.arg("-c").arg(
            r#"setsid sh -c 'echo $$ > "$0"; mv "$0" "$1"; exec sleep 600' "$0" "$1" & exec sleep 600"#,
        );
        command.arg(draft).arg(&file);
        (command, file)
    }

    async fn until(will_do: impl Fn() -> bool) {
        let looks = async {
            while !will_do() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, looks).await.expect("it came in time");
    }

    /// Whether the process of this file lives.
    fn lives(file: &std::path::Path) -> bool {
        let pid = fs::read_to_string(file).unwrap();
        fs::read(format!("/proc/{}/environ", pid.trim())).is_ok_and(|all| !all.is_empty())
    }

    #[tokio::test]
    async fn what_is_given_up_is_gone_with_what_it_started_when_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let ((command, file), given_up) = (two(&folder), Shutdown::new());
        let told = given_up.clone();
        let running = tokio::spawn(async move { run(command, 10 * PATIENCE, &told).await });
        until(|| file.exists()).await;
        assert!(lives(&file));
        given_up.start();
        let ran = timeout(PATIENCE, running).await.expect("it ends").unwrap();
        assert!(ran.unwrap().is_none());
        assert!(!lives(&file));
    }

    #[tokio::test]
    async fn what_is_dropped_ends_with_what_it_started_though_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let ((command, file), given_up) = (two(&folder), Shutdown::new());
        let running = tokio::spawn(async move { run(command, 10 * PATIENCE, &given_up).await });
        until(|| file.exists()).await;
        running.abort();
        until(|| !lives(&file)).await;
    }
}
