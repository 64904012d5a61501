//! What was before this start: the files that the scheduler was told of, where folders lay, who holds their names. What
//! this processor answers for, and has no more, it takes leave of.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use dagbok_events::{file_in, folder_of, path_in_folder};
use dagbok_protocol::CommandBody;
use dagbok_runlog::{PortResult, Ports};
use dagbok_runtime::Backoff;

use super::{several::Common, telling::log_answer};
use crate::{
    ProcessorSettings,
    folders::UNNAMED,
    holders::{self, Holder, Holders},
    known,
    roots::{self, Roots},
};

/// The pause before the ports are asked again what is known.
const PAUSE: Duration = Duration::from_secs(1);

/// What was before.
#[derive(Clone)]
pub(super) struct Before {
    /// Files that the scheduler was told of.
    pub(super) known: BTreeSet<String>,
    pub(super) roots: Roots,
    /// Folders of processors elsewhere.
    pub(super) others: Holders,
}

impl Before {
    /// It, as soon as the ports say.
    pub(super) async fn load(ports: Ports, folders: Vec<ProcessorSettings>) -> Self {
        let mut backoff = Backoff::new(PAUSE / 8, PAUSE);
        loop {
            match Self::look(&ports, &folders).await {
                Ok(before) => return before,
                Err(error) => {
                    tracing::warn!(%error, "which files were known before can't be read; trying again");
                    backoff.pause().await;
                }
            }
        }
    }

    async fn look(ports: &Ports, folders: &[ProcessorSettings]) -> PortResult<Self> {
        let (resumes, host) = kept_by(folders);
        let known = known::load(ports, resumes).await?;
        let roots = roots::load(ports, resumes, host).await?;
        let mut others = holders::load(&*ports.state).await?;
        let here: BTreeSet<Holder> = folders.iter().map(holder).collect();
        others.retain(|_, holder| !here.contains(holder));
        Ok(Self { known, roots, others })
    }

    /// What the folders here were called, and are not any more.
    fn left(
        &self,
        folders: &[ProcessorSettings],
        names: &[Option<String>],
    ) -> BTreeSet<Option<String>> {
        let was = folders.iter().filter_map(|it| self.roots.get(&place(it)).cloned());
        let is_left = |was: &Option<String>| {
            !names.contains(was) && !self.others.contains_key(was.as_deref().unwrap_or(UNNAMED))
        };
        was.filter(is_left).collect()
    }

    /// Keeps what is from now on, and tells that files are gone whose folder no processor has any more. A folder that was
    /// given another name leaves the files that it had by the one before. Of the rest a processor all of whose folders were
    /// given names answers for those alone; another one for all, but for names that a processor of that kind has had of late.
    pub(super) async fn take_leave(
        &self,
        common: &Common,
        folders: &[ProcessorSettings],
        names: &[Option<String>],
    ) {
        let left = self.left(folders, names);
        let mut is_left = true;
        let has_all = folders.iter().any(|folder| folder.name.is_none());
        if !has_all {
            let said = names.iter().map(|name| name.as_deref().unwrap_or(UNNAMED).to_owned());
            let own = said.zip(folders.iter().map(holder)).collect();
            holders::keep(common.ports.state.clone(), own, &common.shutdown);
        }
        let mut away: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
        for file in &self.known {
            let folder = folder_of(file);
            if !names.iter().any(|name| name.as_deref() == folder) {
                away.entry(folder).or_default().push(path_in_folder(file));
            }
        }
        for (folder, files) in away {
            let (name, count) = (folder.unwrap_or(UNNAMED), files.len());
            let was_renamed = left.contains(&folder.map(str::to_owned));
            if was_renamed {
                tracing::warn!(folder = name, files = count, "a DAG folder has another name now");
            } else if let Some(Holder { host, place }) = self.others.get(name) {
                tracing::info!(
                    folder = name,
                    host,
                    place,
                    "another processor has this folder, or had it of late"
                );
                continue;
            } else if !has_all {
                not_here(name, count);
                continue;
            } else {
                tracing::warn!(
                    folder = name,
                    files = count,
                    "a DAG folder is not among those of now"
                );
            }
            let is_told = leave(common, folder, files).await;
            is_left &= is_told || !was_renamed;
        }
        if !is_left {
            // The next start sees that it was renamed, as this one did.
            return;
        }
        self.keep_roots(&common.ports, folders, names).await;
        for name in left {
            let name = name.as_deref().unwrap_or(UNNAMED);
            if let Err(error) = holders::let_go(&*common.ports.state, name).await {
                tracing::warn!(folder = name, %error, "the name that a DAG folder had can't be let go; it is within a day");
            }
        }
    }

    /// Keeps where the folders lie.
    async fn keep_roots(
        &self,
        ports: &Ports,
        folders: &[ProcessorSettings],
        names: &[Option<String>],
    ) {
        let mut roots = self.roots.clone();
        for (folder, is) in folders.iter().zip(names) {
            // A name is one folder's: the one that had it before lies here now, or is another by now.
            roots.retain(|_, other| other != is);
            roots.insert(place(folder), is.clone());
        }
        let (resumes, host) = kept_by(folders);
        if let Err(error) = roots::keep(ports, &roots, resumes, host).await {
            tracing::warn!(%error, "where the DAG folders lie can't be kept");
        }
    }
}

/// Whether what is kept outlasts the keyed state, and for which machine.
fn kept_by(folders: &[ProcessorSettings]) -> (bool, &str) {
    folders.first().map_or((false, ""), |first| (first.state_ends_with_process, &first.host))
}

fn place(folder: &ProcessorSettings) -> String {
    folder.folder.to_string_lossy().into_owned()
}

fn holder(folder: &ProcessorSettings) -> Holder {
    Holder { host: folder.host.clone(), place: place(folder) }
}

/// Says what is to be done about files of a folder that nobody here answers for, and perhaps nobody at all.
fn not_here(name: &str, files: usize) {
    if name == UNNAMED {
        tracing::warn!(
            files,
            "files of a folder without a name are known, and each folder here has one: where they are those of one of \
             these, call it `{UNNAMED}` (--dags {UNNAMED}=DIR)",
        );
    } else {
        tracing::warn!(
            folder = name,
            files,
            "files of a DAG folder are known that no processor has had within a day: where it is one of these under another \
             name, its DAGs stay those of the old one; call it that again (--dags {name}=DIR)",
        );
    }
}

/// Tells that these files are gone; whether all of it could be told.
async fn leave(common: &Common, folder: Option<&str>, files: Vec<&str>) -> bool {
    let mut is_told = true;
    for path in files {
        let file = file_in(folder, path);
        let told = common.teller.tell(&file, CommandBody::DagFileGone { file: file.clone() });
        if !log_answer(&file, &told.await) {
            is_told = false;
        } else if let Err(error) = known::forget(&common.ports, &file).await {
            tracing::warn!(file, %error, "that the file is gone could not be kept");
        }
    }
    is_told
}
