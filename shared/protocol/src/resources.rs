//! Whether an executor has what a task asks for.
use dagbok_events::Resources;

/// What `has` has too little of for `asked`, for people.
pub fn lacking(has: &Resources, asked: &Resources) -> Option<String> {
    first(&short_of(has, asked), has, "it has")
}

/// The same of what is free just now.
pub fn lacking_now(free: &Resources, asked: &Resources) -> Option<String> {
    first(&short_of(free, asked), free, "free is")
}

/// Of what is asked for only that of which `has` has too little; nothing of it where all is there. What is not counted
/// there is never too little.
pub fn short_of(has: &Resources, asked: &Resources) -> Resources {
    let short = |has: Option<u64>, asked: Option<u64>| {
        asked.filter(|asked| has.is_some_and(|has| has < *asked))
    };
    let custom = asked.custom.iter();
    Resources {
        memory: short(has.memory, asked.memory),
        cpu_milli: short(has.cpu_milli, asked.cpu_milli),
        gpus: if asked.gpus > has.gpus { asked.gpus } else { 0 },
        custom: custom
            .filter(|(name, count)| **count > has.custom.get(*name).copied().unwrap_or(0))
            .map(|(name, count)| (name.clone(), *count))
            .collect(),
    }
}

/// Whether both ask for some of the same.
pub fn share(one: &Resources, other: &Resources) -> bool {
    let both = |one: Option<u64>, other: Option<u64>| one.min(other).is_some_and(|least| least > 0);
    both(one.memory, other.memory)
        || both(one.cpu_milli, other.cpu_milli)
        || one.gpus.min(other.gpus) > 0
        || one
            .custom
            .iter()
            .any(|(name, count)| both(Some(*count), other.custom.get(name).copied()))
}

/// What is left of `has` once `taken` is taken from it.
pub fn less(mut has: Resources, taken: &Resources) -> Resources {
    let take = |has: Option<u64>, taken: Option<u64>| {
        has.map(|has| has.saturating_sub(taken.unwrap_or(0)))
    };
    has.memory = take(has.memory, taken.memory);
    has.cpu_milli = take(has.cpu_milli, taken.cpu_milli);
    has.gpus = has.gpus.saturating_sub(taken.gpus);
    for (name, count) in &taken.custom {
        if let Some(left) = has.custom.get_mut(name) {
            *left = left.saturating_sub(*count);
        }
    }
    has
}

/// The first of what is short, in words.
fn first(short: &Resources, has: &Resources, verb: &str) -> Option<String> {
    if let (Some(asked), Some(has)) = (short.memory, has.memory) {
        return Some(format!("{} MiB of memory, where {verb} {} MiB", asked >> 20, has >> 20));
    }
    if let (Some(asked), Some(has)) = (short.cpu_milli, has.cpu_milli) {
        return Some(format!("{asked}m of CPU, where {verb} {has}m"));
    }
    if short.gpus > 0 {
        return Some(format!("{} GPUs, where {verb} {}", short.gpus, has.gpus));
    }
    let (name, count) = short.custom.first_key_value()?;
    let has = has.custom.get(name).copied().unwrap_or(0);
    Some(format!("{count} of `{name}`, where {verb} {has}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_short_is_told_from_what_is_there() {
        let licences = |count| BTreeMap::from([("licence".to_owned(), count)]);
        let has =
            Resources { memory: Some(4 << 20), gpus: 2, custom: licences(1), cpu_milli: None };
        let asked =
            Resources { memory: Some(3 << 20), gpus: 1, custom: licences(1), cpu_milli: Some(9) };
        assert_eq!(lacking(&has, &asked), None);
        let free = less(has, &asked);
        assert_eq!((free.memory, free.gpus, free.cpu_milli), (Some(1 << 20), 1, None));
        let short = short_of(&free, &asked);
        assert_eq!((short.memory, short.gpus, short.custom.len()), (Some(3 << 20), 0, 1));
        let said = lacking_now(&free, &asked);
        assert_eq!(said.as_deref(), Some("3 MiB of memory, where free is 1 MiB"));
        let gpus = Resources { gpus: 1, ..Resources::default() };
        assert!(share(&short, &asked) && !share(&short, &gpus));
    }
}
