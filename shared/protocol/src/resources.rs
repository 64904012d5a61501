//! Whether an executor has what a task asks for.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_events::Resources;

/// So many values of a label are named.
const NAMED: usize = 10;

/// What `has` has too little of for `asked`, for people.
pub fn lacking(has: &Resources, asked: &Resources) -> Option<String> {
    first(&short_of(has, asked), has, "it has")
}

/// The same of what is free just now.
pub fn lacking_now(free: &Resources, asked: &Resources) -> Option<String> {
    first(&short_of(free, asked), free, "free is")
}

/// Whether `all` has somebody, and nobody with what `asked` asks for: [`in_vain`] without its words.
pub fn is_in_vain<'a>(all: impl IntoIterator<Item = &'a Resources>, asked: &Resources) -> bool {
    let mut all = all.into_iter().peekable();
    all.peek().is_some() && !all.any(|has| short_of(has, asked) == Resources::default())
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
        labels: asked
            .labels
            .iter()
            .filter(|(name, value)| has.labels.get(*name) != Some(*value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    }
}

/// What nobody of `all` has for `asked`, in words: each label and each amount that is nowhere; or, where every one of
/// them is somewhere and nobody has all, what the last one lacks. `None` where somebody could have it, or nobody is there.
pub fn in_vain<'a>(
    all: impl IntoIterator<Item = &'a Resources>,
    asked: &Resources,
) -> Option<String> {
    let (mut count, mut last, mut nowhere) = (0_u32, None, asked.clone());
    let (mut most, mut seen) = (Resources::default(), BTreeMap::<&str, BTreeSet<&str>>::new());
    for has in all {
        let short = short_of(has, asked);
        if short == Resources::default() {
            return None;
        }
        keep_common(&mut nowhere, &short);
        take_most(&mut most, has);
        for (name, value) in &has.labels {
            seen.entry(name).or_default().insert(value);
        }
        (count, last) = (count + 1, first(&short, has, "it has"));
    }
    let last = last?;
    let verb = if count == 1 { "it has" } else { "the most is" };
    let mut words = amounts(&nowhere, &most, verb);
    words.extend(nowhere.labels.iter().map(|(name, value)| {
        let there = seen.get(name.as_str()).map_or_else(|| "nothing".to_owned(), named);
        format!("the label `{name}` to be `{value}`, where there is {there}")
    }));
    if words.is_empty() {
        return Some(format!("all of it on one executor; one lacks {last}"));
    }
    Some(words.join("; and "))
}

/// Values by name, the first of them where each machine has one of its own.
fn named(values: &BTreeSet<&str>) -> String {
    let first: Vec<String> = values.iter().take(NAMED).map(|it| format!("`{it}`")).collect();
    let more = values.len().saturating_sub(NAMED);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    first.join(", ") + &rest
}

/// Leaves of what is short for some what is short for one more.
fn keep_common(nowhere: &mut Resources, short: &Resources) {
    nowhere.memory = nowhere.memory.filter(|_| short.memory.is_some());
    nowhere.cpu_milli = nowhere.cpu_milli.filter(|_| short.cpu_milli.is_some());
    nowhere.gpus = nowhere.gpus.min(short.gpus);
    nowhere.custom.retain(|name, _| short.custom.contains_key(name));
    nowhere.labels.retain(|name, _| short.labels.contains_key(name));
}

fn take_most(most: &mut Resources, has: &Resources) {
    most.memory = most.memory.max(has.memory);
    most.cpu_milli = most.cpu_milli.max(has.cpu_milli);
    most.gpus = most.gpus.max(has.gpus);
    for (name, count) in &has.custom {
        let known = most.custom.entry(name.clone()).or_default();
        *known = (*known).max(*count);
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
    if let Some(first) = amounts(short, has, verb).into_iter().next() {
        return Some(first);
    }
    let (name, value) = short.labels.first_key_value()?;
    let there = has.labels.get(name).map_or_else(|| "nothing".to_owned(), |it| format!("`{it}`"));
    Some(format!("the label `{name}` to be `{value}`, where {verb} {there}"))
}

/// What is short of what is counted, in words.
fn amounts(short: &Resources, has: &Resources, verb: &str) -> Vec<String> {
    let mut words = Vec::new();
    if let (Some(asked), Some(has)) = (short.memory, has.memory) {
        words.push(format!("{} MiB of memory, where {verb} {} MiB", asked >> 20, has >> 20));
    }
    if let (Some(asked), Some(has)) = (short.cpu_milli, has.cpu_milli) {
        words.push(format!("{asked}m of CPU, where {verb} {has}m"));
    }
    if short.gpus > 0 {
        words.push(format!("{} GPUs, where {verb} {}", short.gpus, has.gpus));
    }
    words.extend(short.custom.iter().map(|(name, count)| {
        let has = has.custom.get(name).copied().unwrap_or(0);
        format!("{count} of `{name}`, where {verb} {has}")
    }));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(labels: &[(&str, &str)]) -> Resources {
        let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Resources { labels: labels.collect(), ..Resources::default() }
    }

    #[test]
    fn what_nobody_has_is_named_and_what_somebody_has_is_not() {
        let gpu = |has: Resources| Resources { gpus: 1, ..has };
        let (here, there) = (labelled(&[("region", "eu")]), gpu(labelled(&[("region", "us")])));
        let asked = labelled(&[("region", "ap"), ("disk", "fast")]);
        assert_eq!(
            in_vain([&here, &there], &asked).unwrap(),
            "the label `disk` to be `fast`, where there is nothing; and the label `region` to be `ap`, where there is \
             `eu`, `us`"
        );
        let both = gpu(labelled(&[("region", "eu")]));
        let said = in_vain([&there, &here], &both).unwrap();
        assert_eq!(said, "all of it on one executor; one lacks 1 GPUs, where it has 0");
        assert_eq!(in_vain([&here, &both], &both), None);
        assert_eq!(in_vain([], &both), None, "nobody is there");
        assert!(!is_in_vain([], &both) && !is_in_vain([&here, &both], &both));
        assert!(is_in_vain([&there, &here], &both));
        let hosts: Vec<Resources> =
            (10..40).map(|n| labelled(&[("host", &format!("m{n}"))])).collect();
        let said = in_vain(&hosts, &labelled(&[("host", "m1O")])).unwrap();
        assert!(said.ends_with("`m18`, `m19` and 20 more"), "{said}");
        let many = Resources { gpus: 3, ..labelled(&[("region", "ap")]) };
        let said = in_vain([&here, &there], &many).unwrap();
        assert!(said.starts_with("3 GPUs, where the most is 1; and the label `region`"), "{said}");
    }

    #[test]
    fn what_is_short_is_told_from_what_is_there() {
        let licences = |count| BTreeMap::from([("licence".to_owned(), count)]);
        let has = Resources {
            memory: Some(4 << 20),
            gpus: 2,
            custom: licences(1),
            ..Resources::default()
        };
        let asked = Resources { cpu_milli: Some(9), memory: Some(3 << 20), gpus: 1, ..has.clone() };
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
