//! Variables and connections: the rules know which there are, and no value.
use dagbok_domain::namespace::Namespace;
use dagbok_events::{
    ConnId, ConnectionSet, Rewrapped, Sealed, SecretsRewrapped, VariableKey, VariableSet,
};
use dagbok_protocol::{CommandBody, RefusalCode, SecretChange, SecretIs, limits::SECRET_BYTES};

use crate::support::World;

fn sealed(id: &str) -> Sealed {
    let text = || "c2VhbGVk".to_owned();
    Sealed { id: id.to_owned(), master: "m".to_owned(), key: text(), value: text() }
}

fn key() -> VariableKey {
    VariableKey::new("region").expect("a key")
}

fn variable(id: &str, only: Option<SecretIs>) -> SecretChange {
    SecretChange::SetVariable {
        set: VariableSet { key: key(), description: None, sealed: sealed(id) },
        only,
    }
}

fn connection(id: &str, only: Option<SecretIs>) -> SecretChange {
    let (conn_id, conn_type) = (ConnId::new("db").expect("an id"), "postgres".to_owned());
    let set = ConnectionSet { conn_id, conn_type, description: None, sealed: sealed(id) };
    SecretChange::SetConnection { set, only }
}

fn ask(change: SecretChange) -> CommandBody {
    CommandBody::ChangeSecret(Box::new(change))
}

#[test]
fn a_variable_is_set_as_it_is_asked_and_the_last_on_the_log_wins() {
    let mut world = World::new();
    let (new, there) = (Some(SecretIs::Missing), Some(SecretIs::There));
    world.send(ask(variable("1", there))).refused(RefusalCode::SecretNotFound, []);
    world.send(ask(variable("1", new.clone()))).is(["VariableSet region 1"]);
    world.send(ask(variable("2", new))).refused(RefusalCode::SecretAlreadyExists, []);
    world.send(ask(variable("2", None))).is(["VariableSet region 2"]);
    let stale = Some(SecretIs::Value("1".to_owned()));
    world.send(ask(variable("3", stale))).refused(RefusalCode::SecretChanged, []);
    let known = Some(SecretIs::Value("2".to_owned()));
    world.send(ask(variable("3", known))).is(["VariableSet region 3"]);
    world.send(ask(SecretChange::DeleteVariable { key: key() })).is(["VariableDeleted region"]);
    let gone = world.send(ask(SecretChange::DeleteVariable { key: key() }));
    assert!(gone.refused(RefusalCode::SecretNotFound, []).contains("`region`"));
}

#[test]
fn what_is_too_large_for_a_record_is_refused() {
    let mut world = World::new();
    let mut large = sealed("1");
    large.value = "x".repeat(SECRET_BYTES * 3 / 2 + 1);
    let set = VariableSet { key: key(), description: None, sealed: large };
    let told = world.send(ask(SecretChange::SetVariable { set, only: None }));
    assert!(told.refused(RefusalCode::Invalid, []).contains("too large"));
    let description = Some("x".repeat(4_097));
    let set = VariableSet { key: key(), description, sealed: sealed("1") };
    let told = world.send(ask(SecretChange::SetVariable { set, only: None }));
    told.refused(RefusalCode::Invalid, []);
}

#[test]
fn keys_are_wrapped_anew_for_values_that_hold_and_for_no_others() {
    let mut world = World::new();
    world.send(ask(variable("1", None)));
    world.send(ask(variable("2", None)));
    world.send(ask(connection("3", None))).is(["ConnectionSet db 3"]);
    let wrap = |ids: &[&str]| {
        let keys = ids.iter().map(|id| Rewrapped { id: (*id).to_owned(), key: "k".to_owned() });
        let (master, keys) = ("n".into(), keys.collect());
        ask(SecretChange::Rewrap(SecretsRewrapped { master, keys, retires: Vec::new() }))
    };
    world.send(wrap(&["1", "2", "3", "4"])).is(["SecretsRewrapped n 2"]);
    world.send(wrap(&["1", "4"])).unchanged();
    // A snapshot knows them too.
    let bytes = world.namespace.to_snapshot();
    world.namespace = Namespace::from_snapshot(&bytes).expect("it was just made");
    let stale = Some(SecretIs::Value("9".to_owned()));
    world.send(ask(connection("4", stale))).refused(RefusalCode::SecretChanged, []);
    world
        .send(ask(variable("4", Some(SecretIs::Missing))))
        .refused(RefusalCode::SecretAlreadyExists, []);
}

#[test]
fn nothing_is_set_by_a_key_that_is_exchanged() {
    let mut world = World::new();
    world.send(ask(variable("1", None)));
    let wrap = |master: &str, retires: &[&str]| {
        let retires = retires.iter().map(|id| (*id).to_owned()).collect();
        let (master, keys) = (master.to_owned(), Vec::new());
        ask(SecretChange::Rewrap(SecretsRewrapped { master, keys, retires }))
    };
    world.send(wrap("n", &["m", "n", "m"])).is(["SecretsRewrapped n 0"]);
    world.send(wrap("n", &["m"])).unchanged();
    let bytes = world.namespace.to_snapshot();
    world.namespace = Namespace::from_snapshot(&bytes).expect("it was just made");
    world.send(ask(variable("2", None))).refused(RefusalCode::SecretKeyRetired, []);
    world.send(ask(connection("3", None))).refused(RefusalCode::SecretKeyRetired, []);
    // What wraps by a key that others have retired meanwhile comes too late as well.
    world.send(wrap("m", &[])).refused(RefusalCode::SecretKeyRetired, []);
    // Somebody puts the key before first again: then the other is retired.
    world.send(wrap("m", &["n"])).is(["SecretsRewrapped m 0"]);
    world.send(ask(variable("2", None))).is(["VariableSet region 2"]);
    let many: Vec<String> = (0..101).map(|id| id.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    world.send(wrap("m", &many)).refused(RefusalCode::Invalid, []);
}
