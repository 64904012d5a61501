//! Routes, chains and what holds what back, from what the file says.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_alerts::{
    Chain, Grouping, Inhibition, Matcher, Route, Rule, Step, Thresholds, limits::DISK_LOW_MOST,
};
use dagbok_config::Period;
use dagbok_events::Micros;

use super::{
    build::{Checked, Source, known, list, micros},
    crew::known_person,
    file::{ChainSection, File, InhibitSection, ReceiverSection, RouteSection, ThresholdsSection},
};

/// How long further causes wait, where nobody says.
const GROUP_INTERVAL: Period = Period::secs(300);
/// When an alert is told again, where nobody says.
const REPEAT_INTERVAL: Period = Period::secs(4 * 3_600);

/// Without a route the one receiver is told of everything.
pub(super) fn only_receiver(source: &Source<'_>, file: &File) -> Checked<Option<Route>> {
    let mut names = file.receivers.keys();
    match (names.next(), names.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => Ok(Some(Route {
            name: "platform".to_owned(),
            matchers: Vec::new(),
            chain: Chain::of(only, micros(Period::secs(300))),
            goes_on: false,
            group_interval: micros(GROUP_INTERVAL),
            repeat_interval: micros(REPEAT_INTERVAL),
            grouping: Grouping::default(),
            mutes: Vec::new(),
            runbook: None,
            routes: Vec::new(),
        })),
        (Some(_), Some(_)) => {
            let what =
                "there are several, so `[route]` has to say which is told: `receiver = \"NAME\"`";
            Err(source.wrong(&["receivers"], what))
        }
    }
}

pub(super) fn root(
    source: &Source<'_>,
    file: &File,
    chains: &BTreeMap<String, Chain>,
    section: &RouteSection,
) -> Checked<Route> {
    if !section.matchers.is_empty() {
        let what = "the root takes everything; put matchers into `[[route.routes]]`";
        return Err(source.wrong(&["route", "matchers"], what));
    }
    if section.receiver.is_none() && section.chain.is_none() {
        let what = "the root says who is told of what no other route takes: `receiver` or `chain`";
        return Err(source.wrong(&["route"], what));
    }
    let above = Route {
        name: "platform".to_owned(),
        matchers: Vec::new(),
        chain: Chain { steps: Vec::new(), repeat: 0 },
        goes_on: false,
        group_interval: micros(GROUP_INTERVAL),
        repeat_interval: micros(REPEAT_INTERVAL),
        grouping: Grouping::default(),
        mutes: Vec::new(),
        runbook: None,
        routes: Vec::new(),
    };
    let mut root = route(source, file, chains, &above, section, &["route".to_owned()])?;
    root.name = section.name.clone().unwrap_or_else(|| "platform".to_owned());
    Ok(root)
}

fn route(
    source: &Source<'_>,
    file: &File,
    chains: &BTreeMap<String, Chain>,
    above: &Route,
    section: &RouteSection,
    at: &[String],
) -> Checked<Route> {
    let place = |more: &[&str]| -> Vec<String> {
        at.iter().cloned().chain(more.iter().map(|it| (*it).to_owned())).collect()
    };
    let wrong = |more: &[&str], what: &dyn std::fmt::Display| {
        let place = place(more);
        source.wrong(&place.iter().map(String::as_str).collect::<Vec<_>>(), what)
    };
    let parse = |(index, text): (usize, &String)| {
        let index = index.to_string();
        text.parse::<Matcher>().map_err(|error| wrong(&["matchers", &index], &error))
    };
    let matchers = section.matchers.iter().enumerate().map(parse).collect::<Checked<Vec<_>>>()?;
    let chain = match (&section.receiver, &section.chain) {
        (Some(_), Some(_)) => {
            return Err(wrong(&["chain"], &"a route has a `receiver` or a `chain`, not both"));
        }
        (Some(name), None) => {
            known(file, name).map_err(|what| wrong(&["receiver"], &what))?;
            Chain::of(name, micros(Period::secs(300)))
        }
        (None, Some(name)) => chains.get(name).cloned().ok_or_else(|| {
            let there: Vec<&str> = chains.keys().map(String::as_str).collect();
            wrong(&["chain"], &format!("there is no chain `{name}`; there are: {}", list(&there)))
        })?,
        (None, None) => above.chain.clone(),
    };
    let within = |name: &str, period: Option<Period>, otherwise: Micros| match period {
        Some(period) if period.0.as_secs() < 1 || period > Period::LONGEST => {
            Err(wrong(&[name], &"from `1s` to a year"))
        }
        Some(period) => Ok(micros(period)),
        None => Ok(otherwise),
    };
    let after = section.group_after.unwrap_or(match &section.group_by {
        Some(_) => 1,
        None => above.grouping.after,
    });
    if after == 0 {
        return Err(wrong(&["group_after"], &"at least 1"));
    }
    let grouping = Grouping {
        by: section.group_by.clone().unwrap_or_else(|| above.grouping.by.clone()),
        after,
        wait: within("group_wait", section.group_wait, above.grouping.wait)?,
    };
    let mutes = section.mute_times.clone().unwrap_or_else(|| above.mutes.clone());
    if let Some(odd) = mutes.iter().find(|name| !file.mute_times.contains_key(*name)) {
        let there: Vec<&str> = file.mute_times.keys().map(String::as_str).collect();
        let what = format!("there is no mute time `{odd}`; there are: {}", list(&there));
        return Err(wrong(&["mute_times"], &what));
    }
    let mut made = Route {
        runbook: runbook(source, section, &place(&["runbook"]))?.or_else(|| above.runbook.clone()),
        grouping,
        mutes,
        name: section.name.clone().unwrap_or_else(|| section.matchers.join(", ")),
        matchers,
        chain,
        goes_on: section.goes_on,
        group_interval: within("group_interval", section.group_interval, above.group_interval)?,
        repeat_interval: within("repeat_interval", section.repeat_interval, above.repeat_interval)?,
        routes: Vec::new(),
    };
    for (index, inside) in section.routes.iter().enumerate() {
        let at = place(&["routes", &index.to_string()]);
        let inside = route(source, file, chains, &made, inside, &at)?;
        made.routes.push(inside);
    }
    Ok(made)
}

