//! Finds spikes that come back: episodes in a series, a comb through their onsets, and the probability of a false alarm.
//!
//! Plain numbers in, plain numbers out; the same input and seed give the same answer. docs/method.md has the
//! reasoning, docs/benchmarks.md the power and the false alarms measured with `cargo bench --bench spikes`.
//! Times are nanoseconds from the recording's begin.

pub mod comb;
pub mod episodes;
pub mod null_models;
pub mod onset;
pub mod power;
pub mod prewhiten;
pub mod refine;
pub mod scales;

/// One stream and metric in equal bins from the recording's begin.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Length of a bin.
    pub bin_ns: i64,
    /// Requests of each bin.
    pub total: Vec<u32>,
    /// Bad ones among them.
    pub bad: Vec<u32>,
    /// What requests took beyond the ordinary, summed; may be empty.
    pub excess_ns: Vec<f64>,
    /// Bins in which events were lost; may be empty.
    pub lossy: Vec<bool>,
}

/// A stretch with more bad requests than ordinary.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// Begin.
    pub onset_ns: i64,
    /// Middle of the worst bin.
    pub peak_ns: i64,
    /// End.
    pub end_ns: i64,
    /// Requests in it.
    pub requests: u64,
    /// Bad ones beyond the ordinary share (for `find_missing`: completions that did not come).
    pub affected: f64,
    /// What requests took beyond the ordinary, summed.
    pub excess_ns: f64,
    /// Events were lost in it or beside it.
    pub lossy: bool,
}

/// Which part of a period has passed, from 0 to 1, at `time_ns` since the last multiple of it from `origin_ns`.
pub fn phase(time_ns: i64, period_s: f64, origin_ns: i64) -> f64 {
    (time_ns.wrapping_sub(origin_ns) as f64 / (period_s * 1e9)).rem_euclid(1.0)
}
