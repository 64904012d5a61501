//! Sources laid over one another, and what is said of bad ones.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
use std::path::PathBuf;

use dagbok_config::{Config, IgnoreSyntax, LogFormat, Period, Sources, load, schema};

fn file(text: &str) -> (tempfile::TempDir, Sources) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dagbok.toml");
    std::fs::write(&path, text).unwrap();
    let sources = Sources { file: Some(path), ..Sources::default() };
    (folder, sources)
}

fn refused(sources: &Sources) -> String {
    load(sources).unwrap_err().to_string()
}

#[test]
fn nothing_set_is_the_defaults() {
    assert_eq!(load(&Sources::default()).unwrap(), Config::default());
}

#[test]
fn later_sources_win_and_leave_the_rest() {
    let (_folder, mut sources) = file(
        "[executor]\nslots = 3\nlease = '10s'\nqueues = ['a', 'b']\nenv = { A = '1' }\n\
         [processor]\nignore_syntax = 'regexp'\nrescan = 90\n[log]\nformat = 'json'\n",
    );
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    sources.environment = vec![
        set("PATH", "/bin"),
        set("DAGBOK_LOG", "debug"),
        set("DAGBOK__EXECUTOR__SLOTS", "5"),
        set("DAGBOK__EXECUTOR__QUEUES", "gpu, default"),
        set("DAGBOK__NATS__PASSWORD", "12345"),
        set("DAGBOK__NATS__NAMESPACE", "7"),
        set("DAGBOK__PROCESSOR__PAUSED_AT_CREATION", "true"),
        set("DAGBOK__SCHEDULER__LEASE", "2500ms"),
    ];
    sources.flags = vec![("--slots", "executor.slots", 8.into())];
    let config = load(&sources).unwrap();
    assert_eq!(config.executor.slots, Some(8));
    assert_eq!(config.executor.lease, Period::secs(10));
    assert_eq!(config.executor.queues, ["gpu", "default"]);
    assert_eq!(config.executor.env["A"], "1");
    assert_eq!(config.executor.drain, Config::default().executor.drain);
    assert_eq!(config.processor.ignore_syntax, IgnoreSyntax::Regexp);
    assert_eq!(config.processor.rescan, Period::secs(90));
    assert!(config.processor.paused_at_creation);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.nats.password.as_ref().unwrap().reveal(), "12345");
    assert_eq!(config.nats.namespace, "7");
    assert_eq!(config.scheduler.lease, Period::millis(2_500));
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_what_it_is_like() {
    let (_folder, sources) = file("[executor]\nqueues = ['a']\nslotz = 3\n");
    let said = refused(&sources);
    assert!(said.contains("dagbok.toml`, line 3"), "{said}");
    assert!(said.contains("unknown key `executor.slotz`; is `executor.slots` meant?"), "{said}");

    let (_folder, sources) = file("\n[excutor]\nslots = 3\n");
    assert!(
        refused(&sources)
            .contains("line 3: unknown key `excutor.slots`; is `executor.slots` meant?")
    );

    let (_folder, sources) = file("colour = 'red'\n");
    assert!(refused(&sources).contains("line 1: unknown key `colour`"));

    let environment = vec![("DAGBOK__UI__LISTENS".to_owned(), "x".to_owned())];
    let said = refused(&Sources { environment, ..Sources::default() });
    assert!(
        said.contains("`DAGBOK__UI__LISTENS`: unknown key `ui.listens`; is `ui.listen` meant?"),
        "{said}"
    );
}

#[test]
fn a_bad_value_is_refused_with_its_place_and_what_would_do() {
    let (_folder, sources) = file("[executor]\nslots = 'many'\n");
    let said = refused(&sources);
    assert!(
        said.contains("line 2: `executor.slots` can't be that") && said.contains("many"),
        "{said}"
    );

    let (_folder, mut sources) = file("[executor]\nlease = '30s'\n");
    sources.environment = vec![("DAGBOK__EXECUTOR__LEASE".to_owned(), "soon".to_owned())];
    let said = refused(&sources);
    assert!(
        said.contains("`DAGBOK__EXECUTOR__LEASE`: `executor.lease`") && said.contains("`30s`"),
        "{said}"
    );

    let (_folder, sources) = file("[executor\nslots = 1\n");
    assert!(refused(&sources).contains("dagbok.toml`, line 1"), "{}", refused(&sources));
}

#[test]
fn a_file_that_was_named_must_be_there_and_the_installations_own_need_not() {
    let nowhere = PathBuf::from("/nowhere/dagbok.toml");
    let named = Sources { file: Some(nowhere.clone()), ..Sources::default() };
    assert!(refused(&named).contains("/nowhere/dagbok.toml"));
    let optional = Sources { optional_file: Some(nowhere), ..Sources::default() };
    assert_eq!(load(&optional).unwrap(), Config::default());
}

#[test]
fn secrets_are_never_shown() {
    let environment = vec![("DAGBOK__NATS__TOKEN".to_owned(), "hush".to_owned())];
    let config = load(&Sources { environment, ..Sources::default() }).unwrap();
    assert!(!format!("{config:?}").contains("hush"));
    assert!(!serde_json::to_string(&config).unwrap().contains("hush"));
}

#[test]
fn the_schema_describes_every_key() {
    let schema = schema();
    let mut keys = 0;
    for (section, inside) in schema["properties"].as_object().unwrap() {
        for (key, value) in inside["properties"].as_object().unwrap() {
            keys += 1;
            assert!(value["description"].is_string(), "{section}.{key} has no description");
        }
    }
    assert!(keys > 30, "{keys}");
}
