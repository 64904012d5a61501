//! What was seen of a try, within a fixed room: the older a point, the longer the time that it stands for.
use std::time::Duration;

use dagbok_protocol::{UsageSeries, limits::USAGE_POINTS};

/// What a try used, as one look finds it. What only rises is since its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// In bytes.
    pub(crate) memory: u64,
    /// In microseconds.
    pub(crate) cpu_us: u64,
    /// Bytes.
    pub(crate) read_bytes: u64,
    /// Bytes.
    pub(crate) written_bytes: u64,
    /// How many.
    pub(crate) processes: u32,
    /// How many, over all processes.
    pub(crate) threads: u32,
    /// In bytes; `None` where no GPU can be asked.
    pub(crate) gpu_bytes: Option<u64>,
}

impl Sample {
    /// Both in one: the most of what comes and goes, the last of what rises.
    fn with(self, later: Self) -> Self {
        Self {
            memory: self.memory.max(later.memory),
            cpu_us: self.cpu_us.max(later.cpu_us),
            read_bytes: self.read_bytes.max(later.read_bytes),
            written_bytes: self.written_bytes.max(later.written_bytes),
            processes: self.processes.max(later.processes),
            threads: self.threads.max(later.threads),
            gpu_bytes: self.gpu_bytes.max(later.gpu_bytes),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Point {
    from_ms: u64,
    at_ms: u64,
    sample: Sample,
}

/// The points of one try.
#[derive(Debug, Default)]
pub(crate) struct Series {
    points: Vec<Point>,
    peak: u64,
    last: Sample,
}

impl Series {
    /// Adds what was seen `at` so long after the beginning; a look that is not later than the last is left out.
    pub(crate) fn push(&mut self, at: Duration, seen: Sample) {
        let at_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let from_ms = self.points.last().map_or(0, |last| last.at_ms);
        if at_ms <= from_ms && !self.points.is_empty() {
            return;
        }
        // A child that ends between two readings of one look is missing in it: what rises never falls.
        let sample = Sample {
            cpu_us: seen.cpu_us.max(self.last.cpu_us),
            read_bytes: seen.read_bytes.max(self.last.read_bytes),
            written_bytes: seen.written_bytes.max(self.last.written_bytes),
            ..seen
        };
        (self.last, self.peak) = (sample, self.peak.max(seen.memory));
        self.points.push(Point { from_ms, at_ms, sample });
        if self.points.len() > USAGE_POINTS {
            self.thin(at_ms);
        }
    }

    /// Makes one of the two neighbours that are the shortest for their age.
    fn thin(&mut self, now_ms: u64) {
        // In whole numbers, as length times a thousand over age: the same series each time.
        let length_for_age = |pair: &[Point]| {
            let length = u128::from(pair[1].at_ms - pair[0].from_ms);
            length * 1_000_000 / u128::from(now_ms - pair[1].at_ms + 1)
        };
        let shortest =
            self.points.windows(2).enumerate().min_by_key(|(_, pair)| length_for_age(pair));
        let Some((place, _)) = shortest else { return };
        let later = self.points.remove(place + 1);
        let earlier = &mut self.points[place];
        earlier.at_ms = later.at_ms;
        earlier.sample = earlier.sample.with(later.sample);
    }

    /// Counts memory that was seen between two points.
    pub(crate) fn note(&mut self, memory: u64) {
        self.peak = self.peak.max(memory);
    }

    /// The most memory that was seen, in bytes.
    pub(crate) const fn peak(&self) -> u64 {
        self.peak
    }

    /// Whether there was no look yet.
    pub(crate) const fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Puts the points into columns of `into`.
    pub(crate) fn columns(&self, mut into: UsageSeries) -> UsageSeries {
        let has_gpu = self.points.iter().any(|point| point.sample.gpu_bytes.is_some());
        for Point { at_ms, sample, .. } in &self.points {
            into.at_ms.push(*at_ms);
            into.memory.push(sample.memory);
            into.cpu_us.push(sample.cpu_us);
            into.read_bytes.push(sample.read_bytes);
            into.written_bytes.push(sample.written_bytes);
            into.processes.push(sample.processes);
            into.threads.push(sample.threads);
            if has_gpu {
                into.gpu_bytes.push(sample.gpu_bytes.unwrap_or(0));
            }
        }
        into.peak_bytes = into.peak_bytes.max(self.peak);
        into
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(memory: u64, cpu_us: u64) -> Sample {
        Sample { memory, cpu_us, processes: 1, threads: 1, ..Sample::default() }
    }

    fn after(looks: u64) -> Series {
        let mut series = Series::default();
        for n in 1..=looks {
            let memory = if n == 777 { 1 << 40 } else { n % 100 };
            series.push(Duration::from_secs(5 * n), seen(memory, n * 1_000));
        }
        series
    }

    #[test]
    fn a_short_series_is_whole() {
        let columns = after(USAGE_POINTS as u64).columns(UsageSeries::default());
        assert_eq!(columns.at_ms.len(), USAGE_POINTS);
        assert!(columns.at_ms.windows(2).all(|two| two[1] - two[0] == 5_000));
        assert!(columns.gpu_bytes.is_empty(), "nobody could be asked");
    }

    #[test]
    fn a_month_fits_and_old_points_stand_for_longer() {
        let looks = 30 * 24 * 720;
        let columns = after(looks).columns(UsageSeries::default());
        assert_eq!(columns.at_ms.len(), USAGE_POINTS);
        assert_eq!(columns.at_ms.last(), Some(&(looks * 5_000)));
        assert_eq!(columns.peak_bytes, 1 << 40);
        assert!(columns.memory.contains(&(1 << 40)), "a peak survives being thinned");
        let mut from = 0;
        for at in &columns.at_ms {
            let (length, age) = (at - from, looks * 5_000 - at);
            assert!(length <= 10_000 + age / 10, "{length} ms at an age of {age} ms");
            from = *at;
        }
        assert!(columns.cpu_us.is_sorted() && columns.at_ms.is_sorted());
    }

    #[test]
    fn what_rises_never_falls_and_the_same_look_counts_once() {
        let mut series = Series::default();
        series.push(Duration::from_secs(5), seen(9, 100));
        series.push(Duration::from_secs(10), seen(3, 60));
        series.push(Duration::from_secs(10), seen(90, 600));
        let columns = series.columns(UsageSeries::default());
        assert_eq!((columns.cpu_us, columns.memory), (vec![100, 100], vec![9, 3]));
        assert_eq!(columns.peak_bytes, 9);
    }
}
