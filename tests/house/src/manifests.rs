//! What every manifest says alike.
use anyhow::{Context as _, Result};
use toml::{Table, Value};

use crate::tree::File;

/// What members' manifests and their `clippy.toml` leave out or say by themselves.
pub fn strays(files: &[File]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let thresholds =
        table(files.iter().find(|file| file.path == "clippy.toml").context("no clippy.toml")?)?;
    for file in files.iter().filter(|file| file.path.contains('/')) {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        // A crate's own file replaces the root's.
        if name == "clippy.toml" {
            let own = table(file)?;
            let missing = thresholds.iter().filter(|(key, value)| own.get(*key) != Some(value));
            wrong.extend(
                missing.map(|(key, _)| format!("{} must repeat the root's `{key}`", file.path)),
            );
        }
        if name == "Cargo.toml" {
            member(&file.path, &table(file)?, &mut wrong);
        }
    }
    Ok(wrong)
}

fn table(file: &File) -> Result<Table> {
    file.text.parse().with_context(|| file.path.clone())
}

fn member(path: &str, manifest: &Table, wrong: &mut Vec<String>) {
    let inherits = |value: Option<&Value>| {
        value.and_then(|it| it.get("workspace")) == Some(&Value::Boolean(true))
    };
    if !inherits(manifest.get("lints")) {
        wrong.push(format!("{path} must say `[lints] workspace = true`"));
    }
    for key in ["version", "edition", "rust-version", "license"] {
        if !inherits(manifest.get("package").and_then(|package| package.get(key))) {
            wrong.push(format!("{path} must say `{key}.workspace = true`"));
        }
    }
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        for (name, value) in manifest.get(kind).and_then(Value::as_table).into_iter().flatten() {
            if !inherits(Some(value)) {
                wrong.push(format!(
                    "{path}: `{name}` must be declared in the root's [workspace.dependencies]"
                ));
            }
        }
    }
}
