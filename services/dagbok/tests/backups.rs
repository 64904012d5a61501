//! Backups without a service: what they refuse, prove and say. The homes hold logs alone, which a backup does not read
//! the meaning of.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod support;

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use dagbok_archive::Archive;
use dagbok_runlog::{Chain, Draft, ReadLimit, Seq};
use dagbok_runlog_embedded::{Durability, Options, open};
use dagbok_test_support::{NatsServer, SyncInterval, versions};
use serde_json::{Value, json};
use support::Bench;

/// A home with a log of 40 records; those below 31 are in `archive` alone where that is named. Returns a blob.
fn home(bench: &Bench, archive: Option<&str>) -> String {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let options = Options { durability: Durability::None, segment_bytes: 1_000 };
    runtime.block_on(async {
        let (ports, _) = open(Path::new(&bench.path("home")), options).unwrap();
        for n in 0..40 {
            let draft = Draft { subject: "log.a".to_owned(), payload: "x".repeat(100).into() };
            ports.log.append(Seq(n), vec![draft]).await.unwrap();
        }
        if let Some(archive) = archive {
            let mark = ports.log.mark().await.unwrap().unwrap();
            let limit = ReadLimit { entries: 30, ..ReadLimit::default() };
            let entries = ports.log.read(Seq::ZERO, limit).await.unwrap();
            let chain = Archive::new(Path::new(archive)).add(mark, Chain::START, &entries).unwrap();
            ports.log.trim(Seq(31), chain).await.unwrap();
        }
        ports.blobs.put("a blob".into()).await.unwrap()
    })
}

fn blob(root: &str, digest: &str) -> std::path::PathBuf {
    Path::new(root).join("blobs").join(&digest[..2]).join(&digest[2..])
}

#[test]
fn what_was_trimmed_must_be_in_the_backup_or_known_to_be_elsewhere() {
    let bench = Bench::new(&[]);
    home(&bench, Some(&bench.path("home/archive")));
    assert_eq!(bench.run(&["backup", &bench.path("whole")]).code, 0);
    let whole = bench.run(&["backup", "verify", &bench.path("whole")]);
    assert_eq!(whole.code, 0, "{whole:?}");

    // The archive is away: nothing is called a backup that could not be put back, and nothing of it stays.
    fs::rename(bench.path("home/archive"), bench.path("away")).unwrap();
    let refused = bench.run(&["backup", &bench.path("b")]);
    assert_eq!(refused.code, 9, "{refused:?}");
    assert!(refused.err.contains("home/archive does not hold what was before it"), "{refused:?}");
    assert_eq!(fs::read_dir(bench.path("b")).unwrap().count(), 0);
    let known = bench.run(&["backup", &bench.path("b"), "--without-archive", "--json"]);
    assert_eq!((known.code, &known.json()["without_archive"]), (0, &json!(true)), "{known:?}");
    assert_eq!(bench.run(&["backup", "verify", &bench.path("b")]).code, 0);
    fs::remove_dir_all(bench.path("home")).unwrap();
    let back = bench.run(&["restore", &bench.path("b")]);
    assert_eq!(back.code, 0, "{back:?}");
    assert!(back.out.contains("records 1 to 30 are in the archive"), "{back:?}");
}

#[test]
fn damage_from_before_is_no_success() {
    let bench = Bench::new(&[]);
    let digest = home(&bench, None);
    fs::write(blob(&bench.path("home"), &digest), "others").unwrap();
    let made = bench.run(&["backup", &bench.path("b"), "--json"]);
    assert_eq!((made.code, &made.json()["blobs"]["damaged"]), (9, &json!([digest])), "{made:?}");
    let told = bench.run(&["backup", "verify", &bench.path("b"), "--json"]);
    let said = told.json();
    assert_eq!((told.code, &said["ok"]), (9, &json!(false)), "{told:?}");
    assert_eq!((&said["damaged"], &said["faults"]), (&json!([digest]), &json!([])));
    let back = bench.run(&["restore", &bench.path("b"), "--home", &bench.path("other")]);
    assert!(back.code == 0 && back.out.contains("are lost"), "{back:?}");
}

#[test]
fn a_backup_does_not_lie_in_what_it_is_of() {
    let bench = Bench::new(&[]);
    home(&bench, None);
    symlink(bench.path("home"), bench.path("link")).unwrap();
    for to in ["home/b", "home/log/x", "link/deep/er"] {
        let refused = bench.run(&["backup", &bench.path(to)]);
        assert!(refused.code == 4 && refused.err.contains("lost with it"), "{refused:?}");
        assert!(!Path::new(&bench.path(to)).exists());
    }
    assert_eq!(bench.run(&["backup", &bench.path("b")]).code, 0);
    let refused = bench.run(&["restore", &bench.path("b"), "--home", &bench.path("b/home")]);
    assert!(refused.code == 4 && refused.err.contains("lies in the backup"), "{refused:?}");
}

