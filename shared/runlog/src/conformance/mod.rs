//! One suite for all implementations: every sentence of the ports' documentation that a caller may
//! lean on is a case here. An implementation names a function that makes its [`Fixture`], and
//! [`conformance_tests`](crate::conformance_tests) gives it every case as a test of its own.
//!
//! What only one implementation can promise (a torn tail, a server's version) is tested there.
#![expect(clippy::unwrap_used, reason = "the cases are tests, though not always compiled as such")]
pub mod blobs;
pub mod differential;
pub mod log;
pub mod queue;
pub mod seeded;
pub mod signals;
pub mod snapshots;
pub mod state;
pub mod trim;

use std::{fmt::Write as _, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Draft, Ports};

/// Makes the namespaces that the cases work on.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The ports of a namespace of its own, with nothing in it.
    async fn ports(&self) -> Ports;

    /// The same namespace as a later process finds it; every other handle to it has been dropped.
    async fn reopen(&self, ports: Ports) -> Ports;

    /// The same namespace as another process beside this one sees it, where there can be one.
    async fn beside(&self, ports: &Ports) -> Option<Ports>;

    /// Whether queues and keyed state outlive their process; the log and blobs always do.
    fn keeps_queues_and_state(&self) -> bool {
        true
    }
}

/// Longest wait of a case for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what must come, and says so when it does not.
pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, work).await;
    waited.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

/// A draft with a text payload.
pub fn draft(subject: &str, payload: &str) -> Draft {
    Draft { subject: subject.to_owned(), payload: Bytes::copy_from_slice(payload.as_bytes()) }
}

/// Bytes of a text.
pub fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Keys and such that a careless implementation trips over; every text is a key.
pub fn awkward_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "plain",
        "with space",
        "a.b.c",
        ".",
        "..",
        "*",
        ">",
        "a/b/c",
        "/",
        "%2E",
        "%",
        "a%",
        "_",
        "=",
        "naïve",
        "日誌",
        "🦀",
        "tab\there",
        "line\nbreak",
        "UPPER",
        "upper",
        "'\"`$\\",
        "\u{0}",
        "",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut long = String::new();
    for n in 0..50 {
        write!(long, "part_{n}.").unwrap();
    }
    keys.push(long);
    keys
}

