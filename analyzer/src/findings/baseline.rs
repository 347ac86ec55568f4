//! What is ordinary: how long a request of each class takes when nothing is wrong.
//!
//! Percentiles of the whole recording would count the spikes in. Here each stretch of the recording gives its own 99th
//! percentile, and the lower quartile of those is ordinary. Stretches are a quarter of the shortest period, but no less
//! than 1/512 of the recording. Six in ten of the former hold no spike that lasts up to a seventh of that period. Of stretches
//! with too few requests for that the slowest one counts: what six in ten do not exceed is the 99th percentile, nearly, of requests outside of spikes. Where there are
//! fewer still, longer stretches stand for them, and their median.

/// Buckets: four to a doubling, from 1 us on.
const BUCKETS: usize = 128;
/// Requests of a stretch whose percentile counts.
const FEWEST: u64 = 20;
/// Requests of a stretch whose slowest one counts, where there are not enough for percentiles.
const FEW: u64 = 8;
/// Short stretches with enough requests of which the quartile counts.
const FEWEST_STRETCHES: usize = 16;
/// Longer stretches that a recording is cut into.
const COARSE: i64 = 64;
/// Most short stretches.
const MOST_FINE: i64 = 512;
/// Longest of the short stretches, unless the recording is very long.
const LONGEST_STRETCH_NS: i64 = 2_500_000_000;
/// A slow request takes this many times the median at least.
const TIMES_MEDIAN: f64 = 2.0;

/// What a class's requests take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Baseline {
    /// Median, ns.
    pub median_ns: i64,
    /// Mean of the requests near the median, ns: a bucket is too wide to tell hops around each other apart.
    pub usual_ns: i64,
    /// A request that takes longer is slow, ns.
    pub slow_ns: i64,
}

/// Latencies by class and stretch.
#[derive(Debug)]
pub struct Latencies {
    stretch_ns: i64,
    /// Short stretches in a longer one.
    together: usize,
    classes: Vec<Durations>,
}

/// How long the requests of a class took.
#[derive(Clone, Debug)]
struct Durations {
    counts: [u64; BUCKETS],
    /// Sums of the durations, ns.
    sums_ns: [i64; BUCKETS],
    /// Counts by short stretch, of those with a request.
    stretches: Vec<Option<Box<[u16; BUCKETS]>>>,
}

impl Durations {
    const NONE: Durations = Durations { counts: [0; BUCKETS], sums_ns: [0; BUCKETS], stretches: Vec::new() };

    /// The 99th percentile, as a bucket, of each stretch with so many requests, in order of size; so many short
    /// stretches are one.
    fn percentiles(&self, together: usize, fewest: u64) -> Vec<usize> {
        let sums = self.stretches.chunks(together).map(|stretches| {
            let mut sums = [0u64; BUCKETS];
            for counts in stretches.iter().flatten() {
                sums.iter_mut().zip(counts.iter()).for_each(|(sum, &n)| *sum += u64::from(n));
            }
            sums
        });
        let enough = sums.filter(|sums| sums.iter().sum::<u64>() >= fewest);
        let mut high: Vec<usize> = enough.map(|sums| quantile(&sums, 0.99)).collect();
        high.sort_unstable();
        high
    }

    /// The counts of a stretch, made where there are none yet.
    fn stretch(&mut self, stretch: usize) -> &mut [u16; BUCKETS] {
        if self.stretches.len() <= stretch {
            self.stretches.resize(stretch + 1, None);
        }
        self.stretches[stretch].get_or_insert_with(|| Box::new([0; BUCKETS]))
    }
}

impl Latencies {
    /// Nothing yet, of a recording of that length in which periods of at least `min_period_ns` matter. What is ordinary does
    /// not depend on that unless they are short.
    pub fn new(length_ns: i64, min_period_ns: i64) -> Latencies {
        let stretch_ns = (min_period_ns.min(LONGEST_STRETCH_NS * 4) / 4).max(length_ns / MOST_FINE).max(1);
        let together = (length_ns / COARSE / stretch_ns).max(1) as usize;
        Latencies { stretch_ns, together, classes: Vec::new() }
    }

    /// Counts a request that began `since_begin_ns` after the recording.
    pub fn add(&mut self, class: u32, since_begin_ns: i64, duration_ns: i64) {
        let bucket = bucket(duration_ns);
        if self.classes.len() <= class as usize {
            self.classes.resize(class as usize + 1, Durations::NONE);
        }
        let counted = &mut self.classes[class as usize];
        counted.counts[bucket] += 1;
        counted.sums_ns[bucket] = counted.sums_ns[bucket].saturating_add(duration_ns);
        // A span's begin lies within the recording, or a little before: there are not many stretches.
        let stretch = (since_begin_ns.max(0) / self.stretch_ns).min(2 * MOST_FINE) as usize;
        let counts = counted.stretch(stretch);
        counts[bucket] = counts[bucket].saturating_add(1);
    }

    /// Adds what another thread counted of the same recording.
    pub fn merge(&mut self, other: Latencies) {
        let classes = self.classes.len().max(other.classes.len());
        self.classes.resize(classes, Durations::NONE);
        for (sum, class) in self.classes.iter_mut().zip(&other.classes) {
            sum.counts.iter_mut().zip(&class.counts).for_each(|(sum, n)| *sum += n);
            sum.sums_ns.iter_mut().zip(&class.sums_ns).for_each(|(sum, ns)| *sum = sum.saturating_add(*ns));
            let stretches = class.stretches.iter().enumerate();
            for (stretch, counts) in
                stretches.filter_map(|(stretch, counts)| Some((stretch, counts.as_ref()?)))
            {
                let sums = sum.stretch(stretch).iter_mut().zip(counts.iter());
                sums.for_each(|(sum, &n)| *sum = sum.saturating_add(n));
            }
        }
    }

