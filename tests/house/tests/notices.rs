//! Each rule of the house, shown what breaks it.
use std::fs;

use dagbok_house::{
    arrows::{self, Member},
    documents, files, manifests, purity,
    tree::{self, File},
};

fn crate_of(name: &str, needs: &[&str], dev_needs: &[&str]) -> Member {
    let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let is_test = name == "dagbok-test-support";
    Member { name: name.to_owned(), is_test, needs: set(needs), dev_needs: set(dev_needs) }
}

fn wrong_arrow(name: &str, needs: &[&str], dev_needs: &[&str]) -> Vec<String> {
    let known = [
        "dagbok-events",
        "dagbok-protocol",
        "dagbok-domain",
        "dagbok-runlog",
        "dagbok-runlog-embedded",
        "dagbok-executor",
        "dagbok-scheduler",
        "dagbok-test-support",
        "dagbok",
    ];
    let others =
        known.iter().filter(|known| **known != name).map(|known| crate_of(known, &[], &[]));
    let members: Vec<Member> = others.chain([crate_of(name, needs, dev_needs)]).collect();
    arrows::wrong_arrows(&members)
}

#[test]
fn arrows_that_point_elsewhere() {
    for (name, needs, dev_needs) in [
        ("dagbok-events", &["dagbok-protocol"][..], &[][..]),
        ("dagbok-domain", &["dagbok-runlog"], &[]),
        ("dagbok-runlog", &["dagbok-events"], &[]),
        ("dagbok-scheduler", &["dagbok-runlog-embedded"], &[]),
        ("dagbok-scheduler", &["dagbok-executor"], &[]),
        ("dagbok-scheduler", &[], &["dagbok-executor"]),
        ("dagbok-executor", &["dagbok-domain"], &[]),
        ("dagbok-executor", &["dagbok-test-support"], &[]),
        ("dagbok", &["dagbok-test-support"], &[]),
        ("dagbok-executor", &["sled"], &[]),
        ("dagbok-domain", &["anyhow"], &[]),
        ("dagbok-unheard-of", &[], &[]),
    ] {
        let wrong = wrong_arrow(name, needs, dev_needs);
        assert!(
            !wrong.is_empty() && wrong.iter().all(|it| it.contains(name)),
            "{name} {needs:?}: {wrong:?}"
        );
    }
    let right = wrong_arrow(
        "dagbok-scheduler",
        &["dagbok-domain", "tokio"],
        &["dagbok-test-support", "anyhow"],
    );
    assert_eq!(right, Vec::<String>::new());
    assert_eq!(
        wrong_arrow("dagbok", &["dagbok-executor", "dagbok-runlog-embedded"], &[]),
        Vec::<String>::new()
    );
}

#[test]
fn members_come_from_the_metadata() {
    let metadata = serde_json::json!({
        "workspace_root": "/w", "workspace_members": ["a", "t"],
        "packages": [
            { "id": "a", "name": "a", "manifest_path": "/w/shared/a/Cargo.toml", "dependencies": [
                { "name": "b", "kind": null }, { "name": "c", "kind": "dev" }, { "name": "d", "kind": "build" }] },
            { "id": "t", "name": "t", "manifest_path": "/w/tests/t/Cargo.toml", "dependencies": [] },
            { "id": "z", "name": "z", "manifest_path": "/elsewhere/Cargo.toml", "dependencies": [] }
        ]
    });
    let mut a = crate_of("a", &["b", "d"], &["c"]);
    let t = Member { is_test: true, ..crate_of("t", &[], &[]) };
    a.is_test = false;
    assert_eq!(arrows::members(&metadata).unwrap(), [a, t]);
}

#[test]
fn what_the_rules_must_not_stand_on() {
    let tree = "dagbok-domain v0.1.0 (x)\nserde v1.0.0\ntokio v1.54.0\nrandom-names v1.0.0\ngetrandom v0.4.3\n";
    assert_eq!(arrows::impure(tree), ["getrandom", "tokio"]);
}

#[test]
fn words_that_the_rules_must_not_use() {
    for (line, is_wrong) in [
        ("use std::collections::HashMap;", true),
        ("let now = std::time::Instant::now();", true),
        ("use std::time::SystemTime;", true),
        ("pub async fn decide() {}", true),
        ("std::fs::read(path)", true),
        ("let now = jiff::Timestamp::now();", true),
        ("// a HashMap would not do", false),
        ("let instant = Timestamp(3);", false),
        ("use std::collections::BTreeMap;", false),
    ] {
        for (path, is_rule) in [
            ("shared/domain/src/a.rs", true),
            ("shared/events/src/b.rs", true),
            ("services/api/src/c.rs", false),
        ] {
            let found = purity::impure_words(&[File::new(path, line)]);
            assert_eq!(!found.is_empty(), is_wrong && is_rule, "{path}: {line}: {found:?}");
        }
    }
}

#[test]
fn clocks_read_elsewhere() {
    let line = "let at = SystemTime::now();";
    let found = |path: &str| purity::wall_clocks(&[File::new(path, line)]).len();
    assert_eq!(found("services/scheduler/src/leader.rs"), 1);
    assert_eq!(found("shared/runtime/src/clock.rs"), 0);
    assert_eq!(found("services/scheduler/tests/terms.rs"), 0);
    assert_eq!(purity::wall_clocks(&[File::new("services/a/src/b.rs", "Instant::now()")]).len(), 0);
}