/// Where it says what to do about what goes a route.
fn runbook(source: &Source<'_>, section: &RouteSection, at: &[String]) -> Checked<Option<String>> {
    if let Some(text) = &section.runbook {
        source.url(&at.iter().map(String::as_str).collect::<Vec<_>>(), text)?;
    }
    Ok(section.runbook.clone())
}

pub(super) fn chain(
    source: &Source<'_>,
    name: &str,
    section: &ChainSection,
    file: &File,
) -> Checked<Chain> {
    if section.steps.is_empty() {
        return Err(source.wrong(&["chains", name, "steps"], "a chain has at least one step"));
    }
    if section.repeat > 100 {
        return Err(source.wrong(&["chains", name, "repeat"], "from 0 to 100"));
    }
    let mut steps = Vec::new();
    for (index, step) in section.steps.iter().enumerate() {
        let index = index.to_string();
        let at = ["chains", name, "steps", &index];
        let named = [&step.receivers, &step.people, &step.schedules, &step.round_robin];
        if named.iter().all(|names| names.is_empty()) {
            let what = "a step tells somebody: `receivers`, `people`, `schedules` or `round_robin`";
            return Err(source.wrong(&at, what));
        }
        for who in step.people.iter().chain(&step.round_robin) {
            known_person(file, who).map_err(|what| source.wrong(&at, what))?;
        }
        if let Some(schedule) = step.schedules.iter().find(|it| !file.schedules.contains_key(*it)) {
            let there: Vec<&str> = file.schedules.keys().map(String::as_str).collect();
            let what = format!("there is no schedule `{schedule}`; there are: {}", list(&there));
            return Err(source.wrong(&at, what));
        }
        if step.wait.0.as_secs() < 1 || step.wait > Period::LONGEST {
            return Err(source.wrong(&[&at[..], &["wait"]].concat(), "from `1s` to a year"));
        }
        for receiver in &step.receivers {
            known(file, receiver)
                .map_err(|what| source.wrong(&[&at[..], &["receivers"]].concat(), what))?;
        }
        steps.push(Step {
            receivers: step.receivers.clone(),
            people: step.people.clone(),
            schedules: step.schedules.clone(),
            round_robin: step.round_robin.clone(),
            wait: micros(step.wait),
        });
    }
    Ok(Chain { steps, repeat: section.repeat })
}

/// Root causes and what follows from each.
pub(super) fn inhibition(
    source: &Source<'_>,
    index: usize,
    section: &InhibitSection,
) -> Checked<Inhibition> {
    let index = index.to_string();
    let parse = |name: &'static str, texts: &[String]| -> Checked<Vec<Matcher>> {
        if texts.is_empty() {
            return Err(source.wrong(&["inhibit", &index, name], "at least one matcher"));
        }
        let wrong =
            |error: dagbok_alerts::BadMatcher| source.wrong(&["inhibit", &index, name], error);
        texts.iter().map(|text| text.parse().map_err(wrong)).collect()
    };
    Ok(Inhibition {
        source: parse("source", &section.source)?,
        target: parse("target", &section.target)?,
        equal: section.equal.clone(),
    })
}

