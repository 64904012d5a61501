//! What the parser says of a file, in the words of the protocol.
use std::collections::BTreeMap;

use dagbok_events::{DagId, DagSpec, Digest, ScheduleForetold, Timetable, encode_any};
use dagbok_protocol::{
    ImportError, RegisteredDag,
    limits::{INLINE_TRACEBACK_BYTES, MESSAGE_BYTES},
    text, too_large,
};
use dagbok_runlog::digest_of;
use dagbok_zipped::ZipError;
use serde::Deserialize;

/// What an error is called that says why a zip can't be read.
const BROKEN_ZIP: &str = "BadZipFile";

/// What one file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedFile {
    /// Its path in the folder.
    pub file: String,
    /// Its DAGs, with the hashes of their meanings.
    pub dags: Vec<RegisteredDag>,
    /// What can't be read.
    pub errors: Vec<ImportError>,
    /// Whether one of the errors may go away though nothing in the folder changes.
    pub may_heal: bool,
    /// Files in the folder that it read, or asked for and did not find.
    pub imports: Vec<String>,
    /// Folders in it whose names it listed; empty for the folder itself.
    pub listed: Vec<String>,
    /// Places in the folder where it looked for modules: `lib/names` for `lib/names.py` or a package.
    pub sought: Vec<String>,
    /// Whether it asked for variables or connections of the log: those can change though nothing in the folder does.
    pub looked_up: bool,
    /// What its author should know, though it works.
    pub warnings: Vec<String>,
}

/// The parser's line, as `python -m dagbok.parsing` writes it.
#[derive(Debug, Deserialize)]
struct ParsedLine {
    file: String,
    #[serde(default)]
    dags: Vec<serde_json::Value>,
    #[serde(default)]
    errors: Vec<ErrorLine>,
    #[serde(default)]
    imports: Vec<String>,
    #[serde(default)]
    listed: Vec<String>,
    #[serde(default)]
    sought: Vec<String>,
    #[serde(default)]
    looked_up: bool,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    foretold: BTreeMap<DagId, Box<ScheduleForetold>>,
}

/// A line before it, about what the import depends on.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Note {
    Read(String),
    Listed(String),
    Sought(String),
}

#[derive(Debug, Deserialize)]
struct ErrorLine {
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    line: Option<u32>,
    exception: String,
    message: String,
    #[serde(default)]
    traceback: Option<String>,
    may_heal: bool,
}

impl ParsedFile {
    /// Changes every DAG of it, so that it is another meaning.
    pub fn adjust(&mut self, mut change: impl FnMut(&mut DagSpec)) {
        for dag in &mut self.dags {
            change(&mut dag.spec);
            dag.spec_digest = spec_digest(&dag.spec);
        }
    }

    /// Takes the DAGs out that `fault` finds a fault in, and tells of those as errors instead.
    pub fn refuse(&mut self, fault: impl Fn(&DagSpec) -> Option<ImportError>) {
        let (dags, errors) = (std::mem::take(&mut self.dags), &mut self.errors);
        for dag in dags {
            match fault(&dag.spec) {
                Some(error) => errors.push(cut(error)),
                None => self.dags.push(dag),
            }
        }
    }

    /// A file of which there is nothing but an error to tell, that stands until something changes.
    pub(crate) fn failed(file: &str, exception: &str, message: String, traceback: String) -> Self {
        let error = ImportError { line: None, exception: exception.to_owned(), message, traceback };
        Self { file: file.to_owned(), errors: vec![cut(error)], ..Self::default() }
    }

    /// What lies in a zip that can't be read.
    pub(crate) fn of_zip(file: &str, error: &ZipError) -> Self {
        Self::failed(file, BROKEN_ZIP, error.to_string(), String::new())
    }

    /// Whether there is nothing to tell but that its zip can't be read.
    pub(crate) fn is_of_broken_zip(&self) -> bool {
        // What Python raises has a traceback.
        let is_of_zip = |it: &ImportError| it.exception == BROKEN_ZIP && it.traceback.is_empty();
        self.dags.is_empty() && matches!(&self.errors[..], [error] if is_of_zip(error))
    }

    /// Adds what the parser noted of the import before its end, `stdout` being all that it said.
    pub(crate) fn noted(mut self, stdout: &[u8]) -> Self {
        for line in stdout.split(|byte| *byte == b'\n') {
            match serde_json::from_slice(line) {
                Ok(Note::Read(file)) => self.imports.push(file),
                Ok(Note::Listed(folder)) => self.listed.push(folder),
                Ok(Note::Sought(place)) => self.sought.push(place),
                Err(_) => {}
            }
        }
        self
    }

