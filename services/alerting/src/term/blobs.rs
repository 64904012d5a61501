//! Looks at where big things lie, once a minute. A store that fails once, or for a moment, wakes nobody: what is asked of it is asked
//! again, and what is large stays near meanwhile.
use std::time::Duration;

use dagbok_alerts::BlobsObserved;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::post::Came;
use crate::BigThings;

/// How often is looked.
const EVERY: Duration = Duration::from_mins(1);
/// How often where something is wrong.
const AGAIN: Duration = Duration::from_secs(15);
/// How long something is wrong before that is told.
const WRONG_FOR: Duration = Duration::from_mins(2);
/// What one look may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Looks until nobody hears it any more.
pub(super) async fn watch(blobs: &dyn BigThings, outcomes: &mpsc::Sender<Came>) {
    let mut wrong_since: Option<Instant> = None;
    loop {
        let looked = timeout(PATIENCE, blobs.look()).await;
        let looked = looked.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
        let refused = looked.err();
        wrong_since = refused.is_some().then(|| wrong_since.unwrap_or_else(Instant::now));
        if wrong_since.is_none_or(|since| since.elapsed() >= WRONG_FOR) {
            let seen = BlobsObserved { place: blobs.place(), refused };
            if outcomes.send(Came::Blobs(seen)).await.is_err() {
                return;
            }
        }
        sleep(if wrong_since.is_some() { AGAIN } else { EVERY }).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::future::BoxFuture;

    use super::*;

    #[derive(Debug, Default)]
    struct Bucket {
        is_wrong: AtomicBool,
        hangs: AtomicBool,
    }

    impl BigThings for Bucket {
        fn place(&self) -> String {
            "s3://bucket".to_owned()
        }

        fn look(&self) -> BoxFuture<'_, Result<(), String>> {
            Box::pin(async {
                if self.hangs.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
                if self.is_wrong.load(Ordering::Relaxed) {
                    Err("denied".to_owned())
                } else {
                    Ok(())
                }
            })
        }
    }

    async fn next(outcomes: &mut mpsc::Receiver<Came>) -> Option<String> {
        match outcomes.recv().await {
            Some(Came::Blobs(seen)) => seen.refused,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_wrong_for_long_is_told_and_what_is_so_for_a_moment_is_not() {
        let bucket: &'static Bucket = Box::leak(Box::default());
        let (outcomes, mut heard) = mpsc::channel(1);
        tokio::spawn(async move { watch(bucket, &outcomes).await });
        assert_eq!(next(&mut heard).await, None);
        bucket.is_wrong.store(true, Ordering::Relaxed);
        sleep(EVERY + AGAIN * 3).await;
        bucket.is_wrong.store(false, Ordering::Relaxed);
        assert_eq!(next(&mut heard).await, None, "it was wrong for less than two minutes");
        bucket.is_wrong.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        assert_eq!(next(&mut heard).await.as_deref(), Some("denied"));
        assert!(begun.elapsed() >= WRONG_FOR && begun.elapsed() <= EVERY + WRONG_FOR + AGAIN);
        bucket.is_wrong.store(false, Ordering::Relaxed);
        assert_eq!(next(&mut heard).await, None);
        bucket.hangs.store(true, Ordering::Relaxed);
        assert_eq!(next(&mut heard).await.as_deref(), Some("no answer within 60s"));
    }
}
