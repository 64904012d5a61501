//! Trigger rules as two versions of real Airflow judge them: every mix of up to four upstream states. What is
//! judged otherwise is listed here, with the reason.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_domain::{
    run::Done,
    trigger_rule::{Standing, Tally, judge, judge_in_scope},
};
use dagbok_events::{RuledOut, TriggerRule};
use serde::Deserialize;

use super::support::plain_task;

/// Questions by their answers, in one line each.
type Answers = BTreeMap<String, String>;

#[derive(Deserialize)]
struct Recorded {
    direct: BTreeMap<String, Answers>,
    teardown: Answers,
    scope: BTreeMap<String, Answers>,
}

const RECORDED: [(u8, &str); 2] = [
    (2, include_str!("../oracle/trigger-rules-2.json")),
    (3, include_str!("../oracle/trigger-rules-3.json")),
];

fn recorded(text: &str) -> Recorded {
    serde_json::from_str(text).expect("what was recorded")
}

fn rule_of(name: &str) -> TriggerRule {
    serde_json::from_value(name.into()).expect("a trigger rule")
}

fn state_of(letter: char) -> Option<Done> {
    match letter {
        's' => Some(Done::Success),
        'f' => Some(Done::Failed),
        'u' => Some(Done::RuledOut(RuledOut::UpstreamFailed)),
        'k' => Some(Done::RuledOut(RuledOut::Skipped)),
        'r' => Some(Done::RuledOut(RuledOut::Removed)),
        '-' => None,
        other => panic!("`{other}` is no state"),
    }
}

fn count(tally: &mut Tally, letter: char) {
    tally.total += 1;
    if let Some(done) = state_of(letter) {
        tally.count(done, 1);
    }
}

fn count_setup(tally: &mut Tally, letter: char) {
    (tally.total, tally.setups) = (tally.total + 1, tally.setups + 1);
    if let Some(done) = state_of(letter) {
        tally.count_setups(done, 1);
    }
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Wait => "wait",
        Standing::Ready => "run",
        Standing::Never(RuledOut::Skipped) => "skipped",
        Standing::Never(RuledOut::UpstreamFailed) => "upstream_failed",
        Standing::Never(RuledOut::Removed | RuledOut::OutOfDates) => "removed",
    }
}

fn each(answers: &Answers) -> impl Iterator<Item = (&str, &str)> {
    answers.iter().flat_map(|(answer, asked)| {
        asked.split(' ').map(move |question| (question, answer.as_str()))
    })
}

/// Where we judge otherwise: only where an upstream was removed.
///
/// Airflow 2 counts a removed upstream as one that all_success, all_failed, none_failed and
/// none_failed_min_one_success wait for; Airflow 3 leaves it out, and so do we in both eras: nobody can end such
/// a wait. Under all_skipped both wait, for ever.
fn is_meant(era: u8, rule: &str, mix: &str, said: &str) -> bool {
    let removed = mix.contains('r') && !mix.contains('-') && said == "wait";
    let of_two = ["all_success", "all_failed", "none_failed", "none_failed_min_one_success"];
    removed && (rule == "all_skipped" || (era == 2 && of_two.contains(&rule)))
}

#[test]
fn every_mix_of_upstreams_is_judged_as_airflow_judges_it() {
    for (era, text) in RECORDED {
        let recorded = recorded(text);
        assert_eq!(recorded.direct.len(), if era == 2 { 11 } else { 12 });
        let (mut asked, mut otherwise) = (0, BTreeSet::new());
        for (name, answers) in &recorded.direct {
            for (mix, said) in each(answers) {
                let mut up = Tally::default();
                mix.chars().for_each(|letter| count(&mut up, letter));
                let ours = word(judge(rule_of(name), up));
                asked += 1;
                if ours != said {
                    assert!(
                        is_meant(era, name, mix, said),
                        "Airflow {era}, {name}, {mix}: {said}, and here {ours}"
                    );
                    otherwise.insert((name.clone(), mix.to_owned()));
                }
            }
        }
        assert_eq!(asked, 209 * recorded.direct.len());
        assert_eq!(otherwise.len(), if era == 2 { 80 } else { 10 }, "{otherwise:?}");
    }
}

#[test]
fn a_teardown_is_judged_by_its_setups_as_airflow_judges_it() {
    for (era, text) in RECORDED {
        let answers = recorded(text).teardown;
        let mut asked = 0;
        for (mix, said) in each(&answers) {
            let (setups, others) = mix.split_once('|').expect("setups, and the others");
            let mut up = Tally::default();
            setups.chars().for_each(|letter| count_setup(&mut up, letter));
            others.chars().for_each(|letter| count(&mut up, letter));
            let ours = word(judge(TriggerRule::AllDoneSetupSuccess, up));
            assert_eq!(ours, said, "Airflow {era}, {mix}");
            asked += 1;
        }
        assert_eq!(asked, 756);
    }
}

#[test]
fn a_task_is_judged_by_setups_further_above_as_airflow_judges_it() {
    for (era, text) in RECORDED {
        for (name, answers) in &recorded(text).scope {
            for (pair, said) in each(answers) {
                let mut letters = pair.chars();
                let (mut scope, mut up) = (Tally::default(), Tally::default());
                count_setup(&mut scope, letters.next().expect("the setup's state"));
                count(&mut up, letters.next().expect("the upstream's state"));
                let mut task = plain_task("t", vec![0]);
                task.trigger_rule = rule_of(name);
                let ours = word(judge_in_scope(&task, up, scope));
                // A removed setup, or upstream, holds Airflow's task up for ever, or only that of one of its eras.
                let meant = pair.contains('r') && said == "wait";
                assert!(
                    ours == said || meant,
                    "Airflow {era}, {name}, {pair}: {said}, here {ours}"
                );
            }
        }
    }
}