    /// Reads the parser's answer about `file`; the reason where it is none.
    pub(crate) fn from_answer(file: &str, stdout: &[u8]) -> Result<Self, String> {
        let last = stdout.split(|byte| *byte == b'\n').rfind(|line| !line.trim_ascii().is_empty());
        let Some(last) = last else { return Err("it ended without an answer".to_owned()) };
        let line: ParsedLine = serde_json::from_slice(last)
            .map_err(|error| format!("its answer can't be read: {error}"))?;
        if line.file != file {
            return Err(format!("its answer is about `{}`", line.file));
        }
        let mut parsed = Self {
            file: line.file,
            may_heal: line.errors.iter().any(|error| error.may_heal),
            errors: line.errors.into_iter().map(|error| error.into_import_error(file)).collect(),
            imports: line.imports,
            listed: line.listed,
            sought: line.sought,
            looked_up: line.looked_up,
            warnings: line.warnings,
            ..Self::default()
        };
        let mut foretold = line.foretold;
        for dag in line.dags {
            match registered(file, dag) {
                Ok(mut dag) => {
                    dag.foretold = foretold.remove(&dag.spec.dag_id);
                    parsed.dags.push(dag);
                }
                Err(error) => parsed.errors.push(cut(error)),
            }
        }
        Ok(parsed)
    }
}

impl ParsedFile {
    /// Has the file, and with it its DAGs, go by what it is called in the facts.
    pub(crate) fn go_by(&mut self, file: &str) {
        file.clone_into(&mut self.file);
        for dag in &mut self.dags {
            file.clone_into(&mut dag.spec.source.file);
        }
    }

    /// The DAGs whose timetables are written in Python.
    pub(crate) fn to_foretell(&self) -> impl Iterator<Item = &DagId> {
        let python =
            |dag: &&RegisteredDag| matches!(dag.spec.schedule.timetable, Timetable::Python { .. });
        self.dags.iter().filter(python).map(|dag| &dag.spec.dag_id)
    }
}

impl ErrorLine {
    fn into_import_error(self, file: &str) -> ImportError {
        let elsewhere = self.file.filter(|place| !place.is_empty() && place != file);
        let (line, message) = match (elsewhere, self.line) {
            (None, line) => (line, self.message),
            (Some(place), None) => (None, format!("in {place}: {}", self.message)),
            (Some(place), Some(line)) => {
                (None, format!("in {place}, line {line}: {}", self.message))
            }
        };
        let traceback = self.traceback.unwrap_or_default();
        cut(ImportError { line, exception: self.exception, message, traceback })
    }
}

/// A DAG with its hash, or why it is none.
fn registered(file: &str, dag: serde_json::Value) -> Result<RegisteredDag, ImportError> {
    let name = dag.get("dag_id").and_then(|id| id.as_str()).unwrap_or("?").to_owned();
    let line = dag.pointer("/source/line").and_then(serde_json::Value::as_u64);
    let line = line.and_then(|line| u32::try_from(line).ok()).filter(|line| *line > 0);
    let refused = |exception: &str, message: String| ImportError {
        line,
        exception: exception.to_owned(),
        message,
        traceback: String::new(),
    };
    let mut spec: DagSpec = serde_json::from_value(dag)
        .map_err(|error| refused("InvalidDag", format!("DAG `{name}`: {error}")))?;
    file.clone_into(&mut spec.source.file);
    if let Some(why) = too_large(&spec) {
        return Err(refused("DagTooLarge", format!("DAG `{name}`: {why}")));
    }
    Ok(RegisteredDag { spec_digest: spec_digest(&spec), spec, foretold: None })
}

/// The hash of a DAG's meaning: of its canonical form, without where in the file it stands.
fn spec_digest(spec: &DagSpec) -> Digest {
    let mut canonical = spec.clone();
    canonical.source = dagbok_events::SourceLocation::default();
    canonical.not_carried_out.iter_mut().for_each(|it| it.line = 0);
    Digest::new(digest_of(&encode_any(&canonical))).expect("SHA-256 in hexadecimal is a digest")
}

