//! What `spikes` has to say about a capture, as plain data: `commands/spikes.rs` prints it, `report` draws it.
//!
//! Times named `_ns` are nanoseconds since 1970 UTC unless said otherwise; `_s` are seconds.

use serde::Serialize;

/// Everything that was looked for, and found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// Periodic spikes, best first; empty where there is none.
    pub spikes: Vec<Spike>,
    /// What was searched.
    pub searched: Searched,
    /// Series with episodes that are not shown to be periodic, most affected requests first.
    pub unexplained: Vec<Unexplained>,
    /// Sentences for the reader: too short a recording, no periodic spike, losses.
    pub notes: Vec<String>,
}

/// The extent of the search.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Searched {
    /// Spans of the capture.
    pub spans: u64,
    /// Streams: values of what spans were grouped by.
    pub streams: usize,
    /// Series with enough episodes to be searched for a period: the multiplicity that was paid for.
    pub tests: usize,
    /// Shortest period searched, s.
    pub min_period_s: f64,
    /// Longest period searched, s.
    pub max_period_s: f64,
    /// Accepted probability of one or more false findings in a capture without any.
    pub fap: f64,
    /// Begin of the recording.
    pub begin_ns: i64,
    /// End of the recording.
    pub end_ns: i64,
    /// The recording host's offset from UTC, s.
    pub utc_offset_s: i32,
    /// Of so many connections one was recorded; numbers of requests, and sums over them, are multiplied by it. 1: each was.
    pub sampled_one_in: u64,
}

impl Searched {
    /// Whether no period of the wanted length comes back often enough in the recording.
    pub fn is_too_short(&self) -> bool {
        self.max_period_s < self.min_period_s
    }
}

/// Episodes without a period.
#[derive(Clone, Debug, Serialize)]
pub struct Unexplained {
    /// The stream.
    pub stream: String,
    /// The metric.
    pub metric: Metric,
    /// How many.
    pub episodes: usize,
    /// When each began.
    pub onset_ns: Vec<i64>,
    /// Requests affected in all of them.
    pub affected: f64,
    /// The one that affected the most.
    pub worst: WorstEpisode,
    /// A statement that shows its requests.
    pub sql: String,
    /// False-alarm probability of the best period, where one was looked for.
    pub fap: Option<f64>,
    /// What it would take to tell, in words; None where there is nothing to tell.
    pub needed: Option<String>,
}

/// The worst of some episodes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct WorstEpisode {
    /// Begin.
    pub onset_ns: i64,
    /// End.
    pub end_ns: i64,
    /// Requests in it.
    pub requests: u64,
    /// Bad ones beyond the ordinary share.
    pub affected: f64,
    /// What they took beyond the ordinary, s.
    pub excess_s: f64,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Metric {
    /// Slow requests.
    #[default]
    Latency,
    /// Requests with outcome `error`, `server_closed` or `reset`.
    Errors,
    /// Requests whose client gave up.
    ClientClosed,
    /// Requests that did not complete when others would have: nothing came for a while.
    Missing,
}

/// One periodic spike.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Spike {
    /// The finding in a sentence for people: how often, how many, why.
    pub summary: String,
    /// How sure that is, in a sentence.
    pub odds: String,
    /// The finding in one sentence with its numbers.
    pub sentence: String,
    /// Period, s.
    pub period_s: f64,
    /// 95 % interval of the period, s.
    pub period_ci_s: [f64; 2],
    /// False-alarm probability, multiplicity paid for.
    pub fap: f64,
    /// `fap` is below what the Monte Carlo can show and comes from a fitted tail.
    pub fap_extrapolated: bool,
    /// The null that gave the largest probability: `uniform`, `load`, `clusters` or `renewal`.
    pub null: String,
    /// Log-likelihood ratio of the comb.
    pub llr: f64,
    /// Teeth of the comb within the recording.
    pub cycles: usize,
    /// Teeth with an episode.
    pub hits: usize,
    /// The metric it was found in.
    pub metric: Metric,
    /// The stream it was found in.
    pub stream: String,
    /// What that stream is a value of: `service` `route` `peer` `hop` `connection`.
    pub by: String,
    /// A condition over the columns of `spans` that holds for the stream's.
    pub condition: String,
    /// The two processes and the port where the time goes, as `inner-envoy -> nginx:8080`.
    pub hop: String,
    /// Pids of the processes that answer there.
    pub pids: Vec<i64>,
    /// The best supported cause, in words; says so where nothing coincides.
    pub cause: String,
    /// A statement that shows the rows behind `cause` (behind the spike itself where nothing coincides).
    pub sql: String,
    /// A statement that shows the requests of the stream that began in the spikes.
    pub requests_sql: String,
    /// Standard deviation of the onsets around the comb, s.
    pub jitter_s: f64,
    /// The first tooth within the recording.
    pub first_tooth_ns: i64,
    /// `locked` to a clock, `free-running`, or `undecided` (fewer than ten cycles tell little).
    pub clock: String,
    /// Log-likelihood ratio of locked against free-running: positive favours locked.
    pub clock_evidence: f64,
    /// The nearest wall-clock boundary (every hour, 30, 15, 10, 5, 1 min; or within the minute), where the phase is near one.
    pub boundary: Option<Boundary>,
    /// Requests affected in all hit cycles.
    pub affected_requests: f64,
    /// Requests affected in a cycle.
    pub affected_per_cycle: Interval,
    /// Excess seconds in a cycle.
    pub excess_s_per_cycle: Interval,
    /// All bad requests of the stream, within spikes or not; of the metric `missing` all that did not come.
    pub bad_requests: u64,
    /// Share of all bad requests of the stream that fall into the spikes; of the metric `missing` share of all that did not come.
    pub share_of_bad: f64,
    /// Every tooth.
    pub cycle_table: Vec<Cycle>,
    /// Where the excess is, largest first; shares add up to 1.
    pub hops: Vec<HopShare>,
    /// Values that carry the excess, largest first.
    pub dimensions: Vec<DimensionShare>,
    /// What coincides, strongest first; empty where nothing does.
    pub causes: Vec<Cause>,
    /// Other streams and metrics in which the same comb is seen.
    pub also: Vec<Also>,
    /// Trace ids of ordinary requests, for comparison.
    pub typical_traces: Vec<String>,
    /// Trace ids of affected requests, slowest first.
    pub slow_traces: Vec<String>,
}

