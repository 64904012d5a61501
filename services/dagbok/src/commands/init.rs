//! `dagbok init`: a folder with a first DAG, a test of it, and a configuration to begin with. With `--json` one object:
//! `folder`, `files`.
use std::{fs, io::ErrorKind, path::Path};

use serde_json::json;

use crate::{
    cli::Init,
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{program, quoted},
};

const DAG: &str = include_str!("init/first.py");
const TEST: &str = include_str!("init/test_dags.py");
const CONFIG: &str = include_str!("init/dagbok.toml");

pub(crate) fn run(context: &Context, args: &Init) -> Outcome {
    let files = [("dags/first.py", DAG), ("tests/test_dags.py", TEST), ("dagbok.toml", CONFIG)];
    let folder = args.folder.as_path();
    // All are looked at before the first is written.
    if let Some((name, _)) =
        files.iter().find(|(name, _)| folder.join(name).symlink_metadata().is_ok())
    {
        let what = format!("`{}` is there already", folder.join(name).display());
        return Err(
            Failure::new(Code::Refused, what).next("name another folder; nothing was written")
        );
    }
    for (at, (name, text)) in files.iter().enumerate() {
        if let Err(failure) = write(&folder.join(name), text) {
            // Half of it would be in the way of the next attempt.
            files[..at].iter().for_each(|(name, _)| drop(fs::remove_file(folder.join(name))));
            return Err(failure);
        }
    }
    if context.out.is_json() {
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        context.out.document(&json!({ "folder": folder.display().to_string(), "files": names }));
        return Ok(Exit::Ok);
    }
    for (name, _) in files {
        context.out.line(&format!("made {}", folder.join(name).display()));
    }
    let at = |name: &str| quoted(&folder.join(name).display().to_string());
    let program = program();
    context.out.line(&format!("  next: {program} dags test {}", at("dags/first.py")));
    context.out.line(&format!(
        "        {program} standalone --config {} --dags {}",
        at("dagbok.toml"),
        at("dags")
    ));
    Ok(Exit::Ok)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    let written = made.and_then(|()| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        std::io::Write::write_all(&mut file, text.as_bytes())
    });
    written.map_err(|error| {
        let code = if error.kind() == ErrorKind::AlreadyExists {
            Code::Refused
        } else {
            Code::HomeUnusable
        };
        Failure::new(code, format!("`{}` can't be written: {error}", path.display()))
    })
}
