//! A real nats-server on a free loopback port, with a store of its own that goes with it.
use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

/// The versions that `tests/nats` pins.
pub mod versions {
    /// The newest that the tests run on.
    pub const NEWEST: &str = "2.15.1";
    /// One in between.
    pub const MIDDLE: &str = "2.12.8";
    /// The oldest that Dagbok takes.
    pub const OLDEST: &str = "2.11.11";
    /// One that must be refused.
    pub const TOO_OLD: &str = "2.10.26";
}

/// How long a server may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(20);
/// Ports that are tried: below those that the kernel hands to outgoing connections, so that a
/// stopped server's port is still free when it starts again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// When the server writes to its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncInterval {
    /// Every two minutes: what the server does unless told otherwise.
    #[default]
    Default,
    /// Before every acknowledgement.
    Always,
}

/// How to start a server.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// One of [`versions`].
    pub version: String,
    /// When it writes to its disk.
    pub sync: SyncInterval,
    /// More lines for its configuration: users, a cluster.
    pub extra: String,
    /// Whether JetStream is on.
    pub jetstream: bool,
    /// What it may hold in files, in bytes; without it as much as the server sees fit.
    pub most: Option<u64>,
}

impl NatsOptions {
    /// A server of `version` as it is by default, with JetStream.
    pub fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            sync: SyncInterval::Default,
            extra: String::new(),
            jetstream: true,
            most: None,
        }
    }
}

/// A running server, or one that was stopped; killed when dropped.
#[derive(Debug)]
pub struct NatsServer {
    binary: PathBuf,
    folder: TempDir,
    port: u16,
    monitor: u16,
    child: Option<Child>,
}

impl NatsServer {
    /// Starts a server of one of [`versions`], with JetStream.
    pub fn start(version: &str, sync: SyncInterval) -> Self {
        Self::start_with(&NatsOptions { sync, ..NatsOptions::new(version) })
    }

    /// Starts a server with these options, and returns once it greets.
    pub fn start_with(options: &NatsOptions) -> Self {
        let binary = binary(&options.version);
        // Another test may take a port between the look and the start.
        for _ in 0..5 {
            let folder = tempfile::tempdir().expect("there is room for a temporary folder");
            let (port, monitor) = (free_port(), free_port());
            let config = config(options, port, monitor, folder.path());
            fs::write(folder.path().join("server.conf"), config).expect("the folder is ours");
            let mut server = Self { binary: binary.clone(), folder, port, monitor, child: None };
            if server.launch() {
                return server;
            }
        }
        panic!("nats-server {} did not start five times in a row", options.version);
    }

