//! Which words of a try's progress are told, and when.
use tokio::time::sleep;

use super::*;
use crate::keep::heard::{Heard, key};

async fn words(heard: &Heard) -> Vec<(u16, String)> {
    let reports = heard.reports().await.into_iter();
    let words = reports.map(|body| match body {
        ReportBody::Progress { done, text } => (done, text),
        other => panic!("{other:?} is no progress"),
    });
    words.collect()
}

#[tokio::test(start_paused = true)]
async fn the_newest_word_is_told_when_its_time_has_come_with_no_further_one() {
    let heard = Heard::new().await;
    let it = Arc::new(Progress::new(key(), heard.reporter.clone()));
    it.say(0.1, "a");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(words(&heard).await, [(1_000, "a".to_owned())]);
    it.say(0.5, "b");
    it.say(0.6, "c");
    sleep(SOON).await;
    assert_eq!(words(&heard).await, [(6_000, "c".to_owned())], "much changed");
    it.say(0.6001, "d");
    sleep(SOON * 2).await;
    assert_eq!(words(&heard).await, [], "little changed");
    sleep(LATE).await;
    assert_eq!(words(&heard).await, [(6_001, "d".to_owned())]);
    it.say(0.7, "e");
    it.end(true).await;
    assert_eq!(words(&heard).await, [(7_000, "e".to_owned())], "at the end at once");
}
