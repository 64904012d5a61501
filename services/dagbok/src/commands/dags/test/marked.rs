//! Tasks that a tried run marks success without running them: those whose id a pattern names whole.
//!
//! The pattern is Python's, as people write it for `dag.test()`, so it is the DAG's Python that reads it.
use std::{collections::BTreeMap, process::Stdio};

use serde_json::json;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{codes::Code, commands::dags::local::LocalDag, failure::Failure};

/// Where tries find the ids, a JSON list: `dagbok.runtime.marked` reads it.
const VARIABLE: &str = "DAGBOK_MARK_SUCCESS";
/// The longest entry of an environment that Linux passes on, with the zero at its end, in bytes.
const LONGEST: usize = 128 << 10;
const QUESTION: &str = "\
import json, re, sys
asked = json.load(sys.stdin)
try:
    pattern = re.compile(asked['pattern'])
except re.error as error:
    sys.exit(str(error))
print(json.dumps([name for name in asked['tasks'] if pattern.fullmatch(name)]))";

/// What tries are told by their environment, nothing without a pattern; a bad pattern, or one that names no
/// task, or more than an environment has room for, is refused.
pub(super) async fn environment(
    dag: &LocalDag,
    pattern: Option<&str>,
) -> Result<BTreeMap<String, String>, Failure> {
    let Some(pattern) = pattern else { return Ok(BTreeMap::new()) };
    let tasks: Vec<_> = dag.spec.tasks.iter().map(|task| task.task_id.as_str()).collect();
    let asked = json!({ "pattern": pattern, "tasks": tasks }).to_string();
    let said =
        ask(dag, asked).await.map_err(|error| Failure::from_error(Code::NoPython, &error))?;
    let bad = |why: &str| {
        Failure::new(Code::Usage, format!("--mark-success-pattern `{pattern}`: {why}")).next(
            "write a regular expression of Python that matches whole task ids, as `wait_for_.*`",
        )
    };
    if !said.status.success() {
        return Err(bad(String::from_utf8_lossy(&said.stderr).trim()));
    }
    let marked: Vec<String> = serde_json::from_slice(&said.stdout)
        .map_err(|error| Failure::from_error(Code::Bug, &error))?;
    if marked.is_empty() {
        return Err(bad(&format!("no task of DAG `{}` has such an id", dag.spec.dag_id)));
    }
    let ids = entry(&marked).ok_or_else(|| {
        let count = marked.len();
        let why = format!("it names {count} tasks, and their ids are more than tries can be told");
        bad(&why).next("write a pattern that names fewer tasks")
    })?;
    Ok(BTreeMap::from([(VARIABLE.to_owned(), ids)]))
}

/// Ids as tries read them; `None` where they are too long for that.
fn entry(marked: &[String]) -> Option<String> {
    let ids = json!(marked).to_string();
    (VARIABLE.len() + "=".len() + ids.len() < LONGEST).then_some(ids)
}

async fn ask(dag: &LocalDag, asked: String) -> std::io::Result<std::process::Output> {
    let mut command = Command::new(&dag.python.executable);
    command.args(["-I", "-c", QUESTION]).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut words = child.stdin.take().expect("it was piped");
    words.write_all(asked.as_bytes()).await?;
    drop(words);
    child.wait_with_output().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_passed_on_as_far_as_an_environment_has_room() {
        let ids = |of: usize| ["a".repeat(of)];
        assert_eq!(entry(&ids(3)).as_deref(), Some(r#"["aaa"]"#));
        // The name, `=`, the list's signs and the zero at the end are in it, too.
        let room = LONGEST - VARIABLE.len() - r#"=[""]"#.len() - 1;
        assert!(entry(&ids(room)).is_some());
        assert!(entry(&ids(room + 1)).is_none());
    }
}
