//! The project as it is, held to its rules.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
use std::{
    path::{Path, PathBuf},
    process::Command,
};

use dagbok_house::{
    arrows, documents,
    files::{self, MOST, NEAR},
    limits, manifests, purity,
    tree::{self, File},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files() -> Vec<File> {
    let files = tree::files(&root()).unwrap();
    assert!(files.iter().any(|file| file.path == "shared/events/src/lib.rs"), "the tree is read");
    files
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).current_dir(root()).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn arrows_point_at_events() {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let members = arrows::members(&serde_json::from_str(&metadata).unwrap()).unwrap();
    assert!(
        members.iter().any(|member| member.name == "dagbok-domain" && !member.needs.is_empty())
    );
    none(&arrows::wrong_arrows(&members));
}

#[test]
fn the_rules_stand_on_nothing_impure() {
    for name in arrows::PURE {
        let tree = cargo(&[
            "tree",
            "--package",
            name,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--no-dedupe",
        ]);
        assert!(tree.starts_with(name), "{tree}");
        assert_eq!(arrows::impure(&tree), Vec::<&str>::new(), "{name} stands on these");
    }
}

#[test]
fn the_rules_touch_nothing_but_their_arguments() {
    none(&purity::impure_words(&files()));
}

#[test]
fn the_wall_clock_is_read_in_one_place() {
    none(&purity::wall_clocks(&files()));
}

#[test]
fn files_are_not_long() {
    let files = files();
    let near = files::longer_than(&files, NEAR);
    eprintln!("files past {NEAR} lines, for people to look at:\n{}", near.join("\n"));
    none(&files::longer_than(&files, MOST));
}

#[test]
fn every_module_says_what_it_is_for() {
    none(&files::without_purpose(&files()));
}

#[test]
fn nothing_is_of_one_machine_or_left_undone() {
    none(&files::residue(&files()));
}

#[test]
fn no_log_line_says_a_field_twice() {
    // Put together, so that this file has none.
    let line = |fields: &str| File {
        path: "a.rs".to_owned(),
        text: ["tracing::warn!(", fields, ");"].concat(),
    };
    let twice = r#"file, message, "a file""#;
    let once = r#"%error, "a message, level with it""#;
    assert_eq!(files::fields_said_twice(&[line(twice), line(once)]).len(), 1);
    none(&files::fields_said_twice(&files()));
}

#[test]
fn documentation_has_no_example_that_nobody_runs() {
    let file = |language: &str| File {
        path: "a.rs".to_owned(),
        text: ["//! ```", language, "\n//! 1\n//! ", "```\n"].concat(),
    };
    assert_eq!(files::examples_unrun(&[file(""), file("rust"), file("text")]).len(), 2);
    none(&files::examples_unrun(&files()));
}

#[test]
fn every_published_limit_is_tried() {
    let file = |path: &str, text: &str| File::new(path, text);
    let limits = "pub const TASKS: usize = 5;\npub const RUNS: usize = 7;\n";
    let root = file("shared/protocol/src/limits.rs", limits);
    let used = file("shared/domain/src/lib.rs", "use limits::RUNS;\n#[cfg(test)]\nmod tests {}");
    let tried = file("shared/domain/tests/rules/edges.rs", "assert!(TASKS + 1);");
    let named = file("shared/domain/tests/rules/past.rs", "use limits::{\n    RUNS,\n};\n// RUNS");
    let part = file("tests/simulation/src/audit.rs", "let most = RUNS;");
    let untried = limits::untried(&[root, used, tried, named, part]);
    assert_eq!(untried, ["shared/protocol/src/limits.rs: no test names RUNS"]);
    none(&limits::untried(&files()));
}

#[test]
fn manifests_say_the_same() {
    none(&manifests::strays(&files()).unwrap());
}

#[test]
fn what_the_documents_name_exists() {
    none(&documents::dead_paths(&files()));
}
