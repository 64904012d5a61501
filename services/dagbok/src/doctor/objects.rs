//! The object store for big things: whether it answers, and, where asked for, whether it may be written.
use std::time::Duration;

use dagbok_config::Config;

use super::Finding;
use crate::wire;

const CHECK: &str = "blobs";
/// A store slower than this holds up who reads old logs.
const SLOW: Duration = Duration::from_secs(1);

/// Looks, where one is configured; puts, reads and deletes a small object where `writes`.
pub(super) async fn check(config: &Config, writes: bool) -> Option<Finding> {
    let objects = match wire::objects(config) {
        Ok(objects) => objects?,
        Err(failure) => return Some(Finding::failed(CHECK, &failure)),
    };
    let place = objects.place();
    Some(match objects.look(writes).await {
        Err(error) => Finding::error(
            CHECK,
            error.to_string(),
            "mend it: until then what is large stays in the log's own store, and what moved can't be read",
        ),
        Ok(looked) if looked.took > SLOW => Finding::warning(
            CHECK,
            format!("{place} answers after {:.1?}", looked.took),
            "put the store nearer to the services, or raise `blobs.move_after` so that less is read from it",
        ),
        Ok(looked) => {
            let wrote = if looked.wrote { "; an object was put, read and deleted" } else { "" };
            Finding::ok(CHECK, format!("{place} answers after {:.1?}{wrote}", looked.took))
        }
    })
}
