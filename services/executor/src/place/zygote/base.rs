//! The base zygote: the one Python process that the executor itself starts.
use std::{
    collections::VecDeque, ffi::OsString, io, os::fd::OwnedFd, process::Stdio, sync::Arc,
    time::Duration,
};

use dagbok_protocol::text;
use dagbok_runtime::foreign_python_variables;
use nix::{fcntl::OFlag, unistd::pipe2};
use parking_lot::Mutex;
use tokio::{
    net::unix::pipe,
    process::{Child, Command},
    time::timeout,
};

use super::{Zygote, message::Ready};
use crate::{
    ExecutorSettings,
    log::{Masks, Splitter},
};

/// How long a fresh Python may take to be ready.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// Of what it writes itself, these last lines are told when it does not start.
const LAST_WORDS: usize = 12;
/// What is told of one of them, in bytes.
const WORDS_BYTES: usize = 4_096;

/// A started base zygote.
#[derive(Debug)]
pub(crate) struct Base {
    /// Its control socket.
    pub(crate) zygote: Arc<Zygote>,
    /// What it said of itself.
    pub(crate) ready: Ready,
    /// Its process; killed when dropped.
    pub(crate) child: Child,
}

/// Starts one and waits until it is ready; the error is for people.
pub(crate) async fn start(settings: &ExecutorSettings, masks: &Masks) -> Result<Base, String> {
    let (zygote, first_word, theirs) =
        Zygote::pair(masks).map_err(|error| format!("no control socket could be made: {error}"))?;
    let spares_for = settings.spares_for.as_secs_f64().to_string();
    let own = [("DAGBOK_SPARES_FOR", spares_for.as_str())];
    let (output, child) = spawn(settings, "dagbok.runtime.zygote", theirs, &own)
        .map_err(|error| format!("it could not be run: {error}"))?;
    let words = Arc::new(Mutex::new(VecDeque::new()));
    let listening = tokio::spawn(listen(output, Arc::clone(&words), masks.clone()));
    let mut child = child;
    let problem = match timeout(START_TIMEOUT, first_word).await {
        Ok(Ok(Ok(ready))) => return Ok(Base { zygote: Arc::new(zygote), ready, child }),
        Ok(Ok(Err(error))) => format!("{}: {}", error.exception, error.message),
        Ok(Err(_)) => match timeout(Duration::from_secs(5), child.wait()).await {
            Ok(Ok(status)) => format!("it ended before it was ready ({status})"),
            _ => "it closed its control socket".to_owned(),
        },
        Err(_) => format!("it was not ready within {} s", START_TIMEOUT.as_secs()),
    };
    drop(child.kill().await);
    drop(timeout(Duration::from_secs(1), listening).await);
    let words: Vec<String> = words.lock().drain(..).collect();
    Err(if words.is_empty() {
        problem
    } else {
        format!("{problem}; it wrote: {}", words.join(" | "))
    })
}

/// `posix_spawn`, as an absolute path with nothing to do between fork and exec: the figures are in the
/// benchmark. In a process group of its own, so that Ctrl-C reaches the executor alone, which drains.
pub(crate) fn spawn(
    settings: &ExecutorSettings,
    module: &str,
    control: OwnedFd,
    own: &[(&str, &str)],
) -> io::Result<(pipe::Receiver, Child)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    let mut command = Command::new(&settings.python);
    // -P: what lies in the current folder must not stand in for Python's own modules.
    match &settings.start {
        Some(start) => command.arg("-P").arg(start).arg(module),
        None => command.args(["-P", "-m", module]),
    };
    for name in foreign_python_variables() {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os() {
        if !name.to_str().is_some_and(|name| settings.inherits(name)) {
            command.env_remove(name);
        }
    }
    command.envs(&settings.env).envs(own.iter().copied());
    if let Some(path) = &settings.python_path {
        let mut paths = OsString::from(path);
        let more = settings
            .env
            .get("PYTHONPATH")
            .map(OsString::from)
            .or_else(|| std::env::var_os("PYTHONPATH"));
        if let Some(more) = more.filter(|more| !more.is_empty()) {
            paths.push(":");
            paths.push(more);
        }
        command.env("PYTHONPATH", paths);
    }
    command
        .stdin(Stdio::from(control))
        .stdout(Stdio::from(write.try_clone()?))
        .stderr(Stdio::from(write));
    command.process_group(0).kill_on_drop(true);
    Ok((pipe::Receiver::from_owned_fd(read)?, command.spawn()?))
}

/// Passes on what zygotes write themselves: prints at the import of DAG files, Python's own complaints.
pub(crate) async fn listen(
    output: pipe::Receiver,
    words: Arc<Mutex<VecDeque<String>>>,
    masks: Masks,
) {
    let (mut splitter, mut buffer) = (Splitter::default(), vec![0; 8 << 10]);
    loop {
        if output.readable().await.is_err() {
            return;
        }
        match output.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => splitter.feed(&buffer[..n], |line, _| {
                let text = text::cut(&String::from_utf8_lossy(&masks.bytes(line)), WORDS_BYTES);
                tracing::info!(target: "dagbok_executor::zygote", "{text}");
                let mut words = words.lock();
                words.push_back(text);
                if words.len() > LAST_WORDS {
                    words.pop_front();
                }
            }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
