//! Whose spans are whose: ids that follow from a run and a try alone, so that whoever exports them, an executor that
//! hands them to the user's code, and a second export after a crash all say the same.
use dagbok_events::{RunKey, Timestamp, TryKey, hex};
use sha2::{Digest as _, Sha256};

/// The trace that a run belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunTrace {
    /// The trace's id.
    pub trace_id: [u8; 16],
    /// The span that the run is part of, where whoever asked for it named one.
    pub parent: Option<[u8; 8]>,
    /// Whether it is to be recorded, in W3C's flags.
    pub flags: u8,
}

impl RunTrace {
    /// The trace of whoever asked for the run; where nobody named one, its own.
    pub fn of(run: &RunKey, run_after: Timestamp, traceparent: Option<&str>) -> Self {
        traceparent.and_then(Self::read).unwrap_or_else(|| {
            let digest = hash(&[b"run", run_parts(run).as_bytes(), &run_after.0.to_be_bytes()]);
            Self { trace_id: first(&digest), parent: None, flags: 1 }
        })
    }

    /// Reads W3C's form; nothing of what is not in it.
    pub fn read(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version.len() != 2 || version == "ff" || flags.len() != 2 {
            return None;
        }
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Some(Self { trace_id: unhex(trace)?, parent: Some(unhex(span)?), flags })
    }

    /// W3C's `traceparent` of a span in it.
    pub fn traceparent(&self, span_id: [u8; 8]) -> String {
        format!("00-{}-{}-{:02x}", hex(&self.trace_id), hex(&span_id), self.flags)
    }
}

/// The span of a run; a run that is cleared and goes on has another, by its round from 0.
pub fn run_span(run: &RunKey, run_after: Timestamp, round: u32) -> [u8; 8] {
    let (key, after) = (run_parts(run), run_after.0.to_be_bytes());
    first(&hash(&[b"run span", key.as_bytes(), &after, &round.to_be_bytes()]))
}

/// The span of a leg of a try: `what` is `try`, `queued` for the wait before it, `deferred` for the one that it goes on after.
pub fn try_span(what: &str, key: &TryKey, run_after: Timestamp) -> [u8; 8] {
    let run = RunKey { dag_id: key.dag_id.clone(), run_id: key.run_id.clone() };
    let after = run_after.0.to_be_bytes();
    first(&hash(&[
        what.as_bytes(),
        run_parts(&run).as_bytes(),
        key.task_id.as_str().as_bytes(),
        &key.map_index.0.to_be_bytes(),
        &key.try_number.get().to_be_bytes(),
        &key.leg.0.to_be_bytes(),
        &after,
    ]))
}

/// The span that says of another one that it is not over yet.
pub fn under_way_span(span_id: [u8; 8]) -> [u8; 8] {
    first(&hash(&[b"under way", &span_id]))
}

/// The span of an attempt to tell somebody of an alert: of a message by its name, and a number from 1.
pub fn page_span(message: &str, attempt: u32) -> [u8; 8] {
    first(&hash(&[b"page", message.as_bytes(), &attempt.to_be_bytes()]))
}

fn run_parts(run: &RunKey) -> String {
    format!("{}\0{}", run.dag_id, run.run_id)
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn first<const N: usize>(digest: &[u8; 32]) -> [u8; N] {
    let mut id = [0; N];
    id.copy_from_slice(&digest[..N]);
    id
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if text.len() != N * 2 || !is_hex {
        return None;
    }
    let mut bytes = [0; N];
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(n * 2..n * 2 + 2)?, 16).ok()?;
    }
    (bytes != [0; N]).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use dagbok_events::{Leg, MapIndex, TryNumber};

    use super::*;

    fn run() -> RunKey {
        RunKey { dag_id: "etl".parse().unwrap(), run_id: "r".parse().unwrap() }
    }

    #[test]
    fn ids_follow_from_the_run_and_the_try_for_ever() {
        // Whoever changes these tears the traces of runs that go on while it is deployed.
        let of = RunTrace::of(&run(), Timestamp(5), None);
        assert_eq!(hex(&of.trace_id), "097e3cbe8c5c28d3b1ab943ba26a8a19");
        assert_ne!(of, RunTrace::of(&run(), Timestamp(6), None));
        assert_ne!(run_span(&run(), Timestamp(5), 0), run_span(&run(), Timestamp(5), 1));
        let (dag_id, run_id) = (run().dag_id, run().run_id);
        let (task_id, map_index) = ("t".parse().unwrap(), MapIndex::UNMAPPED);
        let key = TryKey {
            dag_id,
            run_id,
            task_id,
            map_index,
            try_number: TryNumber::FIRST,
            leg: Leg::FIRST,
        };
        assert_eq!(hex(&try_span("try", &key, Timestamp(5))), "f4a2c2db77a3df0b");
        assert_ne!(try_span("try", &key, Timestamp(5)), try_span("queued", &key, Timestamp(5)));
    }

    #[test]
    fn a_run_that_was_asked_for_within_a_trace_is_part_of_it() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let of = RunTrace::of(&run(), Timestamp(5), Some(parent));
        assert_eq!(of.traceparent(of.parent.unwrap()), parent);
        for bad in [
            "",
            "00-0af7-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(RunTrace::of(&run(), Timestamp(5), Some(bad)).parent, None, "{bad}");
        }
    }
}
