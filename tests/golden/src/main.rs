//! `cargo run -p dagbok-golden`: shows golden logs, adds new ones, records what the folds make of them.
use std::{fs, io::Write as _};

use anyhow::{Context as _, Result, bail};
use dagbok_events::Record;
use dagbok_golden::{raw::Without, shelf::Shelf};

const USAGE: &str = "\
--show NAME              the records of a golden log as JSON, one a line: what --add takes
--add NAME FILE          adds a golden log of the records in FILE
    --without all        leaves out of its bytes whatever may be missing
    --without TYPE.FIELD leaves out that field, or several with commas between
--outcome NAME|all       records anew what the folds make of a golden log, after the rules changed";

fn main() -> Result<()> {
    let shelf = Shelf::of_the_project();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--show", name] => show(&shelf, name),
        ["--add", name, file] => shelf.add(name, &records(file)?, &Without::Nothing),
        ["--add", name, file, "--without", what] => {
            shelf.add(name, &records(file)?, &Without::of(what))
        }
        ["--outcome", "all"] => {
            shelf.names()?.iter().try_for_each(|name| shelf.record_outcome(name))
        }
        ["--outcome", name] => shelf.record_outcome(name),
        _ => bail!("usage of dagbok-golden:\n{USAGE}"),
    }
}

fn show(shelf: &Shelf, name: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for record in shelf.read(name)?.records()? {
        writeln!(out, "{}", serde_json::to_string(&record)?)?;
    }
    Ok(())
}

fn records(file: &str) -> Result<Vec<Record>> {
    let text = fs::read_to_string(file).with_context(|| format!("can't read {file}"))?;
    let record = |(line, number): (&str, usize)| {
        serde_json::from_str(line).with_context(|| format!("{file}, line {number}"))
    };
    text.lines().zip(1..).map(record).collect()
}
