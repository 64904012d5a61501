//! Ids of runs and tries, as `openlineage.client.uuid.generate_static_uuid` and Airflow's provider make them: a UUID of
//! version 7 whose last bits are a hash of what it is of.
use dagbok_events::{DagId, MapIndex, TaskId, Timestamp, TryNumber};
use sha1::{Digest as _, Sha1};

/// The id of a run of a DAG: of the job's namespace, the run's logical date (`run_after` where it has none) and how often
/// it was cleared after it was over.
pub fn run_uuid(namespace: &str, dag: &DagId, date: Timestamp, cleared: u32) -> String {
    uuid(date, &format!("{namespace}.{dag}.{cleared}"))
}

/// The id of a try: a further leg of it has the same.
pub fn try_uuid(
    namespace: &str,
    dag: &DagId,
    date: Timestamp,
    (task, map_index, try_number): (&TaskId, MapIndex, TryNumber),
) -> String {
    uuid(date, &format!("{namespace}.{dag}.{task}.{try_number}.{}", map_index.0))
}

/// As Python writes an instant: six digits of a second, or none.
fn iso(at: Timestamp) -> String {
    let whole = at.to_jiff().strftime("%Y-%m-%dT%H:%M:%S").to_string();
    match at.0.rem_euclid(1_000_000) {
        0 => format!("{whole}+00:00"),
        micros => format!("{whole}.{micros:06}+00:00"),
    }
}

/// Whole milliseconds as Python has them: by way of seconds as a floating point number, which may be one less.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what Python does is what is wanted; a date is far below 2^53 microseconds"
)]
fn millis(at: Timestamp) -> u64 {
    (at.0 as f64 / 1e6 * 1e3) as i64 as u64
}

fn uuid(at: Timestamp, data: &str) -> String {
    let mut hasher = Sha1::new();
    hasher.update(iso(at).as_bytes());
    hasher.update(data.as_bytes());
    let digest = hasher.finalize();
    // The first 76 bits of the hash are the last ones of the id, but for those of the version and the variant.
    let hash = digest.iter().take(10).fold(0_u128, |all, byte| all << 8 | u128::from(*byte)) >> 4;
    let mut bits = u128::from(millis(at) & 0xFFFF_FFFF_FFFF) << 80 | hash;
    bits = bits & !(0xF000 << 64) | 7 << 76;
    bits = bits & !(0xC000 << 48) | 0x8000 << 48;
    let hex = format!("{bits:032x}");
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    parts.map(|(from, to)| hex.get(from..to).unwrap_or_default()).join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(date: &str, cleared: u32) -> String {
        let at = serde_json::from_value(date.into()).unwrap();
        run_uuid("default", &"etl".parse().unwrap(), at, cleared)
    }

    #[test]
    fn ids_are_those_that_the_client_of_openlineage_gives() {
        // Each was printed by `openlineage.client.uuid.generate_static_uuid` of openlineage-python 1.54.0.
        assert_eq!(of("2024-01-01T00:00:00Z", 0), "018cc251-f400-75c2-931d-9d03e93bb4c9");
        assert_eq!(of("2024-01-01T00:00:00Z", 2), "018cc251-f400-7ed5-99b1-948ce78032ed");
        assert_eq!(of("2026-11-30T07:08:09.123456Z", 0), "01a22b48-5023-7940-bddb-5999c0fa35ae");
        // 1.001 seconds are 1000 milliseconds and something, in floating point numbers.
        assert_eq!(of("2009-02-13T23:31:30.001Z", 0), "011f71fb-0451-7d8b-8e0f-0717ee7a09bb");
        let (dag, task) = ("etl".parse().unwrap(), "load.it".parse().unwrap());
        let at = serde_json::from_value("2024-01-01T00:00:00Z".into()).unwrap();
        let token = (&task, MapIndex(3), TryNumber::new(2).unwrap());
        assert_eq!(try_uuid("prod", &dag, at, token), "018cc251-f400-7ea0-8e7e-e1c37e4c403c");
    }
}
