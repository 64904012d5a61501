//! The folder of golden logs: read, checked against its digests, added to, never changed.
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use dagbok_events::{Record, decode, encode, encode_any, entry_json};
use dagbok_runlog::digest_of;
use serde_json::Value;

use crate::{
    frames::{read_frames, write_frames},
    outcome,
    raw::{self, Without},
    replay,
};

const SUMS: &str = "SHA256SUMS";

/// Where golden logs lie.
#[derive(Clone, Debug)]
pub struct Shelf {
    root: PathBuf,
}

/// A golden log.
#[derive(Clone, Debug)]
pub struct Golden {
    /// Its name.
    pub name: String,
    /// Its records, as they lie on a log.
    pub payloads: Vec<Vec<u8>>,
    /// What `entry_json` gave for each.
    pub entries: Vec<Value>,
}

impl Golden {
    /// What each payload decodes to.
    pub fn records(&self) -> Result<Vec<Record>> {
        let name = &self.name;
        let decode = |(payload, number): (&Vec<u8>, u64)| {
            decode(payload).with_context(|| format!("logs/{name}.log, record {number}"))
        };
        self.payloads.iter().zip(1..).map(decode).collect()
    }
}

impl Shelf {
    /// The one of the project.
    pub fn of_the_project() -> Self {
        Self::at(env!("CARGO_MANIFEST_DIR"))
    }

    /// One elsewhere.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The names of the logs, sorted.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = self
            .files()?
            .iter()
            .filter_map(|file| Some(file.strip_suffix(".log")?.to_owned()))
            .collect();
        names.sort();
        Ok(names)
    }

    /// A log.
    pub fn read(&self, name: &str) -> Result<Golden> {
        let bytes = self.bytes(&format!("{name}.log"))?;
        let payloads = read_frames(&bytes).with_context(|| format!("logs/{name}.log"))?;
        let text = String::from_utf8(self.bytes(&format!("{name}.jsonl"))?)?;
        let entries: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        let entries = entries.with_context(|| format!("logs/{name}.jsonl"))?;
        ensure!(
            payloads.len() == entries.len(),
            "logs/{name}.log and logs/{name}.jsonl differ in length"
        );
        Ok(Golden {
            name: name.to_owned(),
            payloads: payloads.into_iter().map(<[u8]>::to_vec).collect(),
            entries,
        })
    }

    /// What is wrong with the files: changed, unlisted, gone.
    pub fn wrong(&self) -> Result<Vec<String>> {
        let sums = self.sums()?;
        let mut wrong = Vec::new();
        for (file, sum) in &sums {
            match self.bytes(file) {
                Err(_) => wrong.push(format!("logs/{file} is gone")),
                Ok(bytes) if digest_of(&bytes) != *sum => {
                    wrong.push(format!("logs/{file} was changed"));
                }
                Ok(_) => {}
            }
        }
        let unlisted =
            self.files()?.into_iter().filter(|file| file != SUMS && !sums.contains_key(file));
        wrong.extend(unlisted.map(|file| format!("logs/{file} is not in logs/{SUMS}")));
        Ok(wrong)
    }

    /// Adds a log of these records, written without some of what may be missing.
    pub fn add(&self, name: &str, records: &[Record], without: &Without) -> Result<()> {
        let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        ensure!(
            !name.is_empty() && name.chars().all(sound),
            "`{name}` is no name: use `a-z`, `0-9` and `-`"
        );
        let files = [format!("{name}.log"), format!("{name}.jsonl")];
        let mut sums = self.sums()?;
        for file in &files {
            if sums.contains_key(file) || self.path(file).exists() {
                bail!(
                    "logs/{file} is there already; golden logs are never changed, take another name"
                );
            }
        }
        let payloads: Vec<Vec<u8>> =
            records.iter().map(|record| bytes_of(record, without)).collect();
        let mut entries = String::new();
        for (payload, seq) in payloads.iter().zip(1..) {
            entries += &entry_json(seq, &decode(payload)?).to_string();
            entries.push('\n');
        }
        for (file, bytes) in files.into_iter().zip([write_frames(&payloads), entries.into_bytes()])
        {
            sums.insert(file.clone(), digest_of(&bytes));
            fs::write(self.path(&file), bytes)
                .with_context(|| format!("can't write logs/{file}"))?;
        }
        let text =
            sums.iter().fold(String::new(), |text, (file, sum)| text + sum + "  " + file + "\n");
        fs::write(self.path(SUMS), text).with_context(|| format!("can't write logs/{SUMS}"))?;
        self.record_outcome(name)
    }

    /// The outcome as it was recorded; null where none was.
    pub fn outcome(&self, name: &str) -> Result<Value> {
        match fs::read(self.outcome_path(name)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
            Err(error) => Err(error).with_context(|| format!("can't read outcomes/{name}.json")),
        }
    }

    /// Records what the folds of today make of a log.
    pub fn record_outcome(&self, name: &str) -> Result<()> {
        let replayed = replay::replay(&self.read(name)?)?;
        let text = serde_json::to_string_pretty(&outcome::of(&replayed)?)?;
        fs::write(self.outcome_path(name), text + "\n")
            .with_context(|| format!("can't write outcomes/{name}.json"))
    }

    fn sums(&self) -> Result<BTreeMap<String, String>> {
        let text = fs::read_to_string(self.path(SUMS)).unwrap_or_default();
        let line = |line: &str| {
            let (sum, file) =
                line.split_once("  ").with_context(|| format!("logs/{SUMS}: `{line}`"))?;
            Ok((file.to_owned(), sum.to_owned()))
        };
        text.lines().map(line).collect()
    }

    fn files(&self) -> Result<Vec<String>> {
        let folder = self.root.join("logs");
        let listing =
            fs::read_dir(&folder).with_context(|| format!("can't read {}", folder.display()))?;
        listing.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn bytes(&self, file: &str) -> Result<Vec<u8>> {
        fs::read(self.path(file)).with_context(|| format!("can't read logs/{file}"))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.root.join("logs").join(file)
    }

    fn outcome_path(&self, name: &str) -> PathBuf {
        self.root.join("outcomes").join(format!("{name}.json"))
    }

    /// The folder that all is in.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

fn bytes_of(record: &Record, without: &Without) -> Vec<u8> {
    let bytes = encode(record);
    if matches!(without, Without::Nothing) {
        return bytes;
    }
    let mut tree = raw::tree(&bytes).expect("it was just encoded");
    raw::walk(&raw::schema(), &mut tree, &mut without.clone());
    encode_any(&tree)
}
