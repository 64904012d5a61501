//! All thirteen rules over every mix of up to three upstreams, against Airflow's conditions put down
//! here once more, plainly, from its documented behaviour (3.3).
use dagbok_domain::{
    run::Done,
    trigger_rule::{Standing, Tally, judge},
};
use dagbok_events::{RuledOut, TriggerRule};

/// How an upstream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Up {
    Waiting,
    Success,
    Failed,
    UpstreamFailed,
    Skipped,
}

const UPS: [Up; 5] = [Up::Waiting, Up::Success, Up::Failed, Up::UpstreamFailed, Up::Skipped];

const RULES: [TriggerRule; 13] = [
    TriggerRule::AllSuccess,
    TriggerRule::AllFailed,
    TriggerRule::AllDone,
    TriggerRule::AllDoneMinOneSuccess,
    TriggerRule::AllDoneSetupSuccess,
    TriggerRule::AllSkipped,
    TriggerRule::OneSuccess,
    TriggerRule::OneFailed,
    TriggerRule::OneDone,
    TriggerRule::NoneFailed,
    TriggerRule::NoneFailedMinOneSuccess,
    TriggerRule::NoneSkipped,
    TriggerRule::Always,
];

const SKIPPED: Standing = Standing::Never(RuledOut::Skipped);
const BROKEN: Standing = Standing::Never(RuledOut::UpstreamFailed);

fn tally(ups: &[Up]) -> Tally {
    let total = u32::try_from(ups.len()).expect("few");
    let mut tally = Tally { total, ..Tally::default() };
    for up in ups {
        match up {
            Up::Waiting => {}
            Up::Success => tally.count(Done::Success, 1),
            Up::Failed => tally.count(Done::Failed, 1),
            Up::UpstreamFailed => tally.count(Done::RuledOut(RuledOut::UpstreamFailed), 1),
            Up::Skipped => tally.count(Done::RuledOut(RuledOut::Skipped), 1),
        }
    }
    tally
}

/// What Airflow makes of it.
#[expect(clippy::match_same_arms, reason = "one line for each of Airflow's conditions")]
fn airflow(rule: TriggerRule, ups: &[Up]) -> Standing {
    let any = |which: &[Up]| ups.iter().any(|up| which.contains(up));
    let all = |which: &[Up]| ups.iter().all(|up| which.contains(up));
    let done = !any(&[Up::Waiting]);
    let failed = &[Up::Failed, Up::UpstreamFailed];
    let ready_if = |met| if met { Standing::Ready } else { Standing::Wait };
    match rule {
        TriggerRule::Always => Standing::Ready,
        _ if ups.is_empty() => Standing::Ready,
        TriggerRule::AllSuccess if any(failed) => BROKEN,
        TriggerRule::AllSuccess if any(&[Up::Skipped]) => SKIPPED,
        TriggerRule::AllSuccess => ready_if(all(&[Up::Success])),
        TriggerRule::AllFailed if any(&[Up::Success, Up::Skipped]) => SKIPPED,
        TriggerRule::AllFailed => ready_if(all(failed)),
        TriggerRule::AllDone | TriggerRule::AllDoneSetupSuccess => ready_if(done),
        TriggerRule::AllDoneMinOneSuccess if any(&[Up::Skipped]) => SKIPPED,
        TriggerRule::AllDoneMinOneSuccess if done && !any(&[Up::Success]) => BROKEN,
        TriggerRule::AllDoneMinOneSuccess => ready_if(done),
        TriggerRule::AllSkipped if any(&[Up::Success, Up::Failed, Up::UpstreamFailed]) => SKIPPED,
        TriggerRule::AllSkipped => ready_if(all(&[Up::Skipped])),
        TriggerRule::OneSuccess if any(&[Up::Success]) => Standing::Ready,
        TriggerRule::OneSuccess if all(&[Up::Skipped]) => SKIPPED,
        TriggerRule::OneSuccess if done => BROKEN,
        TriggerRule::OneFailed if any(failed) => Standing::Ready,
        TriggerRule::OneFailed if done => SKIPPED,
        TriggerRule::OneDone if any(&[Up::Success, Up::Failed]) => Standing::Ready,
        TriggerRule::OneDone if done => SKIPPED,
        TriggerRule::OneSuccess | TriggerRule::OneFailed | TriggerRule::OneDone => Standing::Wait,
        TriggerRule::NoneFailed if any(failed) => BROKEN,
        TriggerRule::NoneFailed => ready_if(done),
        TriggerRule::NoneFailedMinOneSuccess if any(failed) => BROKEN,
        TriggerRule::NoneFailedMinOneSuccess if all(&[Up::Skipped]) => SKIPPED,
        TriggerRule::NoneFailedMinOneSuccess => ready_if(done),
        TriggerRule::NoneSkipped if any(&[Up::Skipped]) => SKIPPED,
        TriggerRule::NoneSkipped => ready_if(done),
    }
}

