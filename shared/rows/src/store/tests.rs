//! Rows are the same wherever they stand, and whatever a crash leaves of the places.
use std::{collections::BTreeMap, sync::atomic::AtomicBool};

use proptest::{collection::vec, option, prelude::*};
use tempfile::TempDir;

use super::*;

const VERSION: u32 = 7;

/// The rows as they should be.
type Model = BTreeMap<Vec<u8>, u64>;

fn at(seq: u64) -> Checkpoint {
    Checkpoint { seq: Seq(seq), position: None }
}

fn put(store: &Store, rows: &[(&str, Option<u64>)], seq: u64) {
    let change =
        |(key, row): &(&str, Option<u64>)| (key.as_bytes().to_vec(), row.map(|row| pack(&row)));
    let changes: Vec<KeyChange> = rows.iter().map(change).collect();
    store.write(&changes, &at(seq)).unwrap();
}

fn opened(home: &TempDir) -> Opened {
    Store::open(&home.path().join("rows"), VERSION).unwrap()
}

fn all(store: &Store) -> Vec<(Vec<u8>, u64)> {
    store
        .scan::<u64>(b"x")
        .map(|found| found.map(|(key, row)| (key.to_vec(), row)).unwrap())
        .collect()
}

/// The folder of generation `number`.
fn folder(home: &TempDir, number: u64) -> PathBuf {
    home.path().join("rows").join("rows-1").join(format!("generation-{number}"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Nothing in the folder can be read any more.
fn ruin(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::write(path, [0xA5; 200]).unwrap();
        }
    }
}

#[test]
fn rows_of_another_version_are_built_anew() {
    let home = tempfile::tempdir().unwrap();
    for settled in [false, true] {
        let store = opened(&home).store;
        put(&store, &[("x1", Some(1))], 9);
        if settled {
            store.settle().unwrap();
        }
        drop(store);
        let other = Store::open(&home.path().join("rows"), VERSION + 1).unwrap();
        assert!(other.rebuilt_because.unwrap().contains("this build makes version"));
        assert_eq!(other.store.checkpoint().unwrap(), Checkpoint::default());
        assert_eq!(all(&other.store), []);
    }
}

#[test]
fn rows_of_this_version_are_kept() {
    let home = tempfile::tempdir().unwrap();
    let store = opened(&home).store;
    put(&store, &[("x1", Some(1))], 9);
    drop(store);
    let again = opened(&home);
    assert_eq!(again.rebuilt_because, None);
    assert_eq!(again.store.checkpoint().unwrap(), at(9));
    assert_eq!(all(&again.store), [(b"x1".to_vec(), 1)]);
}

#[test]
fn a_layout_of_an_earlier_build_is_set_aside() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("rows")).unwrap();
    fs::write(home.path().join("rows").join("conf"), b"").unwrap();
    assert!(opened(&home).rebuilt_because.unwrap().contains("laid out"));
    assert!(home.path().join("rows.set-aside").exists());
}

#[test]
fn however_many_rows_come_whole_with_their_checkpoint() {
    for count in [0_usize, 1, 300, 60_000] {
        let store = Store::temporary(VERSION).unwrap();
        let (watching, stop) = (store.clone(), AtomicBool::new(false));
        let there = |key: &str| watching.get::<u64>(key.as_bytes()).unwrap().is_some();
        thread::scope(|scope| {
            let seen = scope.spawn(|| {
                let last_key = format!("x{:05}", count.saturating_sub(1));
                while !stop.load(Ordering::Relaxed) {
                    let first = there("x00000");
                    let last = there(&last_key);
                    assert!(last || !first, "a reader saw a part of {count}");
                }
            });
            let change = |n: usize| (format!("x{n:05}").into_bytes(), Some(pack(&n)));
            let changes: Vec<KeyChange> = (0..count).map(change).collect();
            store.write(&changes, &at(5)).unwrap();
            stop.store(true, Ordering::Relaxed);
            assert_eq!(all(&store).len(), count);
            assert_eq!(store.checkpoint().unwrap(), at(5));
            seen.join().unwrap();
        });
    }
}

/// What happens to a store.
#[derive(Clone, Debug)]
enum Step {
    Write(BTreeMap<u8, Option<u64>>),
    Settle,
    /// The move is under way, and may be broken off by what comes next.
    Begin,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let changes = vec((0..40_u8, option::weighted(0.7, any::<u64>())), 0..12);
    prop_oneof![
        7 => changes.prop_map(|changes| Step::Write(changes.into_iter().collect())),
        1 => Just(Step::Settle),
        1 => Just(Step::Begin),
        1 => Just(Step::Reopen),
    ]
}