/// Makes every case of the suite a test, with the fixture that the async function `$fixture` of the
/// surrounding module returns; or, where `blobs` is said, those of the blobs alone.
#[macro_export]
macro_rules! conformance_tests {
    ($fixture:ident) => {
        $crate::conformance_tests!(@area $fixture, log, [
            an_empty_log_has_nothing,
            an_append_returns_the_last_place_and_is_read_back,
            a_subject_is_read_alone_in_order_and_up_to_a_place,
            an_empty_append_returns_what_was_expected,
            who_is_behind_is_refused_and_told_what_is_last,
            who_is_ahead_is_refused_and_told_what_is_last,
            the_largest_payload_fits_and_one_byte_more_is_refused_before_anything,
            what_is_no_subject_is_refused_before_anything,
            subjects_and_payloads_come_back_as_they_went,
            reads_stop_at_their_limits,
            reads_start_anywhere,
            thousands_at_once_keep_their_order,
            appends_need_not_wait_for_one_another,
            a_gap_in_the_pipeline_voids_the_rest,
            racing_writers_each_win_a_place_of_their_own,
            a_cancelled_append_is_there_whole_or_not_at_all,
            follow_brings_what_is_there_then_what_comes,
            follow_starts_in_the_middle_and_beyond_the_end,
            followers_see_every_entry_once_in_order,
            a_dropped_follower_harms_nobody,
            a_later_process_finds_the_log_and_goes_on,
            two_processes_share_one_order,
        ]);
        $crate::conformance_tests!(@area $fixture, trim, [
            a_log_is_known_by_its_first_entry,
            a_trimmed_log_begins_where_it_was_told,
            a_trim_without_true_copies_is_refused,
            followers_of_a_trimmed_log_are_told_or_go_on,
            a_later_process_finds_the_base,
        ]);
        $crate::conformance_tests!(@area $fixture, queue, [
            items_come_in_order_with_what_was_published,
            any_text_is_a_key,
            a_key_is_taken_while_stored_and_in_flight,
            a_delivery_is_passed_on_by_its_address,
            an_empty_pull_waits_no_longer_than_told,
            a_pull_brings_at_most_what_was_asked,
            a_waiting_pull_wakes_for_a_publish,
            each_item_goes_to_one_worker,
            a_silent_worker_loses_the_item_when_its_lease_ends,
            progress_keeps_the_lease,
            a_late_acknowledgement_still_removes_the_item,
            nak_hands_back_at_once_or_after_a_delay,
            depth_counts_what_is_in_flight_too,
            queues_are_apart_and_opening_again_is_the_same_queue,
            an_item_that_is_too_large_is_refused,
            a_cancelled_pull_loses_nothing,
            a_later_process_finds_the_items,
        ]);
        $crate::conformance_tests!(@area $fixture, state, [
            values_are_put_got_replaced_and_deleted,
            any_text_is_a_key,
            list_is_by_prefix_and_sorted,
            create_is_for_what_is_not_there,
            update_is_for_the_revision_that_was_read,
            revisions_rise_for_ever,
            racing_creators_have_one_winner,
            racing_updates_lose_nothing,
            what_has_a_time_to_live_vanishes,
            writing_again_starts_the_time_anew_or_ends_it,
            watchers_see_changes_under_their_prefix,
            watchers_are_told_of_what_runs_out,
            watch_then_list_misses_nothing,
            a_value_that_is_too_large_is_refused,
            a_later_process_finds_the_values,
        ]);
        $crate::conformance_tests!($fixture, blobs);
        $crate::conformance_tests!(@area $fixture, signals, [
            nobody_listening_is_no_error,
            listeners_hear_what_matches_in_order,
            wildcards_are_those_of_nats,
            a_request_is_answered,
            the_first_answer_counts,
            a_request_to_nobody_says_so_at_once,
            a_request_that_nobody_answers_times_out,
            a_listener_that_left_is_gone,
            a_slow_listener_holds_nobody_up,
            what_is_no_subject_is_refused,
        ]);
        $crate::conformance_tests!(@area $fixture, snapshots, [
            the_newest_of_a_name_is_read_back,
            what_was_never_put_is_not_there,
            names_that_no_store_could_bear_are_refused,
            readers_see_the_old_or_the_new_whole,
            a_later_process_finds_the_snapshots,
        ]);
    };
    ($fixture:ident, blobs) => {
        $crate::conformance_tests!(@area $fixture, blobs, [
            bytes_come_back_by_their_digest,
            what_was_never_put_is_not_there,
            the_same_bytes_twice_are_one_blob,
            many_at_once_do_not_disturb_one_another,
            a_later_process_finds_the_blobs,
            lists_come_in_pages,
            what_is_deleted_is_gone_until_it_is_put_again,
            what_is_put_again_is_young_again,
        ]);
    };
    (@area $fixture:ident, $area:ident, [$($case:ident),* $(,)?]) => {
        mod $area {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let fixture = super::$fixture().await;
                    $crate::conformance::$area::$case(&fixture).await;
                }
            )*
        }
    };
}

#[cfg(test)]
mod tests {
    /// Every case that is written is also run: the macro's list and the functions agree.
    #[test]
    fn no_case_is_left_out() {
        let list = include_str!("mod.rs");
        let areas = [
            ("log", include_str!("log.rs")),
            ("trim", include_str!("trim.rs")),
            ("queue", include_str!("queue.rs")),
            ("state", include_str!("state.rs")),
            ("blobs", include_str!("blobs.rs")),
            ("signals", include_str!("signals.rs")),
            ("snapshots", include_str!("snapshots.rs")),
        ];
        for (area, source) in areas {
            let listed = list.split(&format!("(@area $fixture, {area}, [")).nth(1).unwrap();
            let listed = listed.split("]);").next().unwrap();
            let listed: Vec<_> =
                listed.split(',').map(str::trim).filter(|c| !c.is_empty()).collect();
            let written = source.lines().filter_map(|line| line.strip_prefix("pub async fn "));
            let written: Vec<_> = written.map(|line| line.split('(').next().unwrap()).collect();
            assert_eq!(listed, written, "{area}");
        }
    }
}