fn mixes() -> Vec<Vec<Up>> {
    let mut mixes = vec![vec![]];
    let mut last = mixes.clone();
    for _ in 0..3 {
        last = last
            .iter()
            .flat_map(|mix| UPS.map(|up| mix.iter().copied().chain([up]).collect()))
            .collect();
        mixes.extend(last.clone());
    }
    mixes
}

#[test]
fn every_rule_over_every_mix_is_airflows() {
    let mixes = mixes();
    assert_eq!(mixes.len(), 1 + 5 + 25 + 125);
    for rule in RULES {
        for mix in &mixes {
            assert_eq!(judge(rule, tally(mix)), airflow(rule, mix), "{rule:?} over {mix:?}");
        }
    }
}

#[test]
fn a_verdict_once_given_stands_and_all_done_gives_one() {
    for rule in RULES {
        for mix in mixes() {
            let verdict = judge(rule, tally(&mix));
            if !mix.contains(&Up::Waiting) {
                assert_ne!(
                    verdict,
                    Standing::Wait,
                    "{rule:?} over {mix:?}: it would wait for ever"
                );
            }
            let Some(place) = mix.iter().position(|up| *up == Up::Waiting) else { continue };
            for up in &UPS[1..] {
                let mut later = mix.clone();
                later[place] = *up;
                let later_verdict = judge(rule, tally(&later));
                let stands = match verdict {
                    Standing::Wait => true,
                    Standing::Ready => later_verdict == Standing::Ready,
                    // Why it never will may be said differently later; it is decided when first known.
                    Standing::Never(_) => matches!(later_verdict, Standing::Never(_)),
                };
                assert!(stands, "{rule:?}: {mix:?} gave {verdict:?}, {later:?} {later_verdict:?}");
            }
        }
    }
}

#[test]
fn rules_do_to_runs_what_they_say() {
    use super::support::*;
    for rule in RULES {
        for mix in mixes().into_iter().filter(|mix| !mix.is_empty()) {
            // Each upstream has one of its own, so that it can be ruled out by a failure.
            let mut spec = dag("d").with(|dag| dag.max_active_tasks = 100);
            let names: Vec<String> = (0..mix.len()).map(|n| format!("u{n}")).collect();
            for name in &names {
                let before = format!("before_{name}");
                spec = spec.task(&before, &[]).task(name, &[&before]);
            }
            let ups: Vec<&str> = names.iter().map(String::as_str).collect();
            let spec = spec.add("z", &ups, |task| task.trigger_rule = rule);
            let mut world = World::with([spec]);
            world.trigger_as("d", "r1");
            world.settle();
            for (name, up) in names.iter().zip(&mix) {
                let before = format!("d/r1/before_{name}/1");
                match up {
                    Up::UpstreamFailed => drop(world.fail("e", &before)),
                    _ => drop(world.succeed("e", &before)),
                }
            }
            world.settle();
            for (name, up) in names.iter().zip(&mix) {
                let key = format!("d/r1/{name}/1");
                match up {
                    Up::Waiting | Up::UpstreamFailed => {}
                    Up::Success => drop(world.succeed("e", &key)),
                    Up::Failed => drop(world.fail("e", &key)),
                    Up::Skipped => drop(world.skip("e", &key)),
                }
            }
            world.settle();
            let facts = brief_all(&world.log);
            let queued = facts.contains(&"TaskQueued z 1".to_owned());
            let ruled_out = facts.iter().any(|fact| fact.starts_with("TaskRuledOut z"));
            let seen = match (queued, ruled_out) {
                (true, false) => "ready",
                (false, true) => "never",
                (false, false) => "wait",
                (true, true) => "both",
            };
            let expected = match airflow(rule, &mix) {
                Standing::Ready => "ready",
                Standing::Never(_) => "never",
                Standing::Wait => "wait",
            };
            assert_eq!(seen, expected, "{rule:?} over {mix:?}: {facts:#?}");
        }
    }
}
