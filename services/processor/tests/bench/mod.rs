//! A folder, a run log in memory, and a scheduler that writes down what it is told.
use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use dagbok_events::decode_any;
use dagbok_events::encode_any;
use dagbok_inbox::INBOX_LEASE;
use dagbok_processor::{ProcessorError, ProcessorSettings, Python, run, run_all};
use dagbok_protocol::{Answer, Command, CommandBody, DagFile, names};
use dagbok_runlog::{Ports, QueueSettings, memory};
use dagbok_runtime::{Clock, Shutdown};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A file with one DAG of two tasks.
pub(crate) fn dag(id: &str) -> String {
    format!(
        "from airflow import DAG\nfrom airflow.operators.empty import EmptyOperator\n\
         with DAG('{id}', schedule=None):\n    \
         EmptyOperator(task_id='a') >> EmptyOperator(task_id='b')\n"
    )
}

/// A scheduler that does not answer.
pub(crate) fn silent() -> bool {
    false
}

/// What the scheduler was told.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    Read(Box<DagFile>),
    Gone(String),
    Bundle(String),
}

pub(crate) struct Bench {
    root: tempfile::TempDir,
    ports: Ports,
}

pub(crate) struct Running {
    shutdown: Shutdown,
    processor: JoinHandle<Result<(), ProcessorError>>,
    scheduler: JoinHandle<()>,
    said: mpsc::UnboundedReceiver<(String, CommandBody)>,
    /// What was published last of each folder, by what that goes by.
    pub(crate) published: BTreeMap<Option<String>, String>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("dags")).unwrap();
        Self { root, ports: memory::ports() }
    }

    fn dags(&self) -> PathBuf {
        self.root.path().join("dags")
    }

    /// A path beside the folder.
    pub(crate) fn outside(&self, name: &str) -> String {
        self.root.path().join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file of the folder, whole at once, as editors and git do.
    pub(crate) fn write(&self, name: &str, text: &str) {
        self.write_bytes(name, text.as_bytes());
    }

    /// The same of what is no text.
    pub(crate) fn write_bytes(&self, name: &str, text: &[u8]) {
        self.write_in("dags", name, text);
    }

    /// The same in another folder.
    pub(crate) fn write_in(&self, folder: &str, name: &str, text: &[u8]) {
        let path = self.folder(folder).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let draft = self.root.path().join("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(draft, path).unwrap();
    }

    /// Another folder.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Settings of several folders, each with a name before it or not.
    pub(crate) fn folders(&self, said: &[&str]) -> Vec<ProcessorSettings> {
        let one = |said: &&str| {
            let (name, folder) = said.split_once('=').unwrap_or(("", said));
            let (folder, name) = (self.folder(folder), (!name.is_empty()).then(|| name.to_owned()));
            ProcessorSettings { folder, name, rescan: Duration::from_secs(1), ..self.settings() }
        };
        said.iter().map(one).collect()
    }

    /// Starts a processor of several folders.
    pub(crate) fn start_folders(&self, said: &[&str]) -> Running {
        self.start_folders_on("localhost", said)
    }

    /// The same on another machine.
    pub(crate) fn start_folders_on(&self, host: &str, said: &[&str]) -> Running {
        let mut folders = self.folders(said);
        for folder in &mut folders {
            host.clone_into(&mut folder.host);
        }
        self.begin(|ports, shutdown| run_all(ports, folders, Clock::system(), shutdown), true)
    }

    /// The same where the scheduler does not answer.
    pub(crate) fn start_folders_unheard(&self, said: &[&str]) -> Running {
        let folders = self.folders(said);
        self.begin(|ports, shutdown| run_all(ports, folders, Clock::system(), shutdown), false)
    }

    pub(crate) async fn run_all_to_end(
        &self,
        folders: Vec<ProcessorSettings>,
    ) -> Result<(), ProcessorError> {
        run_all(self.ports.clone(), folders, Clock::system(), Shutdown::new()).await
    }

    /// Makes a link in the folder.
    pub(crate) fn link(&self, name: &str, to: &str) {
        std::os::unix::fs::symlink(to, self.dags().join(name)).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.dags().join(name)).unwrap();
    }

    pub(crate) fn settings(&self) -> ProcessorSettings {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let python = Python {
            interpreter: std::env::var_os("DAGBOK_PYTHON").map_or_else(
                || {
                    let venv = checkout.join(".venv/bin/python");
                    if venv.exists() { venv } else { "python3".into() }
                },
                PathBuf::from,
            ),
            package_path: Some(fs::canonicalize(checkout.join("shared/python/src")).unwrap()),
            start: None,
            env: BTreeMap::new(),
            bytecode: Some(std::env::temp_dir().join("dagbok-test-bytecode")),
            lookup: None,
        };
        let mut settings = ProcessorSettings::new(self.dags(), python);
        settings.debounce = Duration::from_millis(50);
        settings
    }

    pub(crate) fn start(&self) -> Running {
        self.start_with(self.settings())
    }

    pub(crate) fn start_with(&self, settings: ProcessorSettings) -> Running {
        self.begin(|ports, shutdown| run(ports, settings, Clock::system(), shutdown), true)
    }

    /// Starts with a scheduler that answers, or does not.
    pub(crate) fn start_before(&self, answers: bool) -> Running {
        let mut settings = self.settings();
        settings.answer_within = Duration::from_millis(200);
        self.begin(|ports, shutdown| run(ports, settings, Clock::system(), shutdown), answers)
    }

    fn begin<F>(&self, processor: impl FnOnce(Ports, Shutdown) -> F, answers: bool) -> Running
    where
        F: Future<Output = Result<(), ProcessorError>> + Send + 'static,
    {
        let (tell, said) = mpsc::unbounded_channel();
        let scheduler = tokio::spawn(scheduler(self.ports.clone(), tell, answers));
        let shutdown = Shutdown::new();
        let processor = tokio::spawn(processor(self.ports.clone(), shutdown.clone()));
        Running { shutdown, processor, scheduler, said, published: BTreeMap::new() }
    }

    pub(crate) async fn run_to_end(
        &self,
        settings: ProcessorSettings,
    ) -> Result<(), ProcessorError> {
        run(self.ports.clone(), settings, Clock::system(), Shutdown::new()).await
    }

    /// The names in a bundle.
    pub(crate) async fn bundle(&self, digest: &str) -> Vec<String> {
        self.unpack(digest).await.into_keys().collect()
    }

    /// A file in a bundle.
    pub(crate) async fn content(&self, digest: &str, name: &str) -> String {
        self.unpack(digest).await.remove(name).expect("it is in the bundle")
    }

    async fn unpack(&self, digest: &str) -> BTreeMap<String, String> {
        let packed = self.ports.blobs.get(digest).await.unwrap().expect("the bundle was stored");
        let mut archive = tar::Archive::new(zstd::Decoder::new(packed.as_ref()).unwrap());
        let entries = archive.entries().unwrap().map(|entry| {
            let (mut entry, mut text) = (entry.unwrap(), String::new());
            entry.read_to_string(&mut text).unwrap();
            (entry.path().unwrap().to_str().unwrap().to_owned(), text)
        });
        entries.collect()
    }
}

