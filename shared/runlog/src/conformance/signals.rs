//! Cases of the signals.
use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::BoxStream};
use tokio::time::Instant;

use super::{Fixture, PATIENCE, soon, text};
use crate::{
    PortError, RequestError, Signal, Signals,
    limits::{MAX_PAYLOAD, SIGNAL_BACKLOG},
};

type Listening = BoxStream<'static, Signal>;

async fn heard(listening: &mut Listening) -> (String, String) {
    let signal = soon("a signal", listening.next()).await.unwrap();
    (signal.subject, String::from_utf8(signal.payload.to_vec()).unwrap())
}

fn said(subject: &str, payload: &str) -> (String, String) {
    (subject.to_owned(), payload.to_owned())
}

/// Answers every request with `prefix` and what was asked.
fn answer_all(mut listening: Listening, prefix: &'static str) {
    tokio::spawn(async move {
        while let Some(signal) = listening.next().await {
            let asked = String::from_utf8_lossy(&signal.payload).into_owned();
            if let Some(responder) = signal.responder {
                responder.respond(text(&format!("{prefix}{asked}"))).await.unwrap();
            }
        }
    });
}

/// Signals may be lost.
pub async fn nobody_listening_is_no_error(fixture: &impl Fixture) {
    let signals = fixture.ports().await.signals;
    signals.publish("to.nobody", text("x")).await.unwrap();
    let mut late = signals.subscribe("to.nobody").await.unwrap();
    signals.publish("to.nobody", text("y")).await.unwrap();
    assert_eq!(heard(&mut late).await, said("to.nobody", "y"));
}

/// All who listen hear all that is said from then on.
pub async fn listeners_hear_what_matches_in_order(fixture: &impl Fixture) {
    let signals = fixture.ports().await.signals;
    let mut first = signals.subscribe("a.b").await.unwrap();
    let mut second = signals.subscribe("a.b").await.unwrap();
    for n in 0..100 {
        signals.publish("a.c", text("other")).await.unwrap();
        signals.publish("a.b", text(&n.to_string())).await.unwrap();
    }
    for n in 0..100 {
        assert_eq!(heard(&mut first).await, said("a.b", &n.to_string()));
        assert_eq!(heard(&mut second).await, said("a.b", &n.to_string()));
    }
    assert!(signals.publish("a.b", text("no answer is wanted")).await.is_ok());
    let signal = soon("a signal", first.next()).await.unwrap();
    assert!(signal.responder.is_none());
}

/// `*` is one token, `>` the rest.
pub async fn wildcards_are_those_of_nats(fixture: &impl Fixture) {
    let signals = fixture.ports().await.signals;
    let subjects = ["a", "a.b", "a.b.c", "a.x.c", "b.b.c", "a.b.c.d", "a.%2A"];
    let patterns: [(&str, &[&str]); 6] = [
        ("a", &["a"]),
        ("a.*", &["a.b", "a.%2A"]),
        ("a.>", &["a.b", "a.b.c", "a.x.c", "a.b.c.d", "a.%2A"]),
        ("*.b.c", &["a.b.c", "b.b.c"]),
        ("a.*.c", &["a.b.c", "a.x.c"]),
        (">", &subjects),
    ];
    for (pattern, wanted) in patterns {
        let mut listening = signals.subscribe(pattern).await.unwrap();
        for subject in subjects {
            signals.publish(subject, text(pattern)).await.unwrap();
        }
        for subject in wanted {
            assert_eq!(heard(&mut listening).await, said(subject, pattern));
        }
    }
}

/// An answer goes to who asked.
pub async fn a_request_is_answered(fixture: &impl Fixture) {
    let signals = fixture.ports().await.signals;
    answer_all(signals.subscribe("ask.*").await.unwrap(), "yes, ");
    let questions = (0..20).map(|n| {
        let signals = Arc::clone(&signals);
        async move {
            let question = text(&n.to_string());
            let answer = signals.request(&format!("ask.{n}"), question, PATIENCE).await.unwrap();
            assert_eq!(answer, format!("yes, {n}"));
        }
    });
    soon("all answers", futures::future::join_all(questions)).await;
}

