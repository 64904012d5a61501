//! What processes have of GPUs' memory, where NVIDIA's own tool is there to say it.
use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How long it may take; on a machine with trouble it hangs.
const WITHIN: Duration = Duration::from_secs(2);
/// So often in a row it may fail before it is asked no more.
const FAILURES: u32 = 3;

/// Asks `nvidia-smi`.
#[derive(Debug)]
pub(crate) struct Gpus {
    tool: Option<PathBuf>,
    failures: u32,
}

impl Gpus {
    /// With the tool that the search path has; asks nobody where it has none.
    pub(crate) fn find() -> Self {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let tool = std::env::split_paths(&paths).map(|folder| folder.join("nvidia-smi"));
        Self { tool: tool.into_iter().find(|file| file.is_file()), failures: 0 }
    }

    /// Bytes of GPUs' memory by process; `None` where nobody can say.
    pub(crate) fn ask(&mut self) -> Option<BTreeMap<u32, u64>> {
        let tool = self.tool.as_ref()?;
        let said = run(tool);
        if said.is_some() {
            self.failures = 0;
        } else {
            self.failures += 1;
            if self.failures >= FAILURES {
                tracing::warn!(tool = %tool.display(), "says nothing of GPUs, and is asked no more");
                self.tool = None;
            }
        }
        said
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
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
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
        let mut gpus = Gpus { tool: Some(tool.clone()), failures: 0 };
        say(
            "#!/bin/sh\ntest \"$1\" = --query-compute-apps=pid,used_gpu_memory || exit 1\necho '41, 3'\n",
        );
        assert_eq!(gpus.ask(), Some(BTreeMap::from([(41, 3 << 20)])));
        say("#!/bin/sh\nexit 9\n");
        (0..FAILURES).for_each(|_| assert_eq!(gpus.ask(), None));
        assert_eq!(gpus.tool, None);
        assert_eq!(Gpus { tool: None, failures: 0 }.ask(), None);
    }
}