    /// What is ordinary, by class.
    pub fn ordinary(&self) -> Vec<Baseline> {
        let high = |class: &Durations| {
            let fine = class.percentiles(1, FEWEST);
            if fine.len() >= FEWEST_STRETCHES {
                return fine[fine.len() / 4];
            }
            let slowest = class.percentiles(1, FEW);
            if slowest.len() >= FEWEST_STRETCHES {
                return slowest[slowest.len() * 6 / 10];
            }
            let coarse = class.percentiles(self.together, FEWEST);
            // Too few requests for stretches: nine in ten are taken for ordinary.
            coarse.get(coarse.len() / 2).copied().unwrap_or_else(|| quantile(&class.counts, 0.9))
        };
        self.classes.iter().map(|class| ordinary(class, high(class))).collect()
    }
}

fn ordinary(class: &Durations, high: usize) -> Baseline {
    let counts = &class.counts;
    let median = quantile(counts, 0.5);
    let median_ns = (lower(median) + lower(median + 1)) / 2;
    let slow_ns = lower(high + 1).max((median_ns as f64 * TIMES_MEDIAN) as i64);
    let near = counts[median].max(1);
    let usual_ns = class.sums_ns[median] / i64::try_from(near).unwrap_or(i64::MAX);
    Baseline { median_ns, usual_ns, slow_ns }
}

fn bucket(duration_ns: i64) -> usize {
    let us = (duration_ns.max(1000) as u64) / 1000;
    let octave = us.ilog2() as usize;
    let quarter = if octave >= 2 { (us >> (octave - 2)) & 3 } else { (us << (2 - octave)) & 3 };
    (octave * 4 + quarter as usize).min(BUCKETS - 1)
}

/// Lower bound of a bucket, ns.
fn lower(bucket: usize) -> i64 {
    let (octave, quarter) = (bucket / 4, bucket % 4);
    let us = 2f64.powi(octave as i32) * (1.0 + quarter as f64 / 4.0);
    (us * 1000.0) as i64
}

fn quantile(counts: &[u64], q: f64) -> usize {
    let total: u64 = counts.iter().sum();
    let want = (q * total as f64).ceil().max(1.0) as u64;
    let mut sum = 0;
    counts
        .iter()
        .position(|&n| {
            sum += n;
            sum >= want
        })
        .unwrap_or(counts.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_and_hold_their_bounds() {
        for bucket_number in 8..BUCKETS - 1 {
            assert_eq!(bucket(lower(bucket_number)), bucket_number);
            assert_eq!(bucket(lower(bucket_number + 1) - 1), bucket_number);
        }
        assert_eq!(bucket(-5), 0);
        assert_eq!(bucket(i64::MAX), BUCKETS - 1);
    }

    #[test]
    fn classes_within_one_bucket_are_told_apart() {
        let mut latencies = Latencies::new(1_000_000_000, 1_000_000_000);
        for request in 0..100 {
            latencies.add(0, request, 2_400_000 + request);
            latencies.add(1, request, 2_300_000 + request);
        }
        let [outer, inner] = [0, 1].map(|class: usize| latencies.ordinary()[class]);
        assert_eq!(outer.median_ns, inner.median_ns);
        assert_eq!((outer.usual_ns, inner.usual_ns), (2_400_049, 2_300_049));
    }

    #[test]
    fn short_periods_of_a_long_recording_do_not_count_as_ordinary_either() {
        let mut latencies = Latencies::new(3_600_000_000_000, 10_000_000_000);
        for tenth in 0..36_000 {
            for request in 0..2 {
                // 1.5 s of every 20 s: each longer stretch holds a spike.
                let duration_ns = if tenth % 200 < 15 { 300_000_000 } else { 1_000_000 + tenth % 10 * 1000 };
                latencies.add(0, tenth * 100_000_000 + request, duration_ns);
            }
        }
        assert!(
            (1_900_000..3_000_000).contains(&latencies.ordinary()[0].slow_ns),
            "{:?}",
            latencies.ordinary()
        );
    }

    #[test]
    fn few_requests_are_enough_where_periods_are_short() {
        let mut latencies = Latencies::new(600_000_000_000, 10_000_000_000);
        // Five a second, 0.7 s of every 12 s slow: each longer stretch holds a spike, and short ones hold 12 requests.
        for fifth in 0..3000 {
            let duration_ns = if fifth % 60 < 4 { 300_000_000 } else { 1_000_000 + fifth % 10 * 1000 };
            latencies.add(0, fifth * 200_000_000, duration_ns);
        }
        let slow_ns = latencies.ordinary()[0].slow_ns;
        assert!((1_900_000..3_000_000).contains(&slow_ns), "{slow_ns}");
    }

    #[test]
    fn spikes_do_not_count_as_ordinary() {
        let mut latencies = Latencies::new(100_000_000_000, 4_000_000_000);
        for second in 0..100 {
            for request in 0..100 {
                let spike = second % 5 == 0 && request < 40;
                let duration_ns = if spike { 500_000_000 } else { 1_000_000 + request * 1000 };
                latencies.add(0, second * 1_000_000_000 + request, duration_ns);
            }
        }
        let ordinary = latencies.ordinary()[0];
        assert!((900_000..1_300_000).contains(&ordinary.median_ns), "{ordinary:?}");
        assert!((1_900_000..3_000_000).contains(&ordinary.slow_ns), "{ordinary:?}");
    }
}
