//! Whether an executor has what a task asks for.
use dagbok_events::Resources;

/// What `has` has too little of for `asked`, for people.
pub fn lacking(has: &Resources, asked: &Resources) -> Option<String> {
    let memory = asked.memory.filter(|asked| has.memory.is_some_and(|has| has < *asked));
    if let (Some(asked), Some(has)) = (memory, has.memory) {
        return Some(format!("{} MiB of memory, where it has {} MiB", asked >> 20, has >> 20));
    }
    let cpu = asked.cpu_milli.filter(|asked| has.cpu_milli.is_some_and(|has| has < *asked));
    if let (Some(asked), Some(has)) = (cpu, has.cpu_milli) {
        return Some(format!("{asked}m of CPU, where it has {has}m"));
    }
    if asked.gpus > has.gpus {
        return Some(format!("{} GPUs, where it has {}", asked.gpus, has.gpus));
    }
    let short = asked
        .custom
        .iter()
        .find(|(name, count)| **count > has.custom.get(*name).copied().unwrap_or(0));
    short.map(|(name, count)| {
        format!("{count} of `{name}`, where it has {}", has.custom.get(name).copied().unwrap_or(0))
    })
}
