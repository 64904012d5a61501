//! What tries may use together: who has what of it. Never more is given out than there is.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dagbok_events::Resources;
use dagbok_protocol::lacking;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// So many tries wait here at a time; the items of others are passed on.
const SEATS: usize = 64;

/// What this executor has, and what is free of it.
#[derive(Debug)]
pub(crate) struct Room {
    has: Resources,
    free: Mutex<Free>,
    changed: Notify,
    seats: Arc<Semaphore>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Free {
    memory: Option<u64>,
    cpu_milli: Option<u64>,
    gpus: BTreeSet<String>,
    custom: BTreeMap<String, u64>,
}

/// A try's part; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Part {
    room: Arc<Room>,
    asked: Resources,
    gpus: Vec<String>,
}

impl Room {
    /// All of it free; `gpus` are the devices by their names.
    pub(crate) fn new(has: Resources, gpus: &[String]) -> Arc<Self> {
        let free = Free {
            memory: has.memory,
            cpu_milli: has.cpu_milli,
            gpus: gpus.iter().cloned().collect(),
            custom: has.custom.clone(),
        };
        let seats = Arc::new(Semaphore::new(SEATS));
        Arc::new(Self { has, free: Mutex::new(free), changed: Notify::new(), seats })
    }

    /// Why a try that asks for this could never run here; `None` where it could.
    pub(crate) fn too_small(&self, asked: &Resources) -> Option<String> {
        lacking(&self.has, asked)
    }

    /// A part of what is free; `None` where it is not enough now.
    pub(crate) fn take(self: &Arc<Self>, asked: &Resources) -> Option<Part> {
        let mut free = self.free.lock();
        let gpus = free.take(asked)?;
        Some(Part { room: Arc::clone(self), asked: asked.clone(), gpus })
    }

    /// Leave to wait here; `None` where too many do.
    pub(crate) fn seat(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.seats).try_acquire_owned().ok()
    }

    /// A part, once it is free.
    pub(crate) async fn wait(self: &Arc<Self>, asked: &Resources) -> Part {
        loop {
            // From before the look on, so that none is missed in between.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(part) = self.take(asked) {
                return part;
            }
            changed.await;
        }
    }
}

impl Free {
    /// Takes all or nothing; returns the devices.
    fn take(&mut self, asked: &Resources) -> Option<Vec<String>> {
        // What is not counted here is not asked whether it is enough.
        let after = |free: Option<u64>, asked: Option<u64>| match free {
            Some(free) => free.checked_sub(asked.unwrap_or(0)).map(Some),
            None => Some(None),
        };
        let memory = after(self.memory, asked.memory)?;
        let cpu_milli = after(self.cpu_milli, asked.cpu_milli)?;
        if asked.gpus as usize > self.gpus.len() {
            return None;
        }
        for (name, count) in asked.custom.iter().filter(|(_, count)| **count > 0) {
            self.custom.get(name)?.checked_sub(*count)?;
        }
        (self.memory, self.cpu_milli) = (memory, cpu_milli);
        for (name, count) in &asked.custom {
            if let Some(free) = self.custom.get_mut(name) {
                *free -= count;
            }
        }
        Some((0..asked.gpus).filter_map(|_| self.gpus.pop_first()).collect())
    }
}

