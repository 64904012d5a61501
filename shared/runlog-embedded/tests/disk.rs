//! Real file systems that lose power or run full. They need the right to mount one: where that is
//! not given the tests say so and pass, and `DAGBOK_REQUIRE_MOUNT=1` makes them fail instead. The same
//! promises are held everywhere by the crate's own tests, on a disk that is played.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
mod support;

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use dagbok_runlog::{AppendError, Draft, PortError, Seq};
use dagbok_runlog_embedded::{Durability, Options, open};
use support::{Writer, assert_whole, options, write_if_asked};
use tempfile::TempDir;

/// Not a test of its own: the process whose disk is taken away.
#[test]
fn writer() {
    write_if_asked();
}

/// A mounted file system, unmounted when dropped.
struct Mount {
    dir: TempDir,
}

impl Mount {
    /// Mounts, or says why it can't.
    fn new(arguments: &[&str]) -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        run("mount", &[arguments, &[dir.path().to_str().unwrap()]].concat())?;
        Ok(Self { dir })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let path = self.path().to_str().unwrap();
        // Lazily where something still holds it: it must not outlive the test.
        if run("umount", &[path]).is_err() {
            let _ = run("umount", &["--lazy", path]);
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let done = Command::new(program).args(arguments).output();
    let done = done.map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    done.status.success().then_some(()).ok_or_else(|| format!("{program}: {}", said.trim()))
}

/// The mount, unless this machine does not allow one.
fn allowed<T>(mounted: Result<T, String>) -> Option<T> {
    match mounted {
        Ok(mount) => Some(mount),
        Err(why) => {
            assert!(std::env::var("DAGBOK_REQUIRE_MOUNT").is_err(), "can't mount: {why}");
            eprintln!("skipped, as nothing can be mounted here: {why}");
            None
        }
    }
}

/// A file that holds an ext4.
fn ext4_image(dir: &TempDir) -> Result<String, String> {
    let image = dir.path().join("disk");
    File::create(&image).unwrap().set_len(256 << 20).unwrap();
    let image = image.to_str().unwrap().to_owned();
    run("mkfs.ext4", &["-q", "-F", &image])?;
    Ok(image)
}

/// Stops the file system as a power cut does: what is not on the disk is lost, its journal too.
/// (`EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`; in Python, as an ioctl takes `unsafe`.)
///
/// `before` is called at the last moment: what was acknowledged by then must be there. While the call
/// itself runs the kernel may still say yes to a flush, which no cut power does.
fn cut_power<T>(mount: &Path, before: impl FnOnce() -> T) -> Result<T, String> {
    let script = "import fcntl, os, struct, sys\n\
                  fd = os.open(sys.argv[1], os.O_RDONLY)\n\
                  print('ready', flush=True)\n\
                  sys.stdin.readline()\n\
                  fcntl.ioctl(fd, 0x8004587d, struct.pack('I', 2))";
    let mut python = Command::new("python3")
        .args(["-c", script, mount.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("python3: {error}"))?;
    let mut ready = String::new();
    BufReader::new(python.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let last = before();
    // The end of its input is the word to go.
    drop(python.stdin.take());
    let done = python.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    done.status.success().then_some(last).ok_or_else(|| format!("python3: {}", said.trim()))
}

/// Cuts the power under a writer; returns the last entry that it had acknowledged and the last that
/// is found afterwards.
async fn lose_power(durability: Durability, span: Duration) -> Option<(u64, u64)> {
    let dir = tempfile::tempdir().unwrap();
    let image = allowed(ext4_image(&dir))?;
    let mount = allowed(Mount::new(&["-o", "loop", &image]))?;
    let mut writer = Writer::start("writer", &mount.path().join("home"), durability);
    writer.let_write(span);
    let cut = cut_power(mount.path(), || writer.acknowledged());
    let at_the_end = writer.kill();
    let acknowledged = allowed(cut)?;
    eprintln!("{durability:?}: {} acknowledged during the cut", at_the_end - acknowledged);
    drop(mount);
    let mount = Mount::new(&["-o", "loop", &image]).unwrap();
    let (ports, report) = open(&mount.path().join("home"), options(durability)).unwrap();
    assert_whole(&*ports.log).await;
    ports.log.append(report.last, vec![note(1)]).await.unwrap();
    eprintln!("{durability:?}: acknowledged {acknowledged}; {report}");
    Some((acknowledged, report.last.0))
}

#[tokio::test]
async fn a_power_cut_takes_nothing_that_was_acknowledged() {
    for span in [3, 150, 400].map(Duration::from_millis) {
        let Some((acknowledged, found)) = lose_power(Durability::Fsync, span).await else { return };
        assert!(found >= acknowledged, "{acknowledged} were acknowledged, {found} are there");
    }
}

#[tokio::test]
async fn without_flushes_the_same_power_cut_takes_it() {
    let span = Duration::from_millis(150);
    let Some((acknowledged, found)) = lose_power(Durability::None, span).await else { return };
    assert!(found < acknowledged, "the test above would not notice a missing flush");
}

fn note(kilobytes: usize) -> Draft {
    Draft { subject: "log.note".to_owned(), payload: Bytes::from(vec![7; kilobytes << 10]) }
}

/// Appends until the disk is full; returns the last entry.
async fn fill(log: &dyn dagbok_runlog::RunLog, mut last: Seq) -> Seq {
    for _ in 0..10_000 {
        match log.append(last, vec![note(10)]).await {
            Ok(seq) => last = seq,
            Err(AppendError::Port(PortError::Unavailable { what: "log", why })) => {
                assert!(why.contains("No space left on device"), "{why}");
                return last;
            }
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the disk was never full");
}

/// Takes a MiB, as soon as there is one: a process that another test is just starting has our files too,
/// until it runs its own program, and with them their room.
fn fill_up(filler: &Path) {
    let until = Instant::now() + Duration::from_secs(10);
    while let Err(error) = fs::write(filler, vec![0; 1 << 20]) {
        assert!(Instant::now() < until, "there is no room: {error}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_the_log_goes_on_when_there_is_room() {
    let tmpfs = Mount::new(&["-t", "tmpfs", "-o", "size=2m", "tmpfs"]);
    let Some(mount) = allowed(tmpfs) else { return };
    let filler = mount.path().join("filler");
    fs::write(&filler, vec![0; 1 << 20]).unwrap();
    for segment_bytes in [64 << 10, 64 << 20] {
        let home = mount.path().join(format!("home-{segment_bytes}"));
        let options = Options { segment_bytes, ..Options::default() };
        let (ports, _) = open(&home, options).unwrap();
        let last = fill(&*ports.log, Seq::ZERO).await;
        assert!(last > Seq(10), "{last} entries fitted");
        assert_eq!(fill(&*ports.log, last).await, last, "it stays full");
        assert!(ports.blobs.put(vec![1; 200_000].into()).await.is_err());
        drop(ports);
        // A full disk does not keep the log from opening, nor a torn tail from being cut.
        let (ports, report) = open(&home, options).unwrap();
        assert_eq!((report.last, report.torn), (last, None));
        fs::remove_file(&filler).unwrap();
        assert_eq!(ports.log.append(last, vec![note(10)]).await.unwrap(), last.plus(1));
        ports.blobs.put(vec![1; 200_000].into()).await.unwrap();
        drop(ports);
        assert_eq!(open(&home, options).unwrap().1.last, last.plus(1));
        fs::remove_dir_all(&home).unwrap();
        fill_up(&filler);
    }
}

#[tokio::test]
async fn a_torn_tail_is_cut_on_a_full_disk_too() {
    let tmpfs = Mount::new(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
    let Some(mount) = allowed(tmpfs) else { return };
    let (ports, _) = open(mount.path(), Options::default()).unwrap();
    let last = fill(&*ports.log, Seq::ZERO).await;
    drop(ports);
    let segment = mount.path().join("log").join(format!("{:020}.seg", 1));
    let whole = fs::metadata(&segment).unwrap().len();
    File::options().write(true).open(&segment).unwrap().set_len(whole - 5_000).unwrap();
    while File::options()
        .append(true)
        .create(true)
        .open(mount.path().join("filler"))
        .is_ok_and(|mut file| std::io::Write::write_all(&mut file, &[0; 4_096]).is_ok())
    {}
    let (ports, report) = open(mount.path(), Options::default()).unwrap();
    let torn = report.torn.unwrap();
    assert_eq!((report.last, torn.cut, &torn.kept), (Seq(last.0 - 1), true, &None), "{torn}");
    fs::remove_file(mount.path().join("filler")).unwrap();
    ports.log.append(report.last, vec![note(1)]).await.unwrap();
}
