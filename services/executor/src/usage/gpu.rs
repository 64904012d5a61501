//! What processes have of GPUs' memory, where NVIDIA's own tool is there to say it.
use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// How long it may take; on a machine with trouble it hangs.
const WITHIN: Duration = Duration::from_secs(2);
/// So often in a row it may fail before it is asked no more.
const FAILURES: u32 = 3;

/// Asks `nvidia-smi`, in a thread of its own: where it hangs, nobody's limit waits for it.
#[derive(Debug)]
pub(crate) struct Gpus {
    tool: Option<PathBuf>,
    failures: u32,
    asked: Option<(Instant, mpsc::Receiver<Option<Used>>)>,
    last: Option<Used>,
}

/// Bytes of GPUs' memory by process.
type Used = BTreeMap<u32, u64>;

impl Gpus {
    /// With the tool that the search path has; asks nobody where it has none.
    pub(crate) fn find() -> Self {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let tool = std::env::split_paths(&paths).map(|folder| folder.join("nvidia-smi"));
        Self::with(tool.into_iter().find(|file| file.is_file()))
    }

    fn with(tool: Option<PathBuf>) -> Self {
        let mut gpus = Self { tool, failures: 0, asked: None, last: None };
        gpus.ask();
        gpus
    }

    /// What it said last; `None` where nobody can say. It is asked anew for the next time, and not waited for.
    pub(crate) fn ask(&mut self) -> Option<Used> {
        self.hear();
        if let (Some(tool), None) = (self.tool.clone(), &self.asked) {
            let (tell, told) = mpsc::channel();
            let thread = thread::Builder::new().name("gpus".to_owned());
            // Where there is no thread, that is heard as its silence.
            drop(thread.spawn(move || drop(tell.send(run(&tool)))));
            self.asked = Some((Instant::now(), told));
        }
        self.last.clone()
    }

    fn hear(&mut self) {
        let Some((since, told)) = &self.asked else { return };
        let said = match told.try_recv() {
            Ok(said) => said,
            Err(mpsc::TryRecvError::Disconnected) => None,
            Err(mpsc::TryRecvError::Empty) if since.elapsed() < WITHIN * 2 => return,
            Err(mpsc::TryRecvError::Empty) => {
                // It does not even die. Another would hang beside it.
                self.failures = FAILURES;
                None
            }
        };
        self.asked = None;
        self.last = said;
        if self.last.is_some() {
            self.failures = 0;
            return;
        }
        self.failures += 1;
        if let Some(tool) = self.tool.take_if(|_| self.failures >= FAILURES) {
            tracing::warn!(tool = %tool.display(), "says nothing of GPUs, and is asked no more");
        }
    }
}

fn run(tool: &PathBuf) -> Option<BTreeMap<u32, u64>> {
    let mut child = Command::new(tool)
        .args(["--query-compute-apps=pid,used_gpu_memory", "--format=csv,noheader,nounits"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let until = Instant::now() + WITHIN;
    loop {
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
            _ => {
                // Gone already is as good.
                drop(child.kill());
                drop(child.wait());
                return None;
            }
        }
    }
    // A line for each process: a pipe holds thousands of them.
    let output = child.wait_with_output().ok().filter(|output| output.status.success())?;
    Some(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// Lines of a pid and MiB; a process stands on a line for each GPU. What is no number (`[N/A]`) says nothing.
fn parse(text: &str) -> BTreeMap<u32, u64> {
    let mut used = BTreeMap::new();
    for line in text.lines() {
        let Some((pid, mib)) = line.split_once(',') else { continue };
        if let (Ok(pid), Ok(mib)) = (pid.trim().parse::<u32>(), mib.trim().parse::<u64>()) {
            *used.entry(pid).or_default() += mib << 20;
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_process_on_two_gpus_has_both() {
        let used = parse("41, 100\n41, 28\n7, [N/A]\nNo running processes found\n9, 1\n");
        assert_eq!(used, BTreeMap::from([(41, 128 << 20), (9, 1 << 20)]));
    }

    #[test]
    fn the_tool_is_asked_where_it_is_there_and_no_more_where_it_fails() {
        let folder = tempfile::tempdir().unwrap();
        let tool = folder.path().join("nvidia-smi");
        let say = |script: &str| {
            fs::write(&tool, script).unwrap();
            fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        };
        say(
            "#!/bin/sh\ntest \"$1\" = --query-compute-apps=pid,used_gpu_memory || exit 1\necho '41, 3'\n",
        );
        let mut gpus = Gpus::with(Some(tool.clone()));
        let said = |gpus: &mut Gpus| {
            while gpus.asked.is_some() {
                gpus.hear();
                thread::yield_now();
            }
            gpus.last.clone()
        };
        assert_eq!(said(&mut gpus), Some(BTreeMap::from([(41, 3 << 20)])));
        say("#!/bin/sh\nexit 9\n");
        for _ in 0..FAILURES {
            gpus.ask();
            assert_eq!(said(&mut gpus), None);
        }
        assert_eq!(gpus.tool, None);
        assert_eq!(Gpus::with(None).ask(), None);
    }

    #[test]
    fn a_tool_that_does_not_end_is_not_waited_for() {
        let (tell, told) = mpsc::channel();
        let long_ago = Instant::now().checked_sub(WITHIN * 2).unwrap();
        let tool = Some(PathBuf::from("/bin/true"));
        let mut gpus = Gpus { tool, failures: 0, asked: Some((long_ago, told)), last: None };
        assert_eq!((gpus.ask(), gpus.tool), (None, None), "and is asked no more");
        drop(tell);
    }
}
