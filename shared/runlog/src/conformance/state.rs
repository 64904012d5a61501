//! Cases of the keyed state. Times to live are whole seconds, which every store can keep.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt as _, future::join_all, stream::BoxStream};
use tokio::time::Instant;

use super::{Fixture, awkward_keys, soon, text};
use crate::{
    Change, KeyedState, PortError, PortResult, StateError, Versioned, limits::MAX_PAYLOAD,
};

const TTL: Duration = Duration::from_secs(1);
/// A store may round a time to live up, and sweep a little late.
const LATE: Duration = Duration::from_secs(3);

async fn value(state: &dyn KeyedState, key: &str) -> Option<String> {
    let found = state.get(key).await.unwrap()?;
    Some(String::from_utf8(found.value.to_vec()).unwrap())
}

fn is_conflict(outcome: &Result<u64, StateError>, wanted: &str) -> bool {
    matches!(outcome, Err(StateError::Conflict { key }) if key == wanted)
}

async fn change(watch: &mut BoxStream<'static, PortResult<Change>>) -> (String, Option<String>) {
    match soon("a change", watch.next()).await.unwrap().unwrap() {
        Change::Put { key, value } => (key, Some(String::from_utf8(value.value.to_vec()).unwrap())),
        Change::Gone { key } => (key, None),
    }
}

/// What was last said of a key is what it says.
pub async fn values_are_put_got_replaced_and_deleted(fixture: &impl Fixture) {
    let state = fixture.ports().await.state;
    assert_eq!(state.get("k").await.unwrap(), None);
    state.delete("k").await.unwrap();
    let first = state.put("k", text("1"), None).await.unwrap();
    assert_eq!(
        state.get("k").await.unwrap(),
        Some(Versioned { value: text("1"), revision: first })
    );
    let second = state.put("k", text(""), None).await.unwrap();
    assert!(second > first);
    assert_eq!(
        state.get("k").await.unwrap(),
        Some(Versioned { value: text(""), revision: second })
    );
    state.delete("k").await.unwrap();
    assert_eq!(state.get("k").await.unwrap(), None);
}

/// Keys are escaped where the store can't bear them, and come back as they were.
pub async fn any_text_is_a_key(fixture: &impl Fixture) {
    let state = fixture.ports().await.state;
    for key in awkward_keys() {
        state.create(&key, text(&key), None).await.unwrap();
    }
    let mut wanted = awkward_keys();
    wanted.sort();
    let listed = state.list("").await.unwrap();
    let keys: Vec<_> = listed.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys, wanted);
    for key in wanted {
        assert_eq!(value(&*state, &key).await.as_deref(), Some(key.as_str()));
        state.delete(&key).await.unwrap();
    }
    assert_eq!(state.list("").await.unwrap(), []);
}

