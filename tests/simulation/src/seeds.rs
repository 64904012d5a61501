//! Many seeds, on every core, until one fails.
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::simulate;

/// The first seed that failed, and what to do with it.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The seed.
    pub seed: u64,
    /// What did not hold.
    pub why: String,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, why } = self;
        write!(
            f,
            "seed {seed}: {why}\nonce more: DAGBOK_SIM_SEED={seed} cargo test -p dagbok-simulation, \
             or cargo run -p dagbok-simulation -- --from {seed} --seeds 1"
        )
    }
}

impl std::error::Error for Failed {}

/// Plays `count` seeds from `first` on; returns how often each thing worth testing came about.
pub fn run_seeds(first: u64, count: u64) -> Result<BTreeMap<String, u64>, Failed> {
    let coming = AtomicU64::new(first);
    let stop = AtomicBool::new(false);
    let all_seen = Mutex::new(BTreeMap::new());
    let failed: Mutex<Option<Failed>> = Mutex::new(None);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = coming.fetch_add(1, Ordering::Relaxed);
            if seed - first >= count {
                return;
            }
            match catch_unwind(AssertUnwindSafe(|| simulate(seed))) {
                Ok(ended) => {
                    let mut all = all_seen.lock().unwrap_or_else(PoisonError::into_inner);
                    for (what, times) in ended.seen {
                        *all.entry(what).or_default() += times;
                    }
                }
                Err(panic) => {
                    stop.store(true, Ordering::Relaxed);
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    if failed.as_ref().is_none_or(|other| seed < other.seed) {
                        *failed = Some(Failed { seed, why: words_of(panic.as_ref()) });
                    }
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(failed) => Err(failed),
        None => Ok(all_seen.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words").to_owned()
}
