//! Sources laid over one another, and what is said of bad ones.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
use std::path::PathBuf;

use dagbok_config::{Config, IgnoreSyntax, LogFormat, Period, Sources, load, schema, settings};

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
fn settings_of_remote_logging_that_contradict_are_refused_with_their_place() {
    let text = "[blobs]\nurl = 's3://big'\n[logging]\nremote_logging = true\nremote_base_log_folder = 's3://logs'\n";
    let (_folder, sources) = file(text);
    let said = refused(&sources);
    assert!(said.contains("line 5: `logging.remote_base_log_folder`"), "{said}");
    let text = "[blobs]\nurl = 's3://big'\n[logging]\nremote_logging = true\n";
    let (_folder, mut sources) = file(text);
    let name = "AIRFLOW__LOGGING__REMOTE_TASK_HANDLER_KWARGS";
    sources.environment = vec![(name.to_owned(), "{\"x\": 1}".to_owned())];
    let said = refused(&sources);
    assert!(said.contains("`AIRFLOW__LOGGING__REMOTE_TASK_HANDLER_KWARGS`"), "{said}");
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
        // Tables by names of the user's own have no keys to describe.
        for (key, value) in inside["properties"].as_object().into_iter().flatten() {
            keys += 1;
            assert!(value["description"].is_string(), "{section}.{key} has no description");
        }
    }
    assert!(keys > 30, "{keys}");
}

/// Every key that has a bound, with values on both sides of it.
const BOUNDS: &[(&str, &str, &str, &str)] = &[
    ("scheduler.lease", "'999ms'", "'1s'", "at least 1s"),
    ("scheduler.snapshot_every", "0", "1", "at least 1"),
    ("executor.slots", "0", "1", "at least 1"),
    ("executor.slots", "10001", "10000", "at most 10000"),
    ("executor.queues", "[]", "['a']", "1 or more"),
    ("executor.lease", "'4999ms'", "'5s'", "at least 5s"),
    ("executor.lease", "4", "5", "at least 5s"),
    ("executor.lease", "4.9", "5.0", "at least 5s"),
    ("executor.lease", "'8761h'", "'8760h'", "at most 8760h"),
    ("executor.load_timeout", "0", "1", "at least 1s"),
    ("executor.loaded_files", "0", "1", "at least 1"),
    ("executor.loaded_idle", "'0s'", "'1s'", "at least 1s"),
    ("processor.parse_timeout", "'0s'", "'1s'", "at least 1s"),
    ("processor.rescan", "0", "1", "at least 1s"),
    ("processor.debounce", "'2h'", "'1h'", "at most 1h"),
    ("processor.parsers", "0", "1", "at least 1"),
    ("nats.urls", "[]", "['nats://a']", "1 or more"),
    ("nats.replicas", "2", "3", "one of 1, 3, 5"),
    ("nats.timeout", "'99ms'", "'100ms'", "at least 100ms"),
];

#[test]
fn a_value_out_of_bounds_is_refused_with_its_place_and_what_is_allowed() {
    for (key, bad, good, said) in BOUNDS {
        let (section, name) = key.split_once('.').unwrap();
        let (_folder, sources) = file(&format!("[{section}]\n# a line between\n{name} = {bad}\n"));
        let refusal = refused(&sources);
        let begins = format!("dagbok.toml`, line 3: `{key}` can't be that: it ");
        assert!(refusal.contains(&begins) && refusal.ends_with(said), "{key} = {bad}: {refusal}");
        let (_folder, sources) = file(&format!("[{section}]\n{name} = {good}\n"));
        assert!(load(&sources).is_ok(), "{key} = {good}: {}", refused(&sources));
    }
}

#[test]
fn flags_and_variables_are_held_to_the_same_bounds() {
    let flags = vec![("--lease", "executor.lease", "1s".into())];
    let said = refused(&Sources { flags, ..Sources::default() });
    assert_eq!(said, "the flag `--lease`: `executor.lease` can't be that: it must be at least 5s");
    let environment = vec![("DAGBOK__EXECUTOR__SLOTS".to_owned(), "0".to_owned())];
    let said = refused(&Sources { environment, ..Sources::default() });
    assert!(said.contains("`DAGBOK__EXECUTOR__SLOTS`: `executor.slots`"), "{said}");
    // What nobody uses, because something goes before it, is not looked at.
    let environment = vec![("DAGBOK__EXECUTOR__SLOTS".to_owned(), "0".to_owned())];
    let flags = vec![("--slots", "executor.slots", 3.into())];
    assert!(load(&Sources { environment, flags, ..Sources::default() }).is_ok());
}