impl Running {
    async fn command(&mut self) -> (String, CommandBody) {
        timeout(PATIENCE, self.said.recv())
            .await
            .expect("nothing was told in time")
            .expect("the scheduler runs")
    }

    /// The next thing that is told.
    pub(crate) async fn next(&mut self) -> Said {
        match self.command().await.1 {
            CommandBody::DagFileRead(file) => Said::Read(file),
            CommandBody::DagFileGone { file } => Said::Gone(file),
            CommandBody::PublishBundle { bundle, folder } => {
                self.published.insert(folder, bundle.to_string());
                Said::Bundle(bundle.to_string())
            }
            other => panic!("a processor does not say {other:?}"),
        }
    }

    pub(crate) async fn several(&mut self, n: usize) -> Vec<Said> {
        let mut said = Vec::new();
        while said.len() < n {
            said.push(self.next().await);
        }
        said
    }

    /// The next `n` things that are told, all of which are readings.
    pub(crate) async fn next_read(&mut self, n: usize) -> Vec<DagFile> {
        let said = self.several(n).await.into_iter().map(|said| match said {
            Said::Read(file) => *file,
            other => panic!("{n} files were to be read, and it says {other:?}"),
        });
        said.collect()
    }

    /// The ids of the next `n` commands.
    pub(crate) async fn ids(&mut self, n: usize) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.len() < n {
            ids.push(self.command().await.0);
        }
        ids
    }

    pub(crate) async fn stop(self) {
        self.shutdown.start();
        timeout(PATIENCE, self.processor).await.expect("the processor stops").unwrap().unwrap();
        self.scheduler.abort();
    }
}

async fn scheduler(
    ports: Ports,
    tell: mpsc::UnboundedSender<(String, CommandBody)>,
    answers: bool,
) {
    let inbox =
        ports.queues.open(names::INBOX, QueueSettings { lease: INBOX_LEASE }).await.unwrap();
    loop {
        for item in inbox.pull(16, Duration::from_secs(1)).await.unwrap() {
            let command: Command = decode_any(&item.payload).unwrap();
            item.handle.ack().await.unwrap();
            if tell.send((command.id.to_string(), command.body)).is_err() {
                return;
            }
            if answers && let Some(subject) = command.reply_to {
                let answer = encode_any(&Answer::Accepted { seq: 1, run_id: None });
                ports.signals.publish(&subject, answer.into()).await.unwrap();
            }
        }
    }
}