impl Part {
    /// The devices that are the try's.
    pub(crate) fn gpus(&self) -> &[String] {
        &self.gpus
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut free = self.room.free.lock();
        let back = |free: &mut Option<u64>, part: Option<u64>| {
            if let (Some(free), Some(part)) = (free.as_mut(), part) {
                *free += part;
            }
        };
        back(&mut free.memory, self.asked.memory);
        back(&mut free.cpu_milli, self.asked.cpu_milli);
        free.gpus.extend(self.gpus.drain(..));
        for (name, count) in &self.asked.custom {
            if let Some(free) = free.custom.get_mut(name) {
                *free += count;
            }
        }
        drop(free);
        self.room.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(memory: u64, cpu_milli: u64, gpus: u32, licences: u64) -> Resources {
        let custom = BTreeMap::from([("licence".to_owned(), licences)]);
        let (memory, cpu_milli) = (Some(memory), Some(cpu_milli));
        Resources { memory, cpu_milli, gpus, custom, ..Resources::default() }
    }

    fn devices(count: u32) -> Vec<String> {
        (0..count).map(|n| n.to_string()).collect()
    }

    #[test]
    fn what_is_not_counted_is_not_asked_for_and_devices_are_whole() {
        let room = Room::new(Resources { gpus: 2, ..Resources::default() }, &devices(2));
        let large = Resources { memory: Some(u64::MAX), gpus: 1, ..Resources::default() };
        let (one, two) = (room.take(&large).unwrap(), room.take(&large).unwrap());
        assert_ne!(one.gpus(), two.gpus());
        assert!(room.take(&large).is_none());
        assert!(room.take(&Resources::default()).is_some(), "asks for nothing");
        drop(one);
        assert!(room.take(&large).is_some());
        let custom = resources(1, 1, 0, 1);
        assert!(room.take(&custom).is_none(), "nobody has it");
        assert_eq!(room.too_small(&custom).unwrap(), "1 of `licence`, where it has 0");
    }

    #[test]
    fn a_try_that_never_fits_is_told_from_one_that_does_not_fit_now() {
        let room = Room::new(resources(4 << 20, 2_000, 0, 1), &[]);
        let all = room.take(&resources(4 << 20, 1, 0, 0)).unwrap();
        assert!(room.take(&resources(1, 0, 0, 0)).is_none());
        assert_eq!(room.too_small(&resources(4 << 20, 2_000, 0, 1)), None);
        for (asked, why) in [
            (resources(5 << 20, 0, 0, 0), "5 MiB of memory, where it has 4 MiB"),
            (resources(0, 2_001, 0, 0), "2001m of CPU, where it has 2000m"),
            (resources(0, 0, 1, 0), "1 GPUs, where it has 0"),
        ] {
            assert_eq!(room.too_small(&asked).as_deref(), Some(why));
        }
        drop(all);
        assert!(room.take(&resources(1, 0, 0, 0)).is_some());
    }

    /// Whatever is taken and given back in whatever order: what is out never exceeds what there is, and all of
    /// it comes back.
    #[test]
    fn it_is_never_oversubscribed() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        for _ in 0..200 {
            let gpus = u32::try_from(next(4)).unwrap();
            let has = resources(next(100), next(100), gpus, next(5));
            let room = Room::new(has.clone(), &devices(gpus));
            let full = room.free.lock().clone();
            let mut out: Vec<Part> = Vec::new();
            for _ in 0..200 {
                if next(3) == 0 && !out.is_empty() {
                    let place = usize::try_from(next(out.len() as u64)).unwrap();
                    out.swap_remove(place);
                    continue;
                }
                let asked = resources(next(60), next(60), u32::try_from(next(3)).unwrap(), next(3));
                out.extend(room.take(&asked));
                let sum =
                    |of: fn(&Resources) -> u64| out.iter().map(|part| of(&part.asked)).sum::<u64>();
                assert!(sum(|it| it.memory.unwrap_or(0)) <= has.memory.unwrap());
                assert!(sum(|it| it.cpu_milli.unwrap_or(0)) <= has.cpu_milli.unwrap());
                assert!(sum(|it| it.custom["licence"]) <= has.custom["licence"]);
                let used: Vec<&String> = out.iter().flat_map(|part| &part.gpus).collect();
                let apart: BTreeSet<&String> = used.iter().copied().collect();
                assert_eq!((apart.len(), used.len() <= gpus as usize), (used.len(), true));
            }
            out.clear();
            assert_eq!(*room.free.lock(), full);
        }
    }
}