fn key(key: u8) -> Vec<u8> {
    format!("x{key:02}").into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// Whatever is written, removed, moved and opened again: readers see what one map would hold, from either end.
    #[test]
    fn rows_are_the_same_wherever_they_stand(
        steps in vec(step(), 1..60),
        (from, to) in (0..42_u8, 0..42_u8),
        ends in vec(any::<bool>(), 45),
    ) {
        let home = tempfile::tempdir().unwrap();
        let (mut model, mut store) = (Model::new(), opened(&home).store);
        for (seq, step) in (1..).zip(steps) {
            match step {
                Step::Write(changes) => {
                    for (at, row) in &changes {
                        match row {
                            Some(row) => model.insert(key(*at), *row),
                            None => model.remove(&key(*at)),
                        };
                    }
                    let change = |(at, row): (u8, Option<u64>)| (key(at), row.map(|row| pack(&row)));
                    let changes: Vec<KeyChange> = changes.into_iter().map(change).collect();
                    store.write(&changes, &at(seq)).unwrap();
                    prop_assert_eq!(store.checkpoint().unwrap(), at(seq));
                }
                Step::Settle => store.settle().unwrap(),
                Step::Begin => store.begin_generation().unwrap(),
                Step::Reopen => {
                    drop(store);
                    let again = opened(&home);
                    prop_assert_eq!(again.rebuilt_because, None);
                    store = again.store;
                }
            }
            let want: Vec<_> = model.iter().map(|(key, row)| (key.clone(), *row)).collect();
            prop_assert_eq!(all(&store), want);
            prop_assert_eq!(store.get(&key(from)).unwrap(), model.get(&key(from)).copied());
            // From both ends in turns, over a part of the keys.
            let (from, to) = (key(from.min(to)), key(from.max(to)));
            let mut keys = store.keys_between(&from, Some(&to));
            let mut wanted = model.range(from..to);
            for front in &ends {
                let found = if *front { keys.next() } else { keys.next_back() };
                let want = if *front { wanted.next() } else { wanted.next_back() };
                let found = found.map(|key| key.unwrap().to_vec());
                prop_assert_eq!(found.as_ref(), want.map(|(key, _)| key));
            }
        }
    }
}

#[test]
fn a_generation_that_has_moved_is_not_read_again() {
    let home = tempfile::tempdir().unwrap();
    let store = opened(&home).store;
    put(&store, &[("x1", Some(1))], 3);
    store.flush().unwrap();
    copy(&folder(&home, 1), &home.path().join("kept"));
    store.settle().unwrap();
    put(&store, &[("x1", None)], 4);
    drop(store);
    assert!(!folder(&home, 1).exists(), "its files are gone");
    // As a crash between the move and their going would leave it.
    copy(&home.path().join("kept"), &folder(&home, 1));
    let again = opened(&home).store;
    assert_eq!((again.checkpoint().unwrap(), all(&again)), (at(4), vec![]));
    assert!(!folder(&home, 1).exists(), "its files are gone");
}

#[test]
fn a_generation_that_is_lost_costs_only_itself() {
    let home = tempfile::tempdir().unwrap();
    let store = opened(&home).store;
    put(&store, &[("x1", Some(1)), ("x2", Some(1))], 3);
    store.settle().unwrap();
    put(&store, &[("x1", None), ("x3", Some(3))], 4);
    drop(store);
    ruin(&folder(&home, 2));
    let again = opened(&home);
    assert_eq!(again.rebuilt_because, None);
    assert_eq!(again.store.checkpoint().unwrap(), at(3), "the log is folded from here");
    assert_eq!(all(&again.store), [(b"x1".to_vec(), 1), (b"x2".to_vec(), 1)]);
    put(&again.store, &[("x1", None)], 4);
    drop(again);
    assert_eq!(all(&opened(&home).store), [(b"x2".to_vec(), 1)]);
}

#[test]
fn what_stands_on_lost_rows_goes_with_them() {
    let home = tempfile::tempdir().unwrap();
    let store = opened(&home).store;
    put(&store, &[("x1", Some(1))], 3);
    store.settle().unwrap();
    put(&store, &[("x2", Some(2))], 4);
    put(&store, &[("x2", Some(3))], 5);
    store.flush().unwrap();
    // The next generation begins, and the move of this one never comes about.
    let generation = Hot::open(&folder(&home, 3), 3, 5).map_err(|_| "opens").unwrap();
    let meta = Meta { version: VERSION, seq: 6, position: None, generation: 3, base: 5 };
    generation.write(&[(b"x4".to_vec(), Some(pack(&4_u64)))], pack(&meta), true).unwrap();
    generation.flush().unwrap();
    drop((generation, store));
    let whole = opened(&home).store;
    assert_eq!(whole.checkpoint().unwrap(), at(6));
    assert_eq!(all(&whole).len(), 3, "both generations are read");
    drop(whole);
    // Generation 2 lost its end: what stands on that end says nothing of these rows.
    let home = tempfile::tempdir().unwrap();
    let store = opened(&home).store;
    put(&store, &[("x1", Some(1))], 4);
    store.flush().unwrap();
    let generation = Hot::open(&folder(&home, 2), 2, 5).map_err(|_| "opens").unwrap();
    let meta = Meta { version: VERSION, seq: 6, position: None, generation: 2, base: 5 };
    generation.write(&[(b"x4".to_vec(), Some(pack(&4_u64)))], pack(&meta), true).unwrap();
    generation.flush().unwrap();
    drop((generation, store));
    let again = opened(&home).store;
    assert_eq!((again.checkpoint().unwrap(), all(&again)), (at(4), vec![(b"x1".to_vec(), 1)]));
}

#[test]
fn a_generation_that_has_grown_moves_by_itself() {
    let home = tempfile::tempdir().unwrap();
    let store = opened(&home).store;
    let row = "r".repeat(20_000);
    let rows = u64::try_from(LOOK_AFTER).unwrap() * 3;
    for n in 0..rows {
        store.write(&[(format!("y{n:06}").into_bytes(), Some(pack(&row)))], &at(n + 1)).unwrap();
    }
    assert!(store.0.levels.load().hot.number > 1, "{} MB in one", GROWN >> 20);
    assert_eq!(store.checkpoint().unwrap(), at(rows));
    assert_eq!(store.keys(b"y").count() as u64, rows);
    drop(store);
    let again = opened(&home).store;
    assert_eq!((again.checkpoint().unwrap(), again.keys(b"y").count() as u64), (at(rows), rows));
}