    /// Where clients connect: `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where its monitoring pages are: `http://127.0.0.1:<port>`.
    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.monitor)
    }

    /// How many streams there are, as its monitoring page tells.
    pub fn streams(&self) -> u64 {
        let mut page = TcpStream::connect(("127.0.0.1", self.monitor)).expect("it runs");
        page.write_all(b"GET /jsz HTTP/1.0\r\n\r\n").expect("it listens");
        let mut said = String::new();
        page.read_to_string(&mut said).expect("it answers");
        let count = said.split("\"streams\":").nth(1).expect("the page tells of streams");
        let digits = |c: &char| c.is_ascii_digit();
        count.trim_start().chars().take_while(digits).collect::<String>().parse().expect("a number")
    }

    /// The clients' port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) {
        self.end(Signal::SIGTERM);
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        self.end(Signal::SIGKILL);
    }

    /// Starts it again on the same port and store; one that runs is asked to end first.
    pub fn restart(&mut self) {
        self.stop();
        assert!(self.launch(), "nats-server did not start again:\n{}", self.log());
    }

    /// Lets it stand still, with its connections open, until [`NatsServer::thaw`].
    ///
    /// Returns once it does: a signal is only asked for, and other threads of the server may answer
    /// for a moment longer.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let pid = self.pid().expect("only a server that runs is frozen");
        let tasks = PathBuf::from(format!("/proc/{pid}/task"));
        let stopped = |task: fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        };
        let end = Instant::now() + Duration::from_secs(10);
        while !fs::read_dir(&tasks).is_ok_and(|all| all.flatten().all(stopped)) {
            assert!(Instant::now() < end, "nats-server {pid} did not stop for SIGSTOP");
            sleep(Duration::from_millis(1));
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Where it stores.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Deletes everything that a stopped server has stored.
    pub fn wipe(&self) {
        assert!(self.child.is_none(), "stop the server before its store is deleted");
        fs::remove_dir_all(self.store()).expect("the store is ours");
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let pid = i32::try_from(pid).expect("process ids are positive 32-bit numbers");
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    fn end(&mut self, signal: Signal) {
        self.signal(signal);
        self.thaw();
        if let Some(mut child) = self.child.take() {
            let deadline = Instant::now() + PATIENCE;
            while ended(&mut child).is_none() {
                if Instant::now() > deadline {
                    let _ = child.kill();
                    let _ = child.wait();
                    panic!("nats-server did not end within {PATIENCE:?}:\n{}", self.log());
                }
                sleep(Duration::from_millis(5));
            }
        }
    }

    /// Whether it started; not where its port is taken.
    fn launch(&mut self) -> bool {
        let log = self.folder.path().join("server.log");
        let log = File::options().create(true).append(true).open(log).expect("the folder is ours");
        let errors = log.try_clone().expect("a file can be opened twice");
        let child = Command::new(&self.binary)
            .arg("-c")
            .arg(self.folder.path().join("server.conf"))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn();
        let mut child = child.unwrap_or_else(|e| panic!("{}: {e}", self.binary.display()));
        let deadline = Instant::now() + PATIENCE;
        while !greets(self.port) {
            if ended(&mut child).is_some() {
                assert!(
                    self.log().contains("address already in use"),
                    "nats-server ended:\n{}",
                    self.log()
                );
                return false;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                panic!("nats-server does not greet within {PATIENCE:?}:\n{}", self.log());
            }
            sleep(Duration::from_millis(5));
        }
        self.child = Some(child);
        true
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Has a server of `version` read a configuration without starting; its words where it refuses.
pub fn check_config(version: &str, file: &Path, env: &[(&str, &str)]) -> Result<(), String> {
    let output = Command::new(binary(version))
        .arg("-t")
        .arg("-c")
        .arg(file)
        .envs(env.iter().copied())
        .output()
        .expect("the server can be run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

fn ended(child: &mut Child) -> Option<ExitStatus> {
    child.try_wait().expect("the child is ours")
}

/// Whether a NATS server greets on that port.
fn greets(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("two seconds are not zero");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("INFO ")
}

/// A port that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = PORTS.end - PORTS.start;
    // Tests run in processes of their own: each begins elsewhere.
    let begin = u16::try_from(std::process::id() * 37 % u32::from(span)).unwrap_or_default();
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + (begin.wrapping_add(step) % span);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port of {PORTS:?} is free");
}

fn config(options: &NatsOptions, port: u16, monitor: u16, folder: &Path) -> String {
    let mut text = format!("host: 127.0.0.1\nport: {port}\nhttp: \"127.0.0.1:{monitor}\"\n");
    if options.jetstream {
        let store = folder.join("store");
        write!(text, "jetstream {{\n  store_dir: {:?}\n", store.display().to_string())
            .expect("writing to a string does not fail");
        if options.sync == SyncInterval::Always {
            text.push_str("  sync_interval: always\n");
        }
        if let Some(most) = options.most {
            writeln!(text, "  max_file_store: {most}").expect("writing to a string does not fail");
        }
        text.push_str("}\n");
    }
    text.push_str(&options.extra);
    text.push('\n');
    text
}

/// The server of a version: what `DAGBOK_NATS_SERVER` names for the newest, or what
/// `tests/nats/install.sh` has fetched.
fn binary(version: &str) -> PathBuf {
    let named = std::env::var_os("DAGBOK_NATS_SERVER").filter(|_| version == versions::NEWEST);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = named.map_or_else(
        || root.join(".tools/nats").join(format!("nats-server-{version}")),
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "this test needs nats-server {version} at {}: run `tests/nats/install.sh` in the root of \
         the work tree (for {}, DAGBOK_NATS_SERVER may name one instead)",
        path.display(),
        versions::NEWEST
    );
    path
}