/// So that a new number or length of time is thought about: nothing that counts or lasts goes below zero,
/// and what has no lower bound says here that zero means something.
#[test]
fn nothing_is_negative_and_zero_is_allowed_where_it_means_something() {
    const ZERO_IS_LIKE_ANY_OTHER: [&str; 2] = ["executor.oom_score_adj", "kubernetes.gpus"];
    const ZERO_MEANS_AT_ONCE: [&str; 5] = [
        "executor.drain",
        "executor.kill_grace",
        "executor.spares_for",
        "processor.debounce",
        "scheduler.max_losses",
    ];
    const ZERO_MEANS_FOR_EVER: [&str; 13] = [
        "blobs.move_after",
        "scheduler.task_queued_timeout",
        "scheduler.max_consecutive_failed_dag_runs_per_dag",
        "retention.runs",
        "retention.logs",
        "retention.xcoms",
        "retention.dags",
        "retention.versions",
        "retention.executors",
        "retention.reports",
        "retention.backfills",
        "retention.blobs",
        "retention.log",
    ];
    let schema = schema();
    for (section, inside) in schema["properties"].as_object().unwrap() {
        for (name, value) in inside["properties"].as_object().into_iter().flatten() {
            let types = value["type"].to_string();
            if !types.contains("integer") && !types.contains("number") {
                continue;
            }
            let key = format!("{section}.{name}");
            let (_folder, below) = file(&format!("[{section}]\n{name} = -1\n"));
            assert!(refused(&below).contains(&format!("line 2: `{key}`")), "{key}");
            let (_folder, zero) = file(&format!("[{section}]\n{name} = 0\n"));
            let allowed = ZERO_IS_LIKE_ANY_OTHER.contains(&key.as_str())
                || ZERO_MEANS_AT_ONCE.contains(&key.as_str())
                || ZERO_MEANS_FOR_EVER.contains(&key.as_str());
            assert_eq!(load(&zero).is_ok(), allowed, "{key} = 0");
        }
    }
}

#[test]
fn pools_have_names_of_their_own_and_keys_that_are_checked() {
    let (_folder, mut sources) =
        file("[pools.gpu]\nslots = 4\ndescription = 'cards'\n[pools.'a.b']\nslots = -1\n");
    let variable =
        ("DAGBOK__POOLS__CPU".to_owned(), "{ slots = 2, include_deferred = true }".to_owned());
    sources.environment = vec![variable];
    let config = load(&sources).unwrap();
    let slots: Vec<(&str, i64)> =
        config.pools.iter().map(|(name, pool)| (name.as_str(), pool.slots)).collect();
    assert_eq!(slots, [("a.b", -1), ("cpu", 2), ("gpu", 4)]);
    assert!(config.pools["cpu"].include_deferred);
    assert_eq!(config.pools["gpu"].description, "cards");
    let (_folder, wrong) = file("[pools.gpu]\nslotz = 4\n");
    assert!(refused(&wrong).contains("slotz"), "{}", refused(&wrong));
    let (_folder, wrong) = file("[pools]\ngpu = 4\n");
    assert!(refused(&wrong).contains("`pools.gpu`"), "{}", refused(&wrong));
}

#[test]
fn what_is_wrong_with_others_variables_is_kept_for_who_sends_lineage() {
    let variable = ("OPENLINEAGE_CONFIG".to_owned(), "/nowhere/openlineage.yml".to_owned());
    let sources = Sources { environment: vec![variable], ..Sources::default() };
    let config = load(&sources).unwrap();
    let fault = config.lineage.fault.as_deref().unwrap();
    assert!(fault.contains("/nowhere/openlineage.yml"), "{fault}");
    assert_eq!(load(&Sources::default()).unwrap().lineage.fault, None);
}

#[test]
fn dag_folders_are_one_or_a_list_from_wherever_they_are_said() {
    let folders = |sources: &Sources| {
        let config = load(sources).unwrap();
        let all = config.processor.dags.named();
        all.map(|(name, path)| (name.unwrap_or_default().to_owned(), path.display().to_string()))
            .collect::<Vec<_>>()
    };
    let are = |all: &[(&str, &str)]| {
        all.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(folders(&Sources::default()), are(&[]));
    let (_folder, mut sources) = file("[processor]\ndags = '/srv/dags'\n");
    assert_eq!(folders(&sources), are(&[("", "/srv/dags")]));
    sources.environment =
        vec![("DAGBOK__PROCESSOR__DAGS".to_owned(), "/srv/a, team=/srv/b".to_owned())];
    assert_eq!(folders(&sources), are(&[("", "/srv/a"), ("team", "/srv/b")]));
    sources.environment =
        vec![("DAGBOK__PROCESSOR__DAGS".to_owned(), "['/srv/a,b', './c=d']".to_owned())];
    assert_eq!(folders(&sources), are(&[("", "/srv/a,b"), ("", "./c=d")]));
    sources.flags = vec![("--dags", "processor.dags", vec!["/one", "two=/two"].into())];
    assert_eq!(folders(&sources), are(&[("", "/one"), ("two", "/two")]));
    sources.flags = vec![("--dags", "processor.dags", "/one".into())];
    assert_eq!(folders(&sources), are(&[("", "/one")]));

    // One is shown as it always was.
    let shown = |sources: &Sources| {
        let all = settings(sources).unwrap();
        all.into_iter().find(|it| it.key == "processor.dags").unwrap().value
    };
    assert_eq!(shown(&Sources::default()), serde_json::Value::Null);
    assert_eq!(shown(&sources), "/one");
    let (_folder, list) = file("[processor]\ndags = ['/a', 'b=/b']\n");
    assert_eq!(shown(&list), serde_json::json!(["/a", "b=/b"]));
    let (_folder, wrong) = file("[processor]\ndags = 3\n");
    let said = refused(&wrong);
    assert!(
        said.contains("line 2: `processor.dags`") && said.contains("a list of folders"),
        "{said}"
    );
}