#[test]
fn files_that_are_too_long() {
    let lines = |count: usize| "x\n".repeat(count);
    let long = |path: &str, count: usize| {
        files::longer_than(&[File::new(path, &lines(count))], files::MOST)
    };
    assert_eq!(long("services/a/src/b.rs", 501), ["services/a/src/b.rs has 501 lines"]);
    assert_eq!(long("shared/python/src/dagbok/a.py", 501).len(), 1);
    for (path, count) in [
        ("services/a/src/b.rs", 500),
        ("services/a/tests/b.rs", 900),
        ("a/src/b/tests.rs", 900),
        ("a/c.json", 900),
    ] {
        assert_eq!(long(path, count), Vec::<String>::new());
    }
}

#[test]
fn modules_without_a_purpose() {
    let silent = [
        File::new("a.rs", "use x;\n//! late\n"),
        File::new("b.rs", "//! Says.\n"),
        File::new("c.py", "x"),
    ];
    assert_eq!(files::without_purpose(&silent), ["a.rs does not begin with `//!`"]);
}

#[test]
fn what_is_of_one_machine_or_left_undone() {
    let found = |path: &str, text: &str| files::residue(&[File::new(path, text)]);
    // In two pieces, so that this file is clean itself.
    for (before, after) in [
        ("see /wo", "rk/main/x"),
        ("\"/ro", "ot/.cargo\""),
        ("cd /ho", "me/ada/dags"),
        ("// TO", "DO: later"),
        ("<<<<<", "<< ours"),
        ("--index-u", "rl https://mirror.example/simple"),
    ] {
        let line = format!("{before}{after}");
        assert_eq!(found("a/b.md", &line).len(), 1, "{line}");
    }
    for (before, after) in [
        ("src/wo", "rk/a.rs"),
        ("~/wo", "rk/dags"),
        ("$PWD/root/x", ""),
        ("the task's to-do", ""),
        ("./home/x", ""),
    ] {
        let line = format!("{before}{after}");
        assert_eq!(found("a/b.md", &line), Vec::<String>::new(), "{line}");
    }
    let home = format!("WORKDIR /ho{}", "me/nonroot");
    assert_eq!(found("deploy/container/Containerfile", &home), Vec::<String>::new());
    assert_eq!(
        found("Cargo.lock", "source = \"registry+https://mirror.example/index\"\n").len(),
        1
    );
    assert_eq!(
        found("web/package-lock.json", "  \"resolved\": \"https://mirror.example/a.tgz\",\n").len(),
        1
    );
    assert_eq!(
        found("web/package-lock.json", "  \"resolved\": \"https://registry.npmjs.org/a.tgz\",\n")
            .len(),
        0
    );
    assert_eq!(found(".cargo/config.toml", "").len(), 1);
}

#[test]
fn manifests_that_go_their_own_way() {
    let root =
        File::new("clippy.toml", "too-many-lines-threshold = 70\nallow-unwrap-in-tests = true\n");
    let good = "[package]\nversion.workspace = true\nedition.workspace = true\nrust-version.workspace = true\n\
                license.workspace = true\n[dependencies]\nserde.workspace = true\n[lints]\nworkspace = true\n";
    let strays =
        |path: &str, text: &str| manifests::strays(&[root.clone(), File::new(path, text)]).unwrap();
    assert_eq!(strays("a/Cargo.toml", good), Vec::<String>::new());
    for (from, to) in [
        ("[lints]\nworkspace = true", ""),
        ("serde.workspace = true", "serde = \"1\""),
        ("license.workspace = true", "license = \"MIT\""),
    ] {
        assert_eq!(strays("a/Cargo.toml", &good.replace(from, to)).len(), 1, "{from}");
    }
    assert_eq!(
        strays("a/clippy.toml", "too-many-lines-threshold = 90\nallow-unwrap-in-tests = true\n")
            .len(),
        1
    );
    assert_eq!(strays("a/clippy.toml", "too-many-lines-threshold = 70\n").len(), 1);
}

#[test]
fn paths_that_lead_nowhere() {
    let tree = |document: &str| {
        documents::dead_paths(&[
            File::new("shared/events/src/lib.rs", ""),
            File::new("deploy/errors/DB1.md", document),
            File::new("deploy/errors/DB2.md", ""),
            File::new("LICENSE", ""),
        ])
    };
    for dead in [
        "`shared/events/src/gone.rs`",
        "`services`, `deploy/nats/`",
        "[x](DB9.md)",
        "`README.md`",
        "`deploy/x.rs:3`",
    ] {
        assert_eq!(tree(dead).len(), 1, "{dead}: {:?}", tree(dead));
    }
    let sound = "`shared/events` `shared/events/src/lib.rs:12` [x](DB2.md#a) [y](../../LICENSE) `LICENSE` `a/b` \
                 `shared/*/x` `deploy/errors/` [z](https://example.org/x)\n```\n`shared/gone`\n```\n";
    assert_eq!(tree(sound), Vec::<String>::new());
}

#[test]
fn the_tree_is_what_is_not_ignored() {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [
        (".gitignore", "target/\n"),
        ("a/b.rs", "//! B."),
        ("target/x.rs", ""),
        (".git/y", ""),
        (".ci/run", "z"),
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::write(folder.path().join("image.png"), [0xff, 0xfe]).unwrap();
    let found = tree::files(folder.path()).unwrap();
    let paths: Vec<&str> = found.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, [".ci/run", ".gitignore", "a/b.rs", "image.png"]);
    assert_eq!(found[2], File::new("a/b.rs", "//! B."));
}