/// A mean with its 95 % interval.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Interval {
    /// Mean over hit cycles.
    pub mean: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// A wall-clock boundary near the phase.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Boundary {
    /// The boundary's own period, s.
    pub every_s: f64,
    /// From the boundary to the tooth, s.
    pub offset_s: f64,
    /// Chance of being as near to it.
    pub chance: f64,
}

/// One tooth of the comb.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cycle {
    /// Counts from 1; a tooth without traffic around it has a number too.
    pub number: usize,
    /// Where the comb expects it.
    pub expected_ns: i64,
    /// Where the episode began; None for a miss.
    pub onset_ns: Option<i64>,
    /// Where it ended.
    pub end_ns: Option<i64>,
    /// Requests of the stream in the episode.
    pub requests: u64,
    /// Requests affected: more bad ones than ordinary.
    pub affected: f64,
    /// Of the requests: outcome `error`, `server_closed` or `reset`.
    pub errors: u64,
    /// Of the requests: the client gave up.
    pub client_closed: u64,
    /// Seconds beyond the ordinary.
    pub excess_s: f64,
    /// The longest request, s.
    pub worst_s: f64,
    /// Events were lost around it.
    pub lossy: bool,
}

/// Part of the excess.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HopShare {
    /// The two processes and the port.
    pub hop: String,
    /// `server` (the answering process's own time), `queue` (requests had arrived and lay unread), `network` (on the wire; where
    /// arrivals are not known also unread) or `connect` (waiting for the connection).
    pub part: String,
    /// The process whose own time it is, or whom the requesting process waits for.
    pub process: String,
    /// Excess, seconds over all cycles.
    pub excess_s: f64,
    /// Failed requests of which it was the first to fail, where failures took no longer than the ordinary; else 0.
    pub failures: u64,
    /// Share of the whole excess; of all failures where those are counted.
    pub share: f64,
    /// Cycles in which it is positive, of `hits`.
    pub positive_cycles: usize,
}

impl HopShare {
    /// Whether the delay is between the two processes, so that either of them or what lies between may be late.
    pub fn is_on_the_way(&self) -> bool {
        !["server", "queue"].contains(&self.part.as_str())
    }
}

/// A value of a dimension that carries the excess.
#[derive(Clone, Debug, Serialize)]
pub struct DimensionShare {
    /// `peer` `process` `route` `connection` `cpu` ...
    pub dimension: String,
    /// The value.
    pub value: String,
    /// Share of the affected requests that have it.
    pub share: f64,
    /// Share of the ordinary requests that have it.
    pub share_of_ordinary: f64,
    /// Cycles in which its share is above the ordinary, of `hits`.
    pub positive_cycles: usize,
}

/// One thing that coincides with the spikes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cause {
    /// `stopped` `exec` `run_queue` `off_cpu` `throttled` `retransmit` `round_trip` `syn_retransmit` `connect_failed`
    /// `listen_queue` `listen_drop` `reset` `reconnect` `dns` `cpu`.
    pub kind: String,
    /// The claim in one sentence with its numbers.
    pub claim: String,
    /// What it does, without numbers of cycles: `shop (pid 812) is stopped (SIGSTOP) for 1.97 s`.
    pub reason: String,
    /// It is how the time is lost; else it merely comes at the same time.
    pub explains: bool,
    /// Pids of the processes it is about, where it is about processes.
    pub pids: Vec<i64>,
    /// Process, program or hop it is about.
    pub subject: String,
    /// Hit cycles in which it was seen.
    pub coincidences: usize,
    /// Cycles with an episode.
    pub hits: usize,
    /// Times it was seen outside of any episode.
    pub elsewhere: usize,
    /// Cycles without an episode in which it was not seen either, of `misses`.
    pub absent_in_misses: usize,
    /// Cycles without an episode.
    pub misses: usize,
    /// Chance of the alignment, the number of candidates paid for.
    pub chance: f64,
    /// Median time from it to the onset, s; positive where it comes first.
    pub lead_s: f64,
    /// Spread of that time, s.
    pub lead_sd_s: f64,
    /// Rank correlation of its size with the excess over cycles, where both vary.
    pub dose: Option<f64>,
    /// A statement that shows the rows: those in phase with the spike.
    pub sql: String,
    /// How many rows it shows.
    pub rows: usize,
}

/// The same comb elsewhere.
#[derive(Clone, Debug, Serialize)]
pub struct Also {
    /// The stream.
    pub stream: String,
    /// What it is a value of.
    pub by: String,
    /// The metric.
    pub metric: Metric,
    /// Episodes on the comb.
    pub hits: usize,
}