/// From when on the disk is nearly full.
pub(super) fn disk_low(source: &Source<'_>, file: &File) -> Checked<Option<u8>> {
    let said = file.disk.low_percent;
    if said.is_some_and(|percent| percent > DISK_LOW_MOST) {
        let what = format!("at most {DISK_LOW_MOST}, or 0 for never");
        return Err(source.wrong(&["disk", "low_percent"], what));
    }
    Ok(said)
}

/// What is said of numbers and times.
pub(super) fn thresholds(
    source: &Source<'_>,
    index: usize,
    section: &ThresholdsSection,
) -> Checked<Thresholds> {
    let index = index.to_string();
    let wrong =
        |error: dagbok_alerts::BadMatcher| source.wrong(&["thresholds", &index, "matchers"], error);
    let matchers: Checked<Vec<Matcher>> =
        section.matchers.iter().map(|text| text.parse().map_err(wrong)).collect();
    let times = [section.max_age, section.within, section.answer_within];
    let is_empty = section.slow_percent.is_none() && section.memory_mib.is_none();
    if is_empty && times.iter().all(Option::is_none) {
        let what = "say `slow_percent`, `max_age`, `within`, `answer_within` or `memory_mib`";
        return Err(source.wrong(&["thresholds", &index], what));
    }
    if section.answer_within.is_some_and(|time| time < Period::secs(1)) {
        return Err(source.wrong(&["thresholds", &index, "answer_within"], "at least a second"));
    }
    if section.memory_mib == Some(0) {
        return Err(source.wrong(&["thresholds", &index, "memory_mib"], "at least 1"));
    }
    if section.slow_percent.is_some_and(|percent| (1..=100).contains(&percent)) {
        let what = "more than 100, or 0 for never";
        return Err(source.wrong(&["thresholds", &index, "slow_percent"], what));
    }
    Ok(Thresholds {
        matchers: matchers?,
        slow_percent: section.slow_percent,
        max_age: section.max_age.map(micros),
        within: section.within.map(micros),
        answer_within: section.answer_within.map(micros),
        memory_bytes: section.memory_mib.map(|mib| mib.saturating_mul(1 << 20)),
    })
}

/// Where it says what to do, by rules.
pub(super) fn runbooks(source: &Source<'_>, file: &File) -> Checked<BTreeMap<Rule, String>> {
    let one = |(word, url): (&String, &String)| {
        let at = ["runbooks", word.as_str()];
        let rule = Rule::ALL.into_iter().find(|rule| rule.word() == word).ok_or_else(|| {
            let there: Vec<&str> = Rule::ALL.iter().map(|rule| rule.word()).collect();
            source.wrong(&at, format!("there is no rule `{word}`; there are: {}", list(&there)))
        })?;
        source.url(&at, url)?;
        Ok((rule, url.clone()))
    };
    file.runbooks.iter().map(one).collect()
}

/// Receivers and chains that nothing names.
pub(super) fn unused(file: &File) -> Vec<String> {
    let Some(root) = &file.route else { return Vec::new() };
    let mut named = Named::default();
    named.add(root);
    for (_, chain) in file.chains.iter().filter(|(name, _)| named.chains.contains(name.as_str())) {
        let told = chain.steps.iter().flat_map(|step| &step.receivers);
        named.receivers.extend(told.map(String::as_str));
    }
    let contacts = file.people.values().flat_map(|person| &person.contacts);
    named.receivers.extend(contacts.map(|contact| contact.receiver.as_str()));
    named.receivers.extend(file.receivers.values().filter_map(|it| it.fallback.as_deref()));
    // Who mails those whom DAG files name is told of retries without being named.
    let mails = |section: &ReceiverSection| section.email.as_ref().is_some_and(|it| it.dag_email);
    let lonely = file.receivers.iter().filter(|(_, section)| !mails(section));
    let lonely =
        lonely.map(|(name, _)| name).filter(|name| !named.receivers.contains(name.as_str()));
    let idle = file.chains.keys().filter(|name| !named.chains.contains(name.as_str()));
    lonely
        .map(|name| format!("nothing names the receiver `{name}`: it is never told"))
        .chain(idle.map(|name| format!("nothing names the chain `{name}`")))
        .collect()
}

/// What routes name.
#[derive(Default)]
struct Named<'a> {
    receivers: BTreeSet<&'a str>,
    chains: BTreeSet<&'a str>,
}

impl<'a> Named<'a> {
    fn add(&mut self, route: &'a RouteSection) {
        self.receivers.extend(route.receiver.as_deref());
        self.chains.extend(route.chain.as_deref());
        route.routes.iter().for_each(|inside| self.add(inside));
    }
}