/// Holds an error to the published limits: the start of a message, the end of a traceback.
fn cut(error: ImportError) -> ImportError {
    let message = text::cut(&error.message, MESSAGE_BYTES);
    let traceback = text::cut_start(&error.traceback, INLINE_TRACEBACK_BYTES);
    ImportError { message, traceback, ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAG: &str = r#"{"dag_id":"a","schedule":{"timetable":"Manual","timezone":"UTC"},
        "max_active_runs":16,"max_active_tasks":16,"tasks":[],"source":{"file":"x.py","line":LINE}}"#;

    fn answer(dags: &str, errors: &str) -> Result<ParsedFile, String> {
        let line =
            format!(r#"{{"file":"x.py","dags":[{dags}],"errors":[{errors}]}}"#).replace('\n', "");
        ParsedFile::from_answer("x.py", format!("{line}\n").as_bytes())
    }

    #[test]
    fn the_hash_is_of_the_meaning_and_not_of_the_place() {
        let first = answer(&DAG.replace("LINE", "3"), "").unwrap();
        let second = answer(&DAG.replace("LINE", "4"), "").unwrap();
        let third =
            answer(&DAG.replace("LINE", "4").replace("UTC", "Europe/Stockholm"), "").unwrap();
        assert_eq!(first.dags[0].spec_digest, second.dags[0].spec_digest);
        let told = |line| {
            let told = format!(r#""not_carried_out":[{{"what":"sla","line":{line}}}],"tasks""#);
            answer(&DAG.replace("LINE", "3").replace(r#""tasks""#, &told), "").unwrap()
        };
        assert_eq!(told(5).dags[0].spec_digest, told(6).dags[0].spec_digest);
        assert_ne!(told(5).dags[0].spec_digest, first.dags[0].spec_digest);
        assert_ne!(second.dags[0].spec_digest, third.dags[0].spec_digest);
        assert_eq!(second.dags[0].spec.source.line, 4);
    }

    #[test]
    fn one_bad_dag_is_an_error_with_its_line_and_the_others_stand() {
        let bad = DAG.replace("LINE", "9").replace(r#""a""#, r#""not an id""#);
        let parsed = answer(&format!("{},{bad}", DAG.replace("LINE", "3")), "").unwrap();
        assert_eq!(parsed.dags.len(), 1);
        assert_eq!(
            (parsed.errors[0].line, parsed.errors[0].exception.as_str()),
            (Some(9), "InvalidDag")
        );
        assert!(
            parsed.errors[0].message.contains("`not an id` is not a valid DAG id"),
            "{:?}",
            parsed.errors
        );
    }

    #[test]
    fn an_error_in_another_file_names_it() {
        let error = r#"{"file":"lib/h.py","line":7,"exception":"ValueError","message":"no",
            "may_heal":true}"#;
        let parsed = answer("", error).unwrap();
        assert_eq!(
            (parsed.errors[0].line, parsed.errors[0].message.as_str()),
            (None, "in lib/h.py, line 7: no")
        );
    }

    #[test]
    fn a_file_may_heal_where_one_of_its_errors_may() {
        let error = |may_heal| format!(r#"{{"exception":"E","message":"","may_heal":{may_heal}}}"#);
        let may_heal = |errors: &str| answer("", errors).unwrap().may_heal;
        assert!(may_heal(&format!("{},{}", error(false), error(true))));
        assert!(!may_heal(&error(false)));
    }

    #[test]
    fn what_was_noted_of_an_import_that_was_killed_is_kept() {
        let said = b"{\"read\":\"lib/a.py\"}\nnoise\n{\"listed\":\"\"}\n{\"sought\":\"lib/b\"}\n{\"read\":\"cut";
        let parsed =
            ParsedFile::failed("x.py", "Timeout", String::new(), String::new()).noted(said);
        assert_eq!(
            (parsed.imports, parsed.sought),
            (vec!["lib/a.py".into()], vec!["lib/b".into()])
        );
    }

    #[test]
    fn noise_is_no_answer() {
        assert!(ParsedFile::from_answer("x.py", b"").unwrap_err().contains("without an answer"));
        assert!(ParsedFile::from_answer("x.py", b"hello\n").unwrap_err().contains("can't be read"));
        assert!(
            ParsedFile::from_answer("y.py", br#"{"file":"x.py"}"#).unwrap_err().contains("`x.py`")
        );
    }

    #[test]
    fn long_texts_are_cut_within_the_limits_and_between_letters() {
        let error = ImportError {
            line: None,
            exception: "E".into(),
            message: "å".repeat(MESSAGE_BYTES),
            traceback: format!("{}the end", "ö".repeat(INLINE_TRACEBACK_BYTES)),
        };
        let error = cut(error);
        assert!(error.message.len() <= MESSAGE_BYTES && error.message.ends_with(" bytes cut)"));
        assert!(
            error.traceback.len() <= INLINE_TRACEBACK_BYTES && error.traceback.ends_with("the end")
        );
    }
}