/// One answer is enough, and a second harms nobody.
pub async fn the_first_answer_counts(fixture: &impl Fixture) {
    let signals = fixture.ports().await.signals;
    answer_all(signals.subscribe("ask").await.unwrap(), "one ");
    answer_all(signals.subscribe("ask").await.unwrap(), "two ");
    for _ in 0..20 {
        let answer = signals.request("ask", text("me"), PATIENCE).await.unwrap();
        assert!(answer == "one me" || answer == "two me", "{answer:?}");
    }
}

/// Nobody there is known at once, not after the wait.
pub async fn a_request_to_nobody_says_so_at_once(fixture: &impl Fixture) {
    let signals = fixture.ports().await.signals;
    let start = Instant::now();
    let answer = signals.request("ask.nobody", text("x"), PATIENCE).await;
    assert!(
        matches!(&answer, Err(RequestError::NoResponder { subject }) if subject == "ask.nobody"),
        "{answer:?}"
    );
    assert!(start.elapsed() < PATIENCE / 2);
}

/// A listener that says nothing, or lets go of the question, is no answer.
pub async fn a_request_that_nobody_answers_times_out(fixture: &impl Fixture) {
    let signals = fixture.ports().await.signals;
    let _mute = signals.subscribe("ask.mute").await.unwrap();
    let within = Duration::from_millis(300);
    let start = Instant::now();
    let answer = signals.request("ask.mute", text("x"), within).await;
    assert!(
        matches!(&answer, Err(RequestError::TimedOut { subject, .. }) if subject == "ask.mute"),
        "{answer:?}"
    );
    assert!(start.elapsed() >= within);
    let mut lets_go = signals.subscribe("ask.dropper").await.unwrap();
    tokio::spawn(async move { while lets_go.next().await.is_some() {} });
    let answer = signals.request("ask.dropper", text("x"), within).await;
    assert!(matches!(answer, Err(RequestError::TimedOut { .. })), "{answer:?}");
}

/// Dropping the stream is leaving.
pub async fn a_listener_that_left_is_gone(fixture: &impl Fixture) {
    let signals = fixture.ports().await.signals;
    drop(signals.subscribe("ask.gone").await.unwrap());
    let gone = async {
        let within = Duration::from_millis(200);
        while !matches!(
            signals.request("ask.gone", text("x"), within).await,
            Err(RequestError::NoResponder { .. })
        ) {}
    };
    soon("the listener to be gone", gone).await;
}

/// Who does not listen loses words; who speaks does not wait, and others hear all.
pub async fn a_slow_listener_holds_nobody_up(fixture: &impl Fixture) {
    let signals = fixture.ports().await.signals;
    let mut slow = signals.subscribe("lines").await.unwrap();
    let flood = async {
        for n in 0..SIGNAL_BACKLOG * 4 {
            signals.publish("lines", text(&n.to_string())).await.unwrap();
        }
    };
    soon("the flood", flood).await;
    let mut prompt = signals.subscribe("lines").await.unwrap();
    let mark = async |signals: &dyn Signals, listening: &mut Listening| {
        signals.publish("lines", text("mark")).await.unwrap();
        while heard(listening).await.1 != "mark" {}
    };
    mark(&*signals, &mut prompt).await;
    mark(&*signals, &mut slow).await;
}

/// Nor is what can't be carried.
pub async fn what_is_no_subject_is_refused(fixture: &impl Fixture) {
    let signals = fixture.ports().await.signals;
    for bad in ["", "a..b", "a b", "a.>", "*", ".a"] {
        let refused = signals.publish(bad, text("x")).await;
        assert!(matches!(refused, Err(PortError::Refused { .. })), "{bad:?}: {refused:?}");
        let refused = signals.request(bad, text("x"), Duration::from_millis(50)).await;
        assert!(
            matches!(refused, Err(RequestError::Port(PortError::Refused { .. }))),
            "{bad:?}: {refused:?}"
        );
    }
    for bad in ["", "a..b", "a b", "a.>.b", "a*"] {
        assert!(
            matches!(signals.subscribe(bad).await, Err(PortError::Refused { .. })),
            "{bad:?} is no pattern"
        );
    }
    let large = text(&"x".repeat(MAX_PAYLOAD + 1));
    assert!(matches!(signals.publish("a", large).await, Err(PortError::Refused { .. })));
}
