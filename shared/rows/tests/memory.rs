//! What a store keeps in memory does not grow with what was written to it.
use std::fs;

use dagbok_projection::Checkpoint;
use dagbok_rows::Store;

/// Memory of this process, in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its size");
    line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).expect("a number") << 10
}

#[test]
fn a_store_that_is_only_written_to_keeps_nothing_of_what_it_replaced() {
    const BATCHES: u32 = 10;
    const ROWS: u32 = 20_000;
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("rows"), 1).unwrap().store;
    let before = resident();
    for batch in 0..BATCHES {
        let rows: Vec<_> = (0..ROWS)
            .map(|row| {
                let key = format!("r{:010}", batch * ROWS + row).into_bytes();
                (key, Some(vec![7; 100]))
            })
            .collect();
        store.write(&rows, &Checkpoint::default()).unwrap();
    }
    // Each row leaves a copy of some kilobytes: those of one batch can go when it is written, 660 MB are left of
    // all ten where nobody sees to it.
    let more = resident().saturating_sub(before) >> 20;
    assert!(more < 350, "{more} MB");
}
