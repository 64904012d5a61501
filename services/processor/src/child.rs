//! A process of somebody else's code that is asked one thing after another: bounded in time and in what it
//! may say, and, where it does not answer, gone with everything that it started.
use std::{
    fs, io,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dagbok_runtime::{Shutdown, fresh_id};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, ChildStdout, Command},
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
/// How long the end of a pipe is waited for when the process is gone: what it wrote is there at once, and
/// whoever still holds the pipe was not found by its mark.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It answered, and can be asked again.
    Answered,
    Ended(ExitStatus),
    TimedOut,
    TooMuch,
}

/// What it said, and what is left of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) end: End,
    /// Up to its answer, where it answered.
    pub(crate) stdout: Vec<u8>,
    /// Its end, where it was long; empty where it answered.
    pub(crate) stderr: String,
    /// Whether something that it started lives on and holds its output open.
    pub(crate) held_open: bool,
}

/// A process that answers. Dropping it kills it with all that it started, and nobody waits for that.
#[derive(Debug)]
pub(crate) struct Answerer {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    tail: Reader,
    remains: Option<Remains>,
}

impl Answerer {
    /// Starts the process.
    pub(crate) fn start(mut command: Command) -> io::Result<Self> {
        let mark = format!("{MARK}={}", fresh_id());
        command
            .env(MARK, &mark[MARK.len() + 1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        let stderr = child.stderr.take().expect("stderr was piped just above");
        Ok(Self {
            stdin: child.stdin.take().expect("stdin was piped just above"),
            stdout: child.stdout.take().expect("stdout was piped just above"),
            tail: Reader::start(stderr),
            remains: Some(Remains { group, mark }),
            child,
        })
    }

    /// Asks it, and reads lines up to one that begins with `answer`. `None` where that is given up before.
    /// Where it does not answer within `within`, it is ended, as when it is given up.
    pub(crate) async fn ask(
        &mut self,
        request: &[u8],
        answer: &[u8],
        within: Duration,
        given_up: &Shutdown,
    ) -> io::Result<Option<Outcome>> {
        self.tail.forget();
        let mut said = Vec::new();
        let end = tokio::select! {
            end = timeout(within, self.answered(request, answer, &mut said)) => {
                Some(end.unwrap_or(Ok(End::TimedOut))?)
            }
            () = given_up.started() => None,
        };
        if end == Some(End::Answered) {
            let (stderr, held_open) = (String::new(), false);
            return Ok(Some(Outcome { end: End::Answered, stdout: said, stderr, held_open }));
        }
        self.end(matches!(end, Some(End::Ended(_)))).await?;
        let Some(end) = end else { return Ok(None) };
        let last_words = async {
            let mut from = (&mut self.stdout).take(ANSWER_BYTES as u64);
            from.read_to_end(&mut said).await.and(self.tail.end().await)
        };
        let held_open = tokio::select! {
            last = timeout(LAST_WORDS, last_words) => last.map_or(Ok(true), |read| read.map(|()| false))?,
            () = given_up.started() => return Ok(None),
        };
        let stderr = String::from_utf8_lossy(&self.tail.take()).into_owned();
        Ok(Some(Outcome { end, stdout: said, stderr, held_open }))
    }

    async fn answered(
        &mut self,
        request: &[u8],
        answer: &[u8],
        said: &mut Vec<u8>,
    ) -> io::Result<End> {
        // One that is gone can't be asked; how it ended says more.
        if self.stdin.write_all(request).await.and(self.stdin.flush().await).is_err() {
            return self.child.wait().await.map(End::Ended);
        }
        loop {
            let read = tokio::select! {
                biased;
                read = self.stdout.read_buf(said) => read?,
                // Whatever it started may hold the pipe open for ever.
                ended = self.child.wait() => return ended.map(End::Ended),
            };
            if read == 0 {
                return self.child.wait().await.map(End::Ended);
            }
            if said.len() > ANSWER_BYTES {
                return Ok(End::TooMuch);
            }
            if let Some(lines) = said.strip_suffix(b"\n") {
                let last = lines.rsplit(|byte| *byte == b'\n').next().unwrap_or(lines);
                if last.starts_with(answer) {
                    return Ok(End::Answered);
                }
            }
        }
    }

    /// Ends it with all that it started; `reaped`: itself it is gone.
    async fn end(&mut self, reaped: bool) -> io::Result<()> {
        if let Some(mut remains) = self.remains.take() {
            if reaped {
                // Its number may be another's by now, so the rest is found by the mark.
                remains.group = None;
            }
            // Whoever holds the pipes open goes first, or they would never end.
            let ended = tokio::task::spawn_blocking(move || remains.end()).await;
            ended.map_err(io::Error::other)?;
        }
        // Reaps it where it had to be killed.
        self.child.wait().await.map(drop)
    }
}

/// Reads a pipe to its end, or until it is dropped, and keeps the end of what came.
#[derive(Debug)]
struct Reader {
    kept: Arc<Mutex<Vec<u8>>>,
    /// `None` when it has ended.
    task: Option<JoinHandle<io::Result<()>>>,
}

impl Reader {
    fn start(mut from: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let kept = Arc::default();
        let keeping = Arc::clone(&kept);
        let task = tokio::spawn(async move {
            let mut chunk = vec![0; 16 << 10];
            loop {
                let read = from.read(&mut chunk).await?;
                if read == 0 {
                    return Ok(());
                }
                keep_tail(&mut lock(&keeping), &chunk[..read]);
            }
        });
        Self { kept, task: Some(task) }
    }

    /// Waits for its end; may be dropped and called again.
    async fn end(&mut self) -> io::Result<()> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let ended = task.await;
        self.task = None;
        ended.map_err(io::Error::other)?
    }

    /// What came so far is of no interest any more.
    fn forget(&self) {
        lock(&self.kept).clear();
    }

    /// What was read so far.
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.kept))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn lock(kept: &Mutex<Vec<u8>>) -> std::sync::MutexGuard<'_, Vec<u8>> {
    // Bytes are whole after every push.
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the last [`STDERR_BYTES`].
fn keep_tail(kept: &mut Vec<u8>, chunk: &[u8]) {
    kept.extend_from_slice(chunk);
    let excess = kept.len().saturating_sub(STDERR_BYTES);
    kept.drain(..excess);
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

    fn shell(script: &str) -> Answerer {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        Answerer::start(command).unwrap()
    }

    async fn ask(of: &mut Answerer, request: &str, within: Duration) -> Outcome {
        let never = Shutdown::new();
        let asked = of.ask(request.as_bytes(), b"A", within, &never);
        timeout(PATIENCE, asked).await.expect("it ends").unwrap().expect("nobody gives it up")
    }

    #[tokio::test]
    async fn one_process_is_asked_again_and_again() {
        let mut one =
            shell(r#"while read line; do echo "note $line"; echo words >&2; echo "A $line"; done"#);
        for request in ["first\n", "second\n"] {
            let outcome = ask(&mut one, request, PATIENCE).await;
            assert_eq!(outcome.end, End::Answered);
            let said = String::from_utf8(outcome.stdout).unwrap();
            assert_eq!(said, format!("note {request}A {request}"));
        }
    }

    #[tokio::test]
    async fn what_ends_instead_of_answering_says_how_with_its_last_words() {
        let mut one = shell("read line; echo note; echo words >&2; exit 3");
        let outcome = ask(&mut one, "first\n", PATIENCE).await;
        assert!(matches!(outcome.end, End::Ended(status) if status.code() == Some(3)));
        assert_eq!(
            (outcome.stdout.as_slice(), outcome.stderr.as_str()),
            (&b"note\n"[..], "words\n")
        );
        let outcome = ask(&mut one, "second\n", PATIENCE).await;
        assert!(matches!(outcome.end, End::Ended(status) if status.code() == Some(3)));
    }

    #[tokio::test]
    async fn what_does_not_answer_in_time_is_gone_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let (command, file) = two(&folder);
        let mut one = Answerer::start(command).unwrap();
        until(|| file.exists()).await;
        assert!(lives(&file));
        let outcome = ask(&mut one, "first\n", Duration::from_millis(50)).await;
        assert_eq!(outcome.end, End::TimedOut);
        assert!(!lives(&file));
    }

    #[tokio::test]
    async fn what_is_given_up_is_gone_with_what_it_started_when_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let ((command, file), given_up) = (two(&folder), Shutdown::new());
        let told = given_up.clone();
        let running = tokio::spawn(async move {
            Answerer::start(command).unwrap().ask(b"first\n", b"A", 10 * PATIENCE, &told).await
        });
        until(|| file.exists()).await;
        assert!(lives(&file));
        given_up.start();
        let ran = timeout(PATIENCE, running).await.expect("it ends").unwrap();
        assert!(ran.unwrap().is_none());
        assert!(!lives(&file));
    }

    #[tokio::test]
    async fn what_escapes_and_holds_the_output_open_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let mut command = Command::new("sh");
        command.arg("-c").arg(
            r#"env -i setsid sh -c 'echo $$ > "$0.new"; mv "$0.new" "$0"; exec sleep 600' "$0" &
            until [ -e "$0" ]; do sleep 0.01; done; echo note; echo words >&2"#,
        );
        command.arg(&file);
        let mut one = Answerer::start(command).unwrap();
        let outcome = ask(&mut one, "first\n", 10 * PATIENCE).await;
        let escaped = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        kill(Pid::from_raw(escaped), Signal::SIGKILL).expect("it lived");
        assert_eq!(
            (outcome.stdout.as_slice(), outcome.stderr.as_str()),
            (&b"note\n"[..], "words\n")
        );
        assert!(matches!(outcome.end, End::Ended(status) if status.success()), "{outcome:?}");
        assert!(outcome.held_open);
    }

    #[tokio::test]
    async fn what_is_dropped_ends_with_what_it_started_though_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let (command, file) = two(&folder);
        let one = Answerer::start(command).unwrap();
        until(|| file.exists()).await;
        drop(one);
        until(|| !lives(&file)).await;
    }
}
