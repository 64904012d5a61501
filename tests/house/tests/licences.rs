//! The licence check, shown what it must notice.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

const CRATES: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The exit code, and what was said.
fn check(packages: &[Value], policy: &Path) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let metadata = folder.path().join("metadata.json");
    std::fs::write(&metadata, json!({ "packages": packages }).to_string()).unwrap();
    let python = std::env::var_os("DAGBOK_PYTHON").unwrap_or_else(|| "python3".into());
    let output = Command::new(python)
        .arg(here().join("licences.py"))
        .arg("--metadata")
        .arg(metadata)
        .arg("--policy")
        .arg(policy)
        .output()
        .expect("Python 3.11 or later is `python3` or DAGBOK_PYTHON");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

fn policy() -> PathBuf {
    here().join("../../deny.toml")
}

fn package(name: &str, licence: &str) -> Value {
    json!({ "name": name, "version": "1.0.0", "license": licence, "source": CRATES })
}

#[test]
fn permissive_licences_pass() {
    for licence in [
        "MIT",
        "MIT/Apache-2.0",
        "Apache-2.0 / MIT",
        "MIT OR GPL-3.0",
        "(MIT OR GPL-2.0-only) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR MIT",
        "Apache-2.0 AND ISC",
    ] {
        let (code, said) = check(&[package("a", licence)], &policy());
        assert_eq!(code, 0, "{licence}: {said}");
    }
}

#[test]
fn other_licences_do_not() {
    for licence in [
        "GPL-3.0-only",
        "MPL-2.0",
        "MIT AND GPL-2.0-only",
        "(MIT AND GPL-2.0-only) OR LGPL-3.0",
        "GPL-2.0-only WITH Classpath-exception-2.0",
        "SSPL-1.0",
        "MIT AND",
        "(MIT",
        "",
    ] {
        let (code, said) = check(&[package("culprit", licence), package("b", "MIT")], &policy());
        assert_eq!(code, 1, "{licence}: {said}");
        assert!(said.contains("culprit 1.0.0") && !said.contains("b 1.0.0"), "{said}");
    }
}

#[test]
fn exceptions_are_for_one_crate_and_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deny.toml");
    let text = std::fs::read_to_string(policy()).unwrap();
    let excepted = r#"exceptions = [{ crate = "fine", allow = ["MPL-2.0"] }]"#;
    std::fs::write(&path, text.replace("exceptions = []", excepted)).unwrap();
    assert_eq!(check(&[package("fine", "MPL-2.0")], &path).0, 0);
    assert_eq!(check(&[package("fine", "MIT"), package("other", "MPL-2.0")], &path).0, 1);
    let (code, said) = check(&[package("other", "MIT")], &path);
    assert!(code == 1 && said.contains("not used any more"), "{said}");
}

#[test]
fn banned_crates_and_other_sources_do_not_pass() {
    for name in ["aws-lc-sys", "openssl-sys", "native-tls"] {
        let (code, said) = check(&[package(name, "MIT")], &policy());
        assert!(code == 1 && said.contains("is banned"), "{said}");
    }
    for source in ["registry+https://mirror.example/index", "git+https://example.org/a?rev=1"] {
        let mut elsewhere = package("a", "MIT");
        elsewhere["source"] = json!(source);
        let (code, said) = check(&[elsewhere], &policy());
        assert!(code == 1 && said.contains(source), "{said}");
    }
    let mut ours = package("a", "Apache-2.0");
    ours["source"] = Value::Null;
    assert_eq!(check(&[ours], &policy()).0, 0);
}

#[test]
fn duplicates_are_named_and_pass() {
    let mut newer = package("twice", "MIT");
    newer["version"] = json!("2.0.0");
    let (code, said) = check(&[package("twice", "MIT"), newer, package("once", "MIT")], &policy());
    assert!(code == 0 && said.contains("twice 1.0.0, 2.0.0") && !said.contains("once"), "{said}");
}