/// A prefix is of the text, not of its parts.
pub async fn list_is_by_prefix_and_sorted(fixture: &impl Fixture) {
    let state = fixture.ports().await.state;
    for key in ["b/1", "a/2", "a/10", "a", "ab", "a/1/x", "B"] {
        state.put(key, text(key), None).await.unwrap();
    }
    let keys = async |prefix| {
        let listed = state.list(prefix).await.unwrap();
        assert!(listed.iter().all(|(key, value)| value.value == key.as_bytes()));
        listed.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(keys("").await, ["B", "a", "a/1/x", "a/10", "a/2", "ab", "b/1"]);
    assert_eq!(keys("a/").await, ["a/1/x", "a/10", "a/2"]);
    assert_eq!(keys("a/1").await, ["a/1/x", "a/10"]);
    assert_eq!(keys("c").await, Vec::<String>::new());
}

/// The way to a lock: only where nobody holds it.
pub async fn create_is_for_what_is_not_there(fixture: &impl Fixture) {
    let state = fixture.ports().await.state;
    state.create("k", text("1"), None).await.unwrap();
    assert!(is_conflict(&state.create("k", text("2"), None).await, "k"));
    assert_eq!(value(&*state, "k").await.as_deref(), Some("1"));
    state.delete("k").await.unwrap();
    state.create("k", text("3"), None).await.unwrap();
    assert_eq!(value(&*state, "k").await.as_deref(), Some("3"));
}

/// The way to keep a lock: only who knows the present revision.
pub async fn update_is_for_the_revision_that_was_read(fixture: &impl Fixture) {
    let state = fixture.ports().await.state;
    let first = state.create("k", text("1"), None).await.unwrap();
    let second = state.update("k", text("2"), first, None).await.unwrap();
    assert!(is_conflict(&state.update("k", text("3"), first, None).await, "k"), "stale");
    assert!(is_conflict(&state.update("k", text("3"), second + 1, None).await, "k"), "forged");
    assert_eq!(value(&*state, "k").await.as_deref(), Some("2"));
    assert!(is_conflict(&state.update("new", text("3"), second, None).await, "new"), "not there");
    state.delete("k").await.unwrap();
    assert!(is_conflict(&state.update("k", text("3"), second, None).await, "k"), "deleted");
    assert_eq!(value(&*state, "k").await, None);
}

/// A revision never comes again, though the key does.
pub async fn revisions_rise_for_ever(fixture: &impl Fixture) {
    let state = fixture.ports().await.state;
    let mut last = 0;
    for round in 0..5 {
        let created = state.create("k", text("1"), None).await.unwrap();
        let put = state.put("k", text("2"), None).await.unwrap();
        let updated = state.update("k", text("3"), put, None).await.unwrap();
        assert!(last < created && created < put && put < updated, "round {round}");
        last = updated;
        state.delete("k").await.unwrap();
    }
}

/// Of many that want to be first, one is.
pub async fn racing_creators_have_one_winner(fixture: &impl Fixture) {
    let state = fixture.ports().await.state;
    for round in 0..10 {
        let key = format!("lock/{round}");
        let racers = (0..8).map(|n| {
            let (state, key) = (Arc::clone(&state), key.clone());
            tokio::spawn(async move {
                match state.create(&key, text(&n.to_string()), None).await {
                    Ok(_) => Some(n.to_string()),
                    Err(StateError::Conflict { .. }) => None,
                    Err(other) => panic!("{other}"),
                }
            })
        });
        let won = soon("all racers", join_all(racers)).await;
        let won: Vec<_> = won.into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(won.len(), 1, "{won:?}");
        assert_eq!(value(&*state, &key).await.as_ref(), Some(&won[0]));
    }
}

/// Read, add one, set if unchanged: no count is lost.
pub async fn racing_updates_lose_nothing(fixture: &impl Fixture) {
    let state = fixture.ports().await.state;
    state.create("count", text("0"), None).await.unwrap();
    let racers = (0..6).map(|_| {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let mut added = 0;
            while added < 15 {
                let now = state.get("count").await.unwrap().unwrap();
                let count: u64 = std::str::from_utf8(&now.value).unwrap().parse().unwrap();
                let next = text(&(count + 1).to_string());
                match state.update("count", next, now.revision, None).await {
                    Ok(_) => added += 1,
                    Err(StateError::Conflict { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        })
    });
    soon("all racers", join_all(racers)).await.into_iter().for_each(Result::unwrap);
    assert_eq!(value(&*state, "count").await.as_deref(), Some("90"));
}

/// A key with a time to live is gone afterwards, for every way of asking.
pub async fn what_has_a_time_to_live_vanishes(fixture: &impl Fixture) {
    let state = fixture.ports().await.state;
    let start = Instant::now();
    state.create("lease", text("mine"), Some(TTL)).await.unwrap();
    let revision = state.put("presence", text("here"), Some(TTL)).await.unwrap();
    state.put("stays", text("here"), None).await.unwrap();
    assert_eq!(value(&*state, "lease").await.as_deref(), Some("mine"));
    let gone = async {
        while state.get("lease").await.unwrap().is_some()
            || state.get("presence").await.unwrap().is_some()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the keys to vanish", gone).await;
    let waited = start.elapsed();
    assert!(waited >= TTL && waited < TTL + LATE, "{waited:?}");
    let listed = state.list("").await.unwrap();
    assert_eq!(listed.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["stays"]);
    assert!(is_conflict(&state.update("presence", text("x"), revision, None).await, "presence"));
    state.create("lease", text("theirs"), None).await.unwrap();
    assert_eq!(value(&*state, "lease").await.as_deref(), Some("theirs"));
}

/// A lease is renewed by writing it again; written without a time it stays.
pub async fn writing_again_starts_the_time_anew_or_ends_it(fixture: &impl Fixture) {
    let state = fixture.ports().await.state;
    let ttl = Some(TTL * 2);
    let mut revision = state.create("renewed", text("mine"), ttl).await.unwrap();
    state.put("kept", text("mine"), ttl).await.unwrap();
    let kept = state.put("kept too", text("mine"), ttl).await.unwrap();
    state.put("kept", text("mine"), None).await.unwrap();
    state.update("kept too", text("mine"), kept, None).await.unwrap();
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        revision = state.update("renewed", text("mine"), revision, ttl).await.unwrap();
    }
    assert_eq!(value(&*state, "renewed").await.as_deref(), Some("mine"));
    assert_eq!(value(&*state, "kept").await.as_deref(), Some("mine"));
    assert_eq!(value(&*state, "kept too").await.as_deref(), Some("mine"));
}

/// Puts and deletes, in order, of the keys that were asked for and of no others.
pub async fn watchers_see_changes_under_their_prefix(fixture: &impl Fixture) {
    let state = fixture.ports().await.state;
    state.put("a/old", text("before"), None).await.unwrap();
    let mut watch = state.watch("a/").await.unwrap();
    let mut all = state.watch("").await.unwrap();
    let put = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
    // Each is awaited before the next: of a key that changes faster than it is told, only the last
    // change is sure to be told.
    let first = state.put("a/1", text("one"), None).await.unwrap();
    assert_eq!(change(&mut watch).await, put("a/1", "one"));
    assert_eq!(change(&mut all).await, put("a/1", "one"));
    state.put("b/1", text("other"), None).await.unwrap();
    assert_eq!(change(&mut all).await, put("b/1", "other"));
    state.update("a/1", text("two"), first, None).await.unwrap();
    assert_eq!(change(&mut watch).await, put("a/1", "two"));
    state.delete("a/1").await.unwrap();
    assert_eq!(change(&mut watch).await, ("a/1".to_owned(), None));
    state.put("a/.*>", text("odd"), None).await.unwrap();
    assert_eq!(change(&mut watch).await, put("a/.*>", "odd"));
}

/// The stand-by hears of the lost lease without asking.
pub async fn watchers_are_told_of_what_runs_out(fixture: &impl Fixture) {
    let state = fixture.ports().await.state;
    let mut watch = state.watch("lease").await.unwrap();
    let start = Instant::now();
    state.create("lease", text("mine"), Some(TTL)).await.unwrap();
    assert_eq!(change(&mut watch).await, ("lease".to_owned(), Some("mine".to_owned())));
    assert_eq!(change(&mut watch).await, ("lease".to_owned(), None));
    let waited = start.elapsed();
    assert!(waited >= TTL && waited < TTL + LATE, "{waited:?}");
    state.create("lease", text("theirs"), None).await.unwrap();
}

/// Watch, then list, then apply what the watch says: the view is the store's.
pub async fn watch_then_list_misses_nothing(fixture: &impl Fixture) {
    const KEYS: usize = 60;
    let state = fixture.ports().await.state;
    let writer = {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            for n in 0..KEYS {
                state.put(&format!("k/{n:02}"), text("v"), None).await.unwrap();
                if n % 3 == 0 {
                    state.delete(&format!("k/{:02}", n / 2)).await.unwrap();
                }
            }
            state.put("k/end", text("v"), None).await.unwrap();
        })
    };
    tokio::task::yield_now().await;
    let mut watch = state.watch("k/").await.unwrap();
    let listed = state.list("k/").await.unwrap();
    let mut view: BTreeMap<_, _> = listed.into_iter().map(|(k, v)| (k, v.revision)).collect();
    while !view.contains_key("k/end") {
        match soon("a change", watch.next()).await.unwrap().unwrap() {
            Change::Put { key, value } => drop(view.insert(key, value.revision)),
            Change::Gone { key } => drop(view.remove(&key)),
        }
    }
    soon("the writer", writer).await.unwrap();
    // The list may already have had the end, and the watch still have what led to it.
    let settle = async {
        loop {
            let now = state.list("k/").await.unwrap();
            let now: BTreeMap<_, _> = now.into_iter().map(|(k, v)| (k, v.revision)).collect();
            if now == view {
                return;
            }
            match watch.next().await.unwrap().unwrap() {
                Change::Put { key, value } => drop(view.insert(key, value.revision)),
                Change::Gone { key } => drop(view.remove(&key)),
            }
        }
    };
    soon("the view to agree", settle).await;
}

/// The limit is the same everywhere.
pub async fn a_value_that_is_too_large_is_refused(fixture: &impl Fixture) {
    let state = fixture.ports().await.state;
    let large = || text(&"x".repeat(MAX_PAYLOAD + 1));
    assert!(matches!(state.put("k", large(), None).await, Err(PortError::Refused { .. })));
    for outcome in
        [state.create("k", large(), None).await, state.update("k", large(), 1, None).await]
    {
        assert!(matches!(outcome, Err(StateError::Port(PortError::Refused { .. }))), "{outcome:?}");
    }
    assert_eq!(state.get("k").await.unwrap(), None);
    state.put("k", text(&"x".repeat(500_000)), None).await.unwrap();
    assert_eq!(state.get("k").await.unwrap().unwrap().value.len(), 500_000);
}

/// Where state outlives the process, so do revisions.
pub async fn a_later_process_finds_the_values(fixture: &impl Fixture) {
    if !fixture.keeps_queues_and_state() {
        return;
    }
    let ports = fixture.ports().await;
    let revision = ports.state.put("k", text("kept"), None).await.unwrap();
    ports.state.put("gone", text("x"), None).await.unwrap();
    ports.state.delete("gone").await.unwrap();
    let ports = fixture.reopen(ports).await;
    let found = ports.state.get("k").await.unwrap();
    assert_eq!(found, Some(Versioned { value: text("kept"), revision }));
    assert_eq!(ports.state.get("gone").await.unwrap(), None);
    ports.state.update("k", text("on"), revision, None).await.unwrap();
}
