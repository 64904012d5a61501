//! Has the base zygote fork one that loads a DAG file, and waits for it, but not for ever.
use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    time::Duration,
};

use tokio::time::timeout;

use super::{
    Zygote,
    control::kill,
    message::{Ready, ToZygote},
};
use crate::{log::Masks, place::PlaceError, raised::Raised};

/// What a loading zygote may take to say that its time was up.
const SLACK: Duration = Duration::from_secs(5);

/// Loads `file` of the bundle in `folder` within `limit`.
pub(crate) async fn load(
    base: &Zygote,
    folder: &Path,
    file: &str,
    limit: Duration,
    masks: &Masks,
) -> Result<(Zygote, Ready), PlaceError> {
    let broken = |why: &str| PlaceError::Start(why.to_owned());
    let bundle_path = folder.to_str().ok_or_else(|| broken("the bundle's path is not UTF-8"))?;
    let (zygote, first_word, theirs) = Zygote::pair(masks)
        .map_err(|error| broken(&format!("no control socket could be made: {error}")))?;
    let (env, seconds) = (BTreeMap::new(), limit.as_secs_f64());
    let word = ToZygote::Load { bundle_path, file, env: &env, timeout: seconds };
    let loading = KillUnlessOver { end: inode_of(&theirs), base: base.pid(), armed: true };
    let sent = base.send(&word, &[theirs.as_fd()]).await;
    drop(theirs);
    sent.map_err(|error| broken(&format!("the base zygote did not take the load: {error}")))?;
    let word = timeout(limit + SLACK, first_word).await;
    if matches!(word, Ok(Ok(_))) {
        loading.over();
    }
    match word {
        Ok(Ok(Ok(ready))) => Ok((zygote, ready)),
        Ok(Ok(Err(error))) => Err(PlaceError::Load(error)),
        Ok(Err(_)) if base.is_gone() => Err(broken("the base zygote went away")),
        Ok(Err(_)) => Err(failed(file, "Crash", "the process ended while it imported the file")),
        Err(_) => Err(failed(file, "Timeout", &format!("the import took longer than {seconds} s"))),
    }
}

fn failed(file: &str, exception: &str, message: &str) -> PlaceError {
    PlaceError::Load(Raised {
        exception: exception.to_owned(),
        message: message.to_owned(),
        file: Some(file.to_owned()),
        ..Raised::default()
    })
}

/// Kills a zygote that was given up while it loaded: an endless import never looks at its socket. Its pid
/// is not known yet; it is whoever holds the other end of that socket.
struct KillUnlessOver {
    end: Option<u64>,
    base: Option<u32>,
    armed: bool,
}

impl KillUnlessOver {
    fn over(mut self) {
        self.armed = false;
    }
}

impl Drop for KillUnlessOver {
    fn drop(&mut self) {
        if let (true, Some(end), Some(base)) = (self.armed, self.end, self.base) {
            std::thread::spawn(move || children_holding(base, end).into_iter().for_each(kill));
        }
    }
}

fn inode_of(socket: &OwnedFd) -> Option<u64> {
    rustix::fs::fstat(socket).ok().map(|stat| stat.st_ino)
}

/// Children of `base` that have the socket `end` open.
fn children_holding(base: u32, end: u64) -> Vec<u32> {
    let children =
        fs::read_to_string(format!("/proc/{base}/task/{base}/children")).unwrap_or_default();
    let socket = format!("socket:[{end}]");
    let holds = |pid: &u32| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        fds.filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|link| link.as_os_str() == socket.as_str())
    };
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(holds).collect()
}
