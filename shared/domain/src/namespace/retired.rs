//! Master keys of variables and connections that were exchanged.
use std::collections::VecDeque;

use dagbok_events::SecretsRewrapped;
use serde::{Deserialize, Serialize};

/// Master keys by which nothing is set any more, the newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Retired(VecDeque<String>);

impl Retired {
    /// How many are remembered: who sets something by one of more exchanges ago has slept for years.
    const MOST: usize = 1_000;
    /// How many one record may retire.
    pub(super) const AT_ONCE: usize = 100;

    /// Whether this is one of them.
    pub(super) fn has(&self, master: &str) -> bool {
        self.0.iter().any(|id| id == master)
    }

    /// Those that a command would retire and that are not.
    pub(super) fn anew(&self, asked: &SecretsRewrapped) -> Vec<String> {
        let mut anew: Vec<String> = Vec::new();
        for id in &asked.retires {
            if *id != asked.master && !self.has(id) && !anew.contains(id) {
                anew.push(id.clone());
            }
        }
        anew
    }

    /// Keeps what a fact says. Whoever takes a key into use again has it back.
    pub(super) fn note(&mut self, fact: &SecretsRewrapped) {
        self.0.retain(|id| *id != fact.master);
        self.0.extend(self.anew(fact));
        let over = self.0.len().saturating_sub(Self::MOST);
        self.0.drain(..over);
    }
}