#[test]
fn a_folder_that_is_there_is_filled_where_it_is() {
    let bench = Bench::new(&[]);
    home(&bench, None);
    assert_eq!(bench.run(&["backup", &bench.path("b")]).code, 0);
    // A volume's root behind a link, with what a restore that was killed has left in it.
    fs::create_dir_all(bench.path("volume/lost+found")).unwrap();
    fs::create_dir_all(bench.path("volume/.dagbok-restoring/log")).unwrap();
    fs::write(bench.path("volume/.dagbok-restoring/log/half"), "x").unwrap();
    symlink(bench.path("volume"), bench.path("data")).unwrap();
    let back = bench.run(&["restore", &bench.path("b"), "--home", &bench.path("data")]);
    assert_eq!(back.code, 0, "{back:?}");
    assert!(back.err.contains("was cut off, and was removed"), "{back:?}");
    assert!(fs::symlink_metadata(bench.path("data")).unwrap().is_symlink());
    let names = |path: &str| {
        let entries = fs::read_dir(bench.path(path)).unwrap();
        let mut names: Vec<String> =
            entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names("volume"), ["blobs", "lock", "log", "lost+found"]);
    assert!(!Path::new(&bench.path("volume/log/half")).exists());

    // Beside a folder that is not there: what was left goes as well, but not while somebody fills it.
    fs::create_dir(bench.path(".dagbok-restoring-new")).unwrap();
    let lock = fs::File::create(bench.path(".dagbok-restoring-new/lock")).unwrap();
    lock.lock().unwrap();
    let held = bench.run(&["restore", &bench.path("b"), "--home", &bench.path("new")]);
    assert!(held.code == 4 && held.err.contains("another restore fills"), "{held:?}");
    drop(lock);
    let back = bench.run(&["restore", &bench.path("b"), "--home", &bench.path("new")]);
    assert_eq!(back.code, 0, "{back:?}");
    assert!(!Path::new(&bench.path(".dagbok-restoring-new")).exists());
    symlink(bench.path("nowhere"), bench.path("dangling")).unwrap();
    let refused = bench.run(&["restore", &bench.path("b"), "--home", &bench.path("dangling")]);
    assert!(refused.code == 8 && refused.err.contains("can't be followed"), "{refused:?}");
}

#[test]
fn files_that_nobody_may_write_are_copied_with_their_rights_and_hints_go_by_what_was_put_back() {
    let bench = Bench::new(&[]);
    home(&bench, None);
    let (key, archive) = (bench.path("keys/master"), bench.path("far/archive"));
    fs::create_dir(bench.path("keys")).unwrap();
    fs::write(&key, "key").unwrap();
    let text = format!("[secrets]\nkey_file = \"{key}\"\n[retention]\narchive = \"{archive}\"\n");
    fs::write(bench.path("home/dagbok.toml"), text).unwrap();
    for path in [&key, &bench.path("home/dagbok.toml")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o400)).unwrap();
    }
    let made = bench.run(&["backup", &bench.path("b"), "--with-keys", "--json"]);
    assert_eq!((made.code, &made.json()["keys"]), (0, &json!(["secrets.key"])), "{made:?}");
    fs::rename(bench.path("home"), bench.path("before")).unwrap();
    fs::remove_file(&key).unwrap();
    let back = bench.run(&["restore", &bench.path("b"), "--json"]);
    assert_eq!(back.code, 0, "{back:?}");
    let said = back.json();
    assert_eq!((&said["lacks_key"], &said["key"]), (&json!(true), &json!(key)), "{said}");
    let to_do = said["to_do"].to_string();
    assert!(to_do.contains("home/secrets.key, and `secrets.key_file` names"), "{to_do}");
    for name in ["secrets.key", "dagbok.toml"] {
        let rights = fs::metadata(bench.path(&format!("home/{name}"))).unwrap().permissions();
        assert_eq!(rights.mode() & 0o777, 0o400, "{name}");
    }
}

#[test]
fn on_nats_the_log_comes_before_the_blobs_and_the_rest_after_both() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let (bench, url) = (Bench::new(&[]), server.url());
    let settings = dagbok_runlog_jetstream::ConnectSettings::new(url.clone(), "team");
    tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(dagbok_runlog_jetstream::connect(settings))
        .unwrap();
    fs::create_dir_all(bench.path("home/archive")).unwrap();
    for name in ["1-10.arc", "11-20.arc"] {
        fs::write(bench.path(&format!("home/archive/{name}")), "x").unwrap();
    }
    let to = bench.path("b");
    let ask = || bench.run(&["backup", &to, "--nats", &url, "--namespace", "team", "--json"]);
    let first = ask();
    assert_eq!((first.code, &first.json()["manifest"]), (4, &Value::Null), "{first:?}");
    let commands = first.json()["commands"].take();
    let streams: Vec<&str> = commands
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap().split(' ').nth(5).unwrap())
        .collect();
    assert_eq!(streams, ["dagbok_team_log", "dagbok_team_blobs"], "no snapshots, and nothing else");
    assert!(!Path::new(&to).exists(), "there is no half of one");

    // As the server's tool leaves them.
    for stream in streams {
        let dir = Path::new(&to).join("streams").join(stream);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("backup.json"), r#"{"state":{"last_seq":12}}"#).unwrap();
        fs::write(dir.join("stream.tar.s2"), "bytes").unwrap();
    }
    let made = ask();
    assert_eq!((made.code, &made.json()["commands"]), (0, &json!([])), "{made:?}");
    let there = |name: &str| Path::new(&to).join("archive").join(name).exists();
    assert!(there("1-10.arc") && !there("11-20.arc"), "the archive is not ahead of the log");
    assert_eq!(bench.run(&["backup", "verify", &to]).code, 0);
    fs::write(Path::new(&to).join("streams/dagbok_team_log/stream.tar.s2"), "bytEs").unwrap();
    assert_eq!(bench.run(&["backup", "verify", &to]).code, 9);
}
