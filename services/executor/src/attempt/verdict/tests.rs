//! The table of ends.
use super::*;

fn exited(exit_code: Option<i32>, signal: Option<i32>) -> Exit {
    Exit { exited: Some(Exited { exit_code, signal, ..Exited::default() }), ..Exit::default() }
}

fn said(ending: Option<Ending>, kind: &str, exception: &str) -> Said {
    let error = (!kind.is_empty()).then(|| Raised {
        kind: kind.to_owned(),
        exception: exception.to_owned(),
        message: "m".to_owned(),
        file: Some("/b/sub/dag.py".to_owned()),
        ..Raised::default()
    });
    Said { ending, error, ..Said::default() }
}

fn judged(said: &Said, exit: &Exit, oom: bool) -> Verdict {
    let killed = OutOfMemory {
        limit_bytes: None,
        peak_bytes: 0,
        by: OutOfMemoryBy::Machine,
        process: "python".to_owned(),
        pid: 71,
    };
    judge(said, exit, Path::new("/b"), None, || oom.then_some(killed))
}

fn kind_of(verdict: &Verdict) -> (FailureKind, Fault) {
    let Verdict::Failed(failure) = verdict else { panic!("{verdict:?}") };
    (failure.kind, failure.fault)
}

#[test]
fn the_last_word_wins_over_how_the_process_ended() {
    for exit in
        [exited(Some(0), None), exited(Some(3), None), exited(None, Some(9)), Exit::default()]
    {
        assert_eq!(judged(&said(Some(Ending::Succeeded), "", ""), &exit, true), Verdict::Succeeded);
        let failed = judged(&said(Some(Ending::Failed), "exception", "ValueError"), &exit, true);
        assert_eq!(kind_of(&failed), (FailureKind::Exception, Fault::User));
    }
}

#[test]
fn kinds_of_failure_are_told_apart() {
    let none = said(None, "", "");
    let cases = [
        (&none, exited(Some(7), None), false, FailureKind::Exit, Fault::User),
        (&none, exited(None, Some(11)), false, FailureKind::Signal, Fault::User),
        (&none, exited(None, Some(15)), false, FailureKind::Signal, Fault::System),
        (&none, exited(None, Some(9)), false, FailureKind::Signal, Fault::System),
        (&none, exited(None, Some(9)), true, FailureKind::OutOfMemory, Fault::User),
        (
            &none,
            Exit { killed: true, ..exited(None, Some(9)) },
            true,
            FailureKind::Signal,
            Fault::System,
        ),
        (
            &none,
            Exit { timed_out: true, killed: true, ..exited(None, Some(9)) },
            true,
            FailureKind::Timeout,
            Fault::User,
        ),
    ];
    for (said, exit, oom, kind, fault) in cases {
        assert_eq!(kind_of(&judged(said, &exit, oom)), (kind, fault), "{exit:?}");
    }
    let fine = exited(Some(0), None);
    for (kind, exception, want) in [
        ("exception", "MemoryError", FailureKind::OutOfMemory),
        ("timeout", "AirflowTaskTimeout", FailureKind::Timeout),
        ("import_error", "ImportError", FailureKind::ImportError),
        ("terminated", "AirflowTaskTerminated", FailureKind::Signal),
    ] {
        assert_eq!(
            kind_of(&judged(&said(Some(Ending::Failed), kind, exception), &fine, false)).0,
            want,
            "{kind}"
        );
    }
}

#[test]
fn what_we_did_to_it_is_no_failure_of_its_own() {
    let (none, terminated) = (said(None, "", ""), said(Some(Ending::Failed), "terminated", "X"));
    for said in [&none, &terminated] {
        for (kill, want) in [
            (Kill::Drained, Verdict::Lost(LostWhy::Drained)),
            (Kill::Fenced, Verdict::Lost(LostWhy::Fenced)),
            (Kill::Order(String::new()), Verdict::Lost(LostWhy::Ordered)),
            (Kill::Refused(String::new()), Verdict::Lost(LostWhy::Ordered)),
        ] {
            let exit = Exit { kill: Some(kill), ..exited(None, Some(15)) };
            assert_eq!(judged(said, &exit, true), want);
        }
    }
    assert_eq!(judged(&none, &Exit::default(), true), Verdict::Lost(LostWhy::NotHeld));
    let fenced = Exit {
        exited: Some(Exited { fenced: true, signal: Some(9), ..Exited::default() }),
        ..Exit::default()
    };
    assert_eq!(judged(&none, &fenced, true), Verdict::Lost(LostWhy::Fenced));
    for kill in [Kill::Drained, Kill::Order(String::new())] {
        let late = Exit { kill: Some(kill), ..exited(Some(0), None) };
        let succeeded = said(Some(Ending::Succeeded), "", "");
        assert_eq!(judged(&succeeded, &late, true), Verdict::Succeeded, "its own word goes first");
    }
}

#[test]
fn a_failure_names_its_place_in_the_bundle() {
    let verdict = judged(
        &said(Some(Ending::Failed), "fail_without_retry", "AirflowFailException"),
        &exited(Some(0), None),
        false,
    );
    let Verdict::Failed(failure) = verdict else { panic!() };
    assert_eq!(failure.file.as_deref(), Some("sub/dag.py"));
    assert!(!failure.retryable);
}

#[test]
fn a_kill_for_memory_names_the_limit_the_peak_and_who_was_killed() {
    let killed = |by, limit_bytes| OutOfMemory {
        limit_bytes,
        peak_bytes: 255 << 20,
        by,
        process: "python3".to_owned(),
        pid: 71,
    };
    let none = said(None, "", "");
    let at_limit = killed(OutOfMemoryBy::Limit, Some(256 << 20));
    let dead = exited(None, Some(9));
    let verdict = judge(&none, &dead, Path::new("/b"), Some(at_limit.clone()), || None);
    let Verdict::Failed(failure) = verdict else { panic!() };
    let text = "out of memory: the kernel killed `python3` (process 71) at the try's limit of 256 MiB; the try had used up to 255 MiB";
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::OutOfMemory, text));
    assert_eq!((failure.out_of_memory, failure.signal), (Some(at_limit.clone()), Some(9)));
    // A child was killed, and the task says what came of that.
    let bash = said(Some(Ending::Failed), "exception", "AirflowException");
    let verdict = judge(&bash, &exited(Some(0), None), Path::new("/b"), Some(at_limit), || None);
    let Verdict::Failed(failure) = verdict else { panic!() };
    assert_eq!(failure.kind, FailureKind::OutOfMemory);
    assert!(failure.message.ends_with("the task then said: m") && failure.exception.is_some());
    let by_us = killed(OutOfMemoryBy::Executor, Some(200 << 20));
    let exit = Exit { kill: Some(Kill::OutOfMemory(Box::new(by_us))), killed: true, ..dead };
    let Verdict::Failed(failure) = judged(&none, &exit, true) else { panic!() };
    assert!(failure.message.contains("limit of 200 MiB"), "{}", failure.message);
    assert_eq!((failure.kind, failure.fault), (FailureKind::OutOfMemory, Fault::User));
    for limit in [None, Some(1 << 30)] {
        let text = memory_text(&killed(OutOfMemoryBy::Machine, limit));
        assert!(text.contains("`python3` (process 71)") && text.contains("255 MiB"), "{text}");
    }
}
