//! Whether a run is as it was meant to be, by what the client measured, and whether `spikes` says what was injected.
//!
//! In: a [`Run`]. Out: [`Contrast`], which knows nothing of the code under test, and [`Verdict`].

use serde_json::{Value, json};

use super::causes::{Cause, Injected, Run};
use super::steady::Answer;

/// Slower than this is slow: far above what the chain takes by itself, far below what the causes cost.
pub const SLOW_NS: i64 = 80_000_000;
/// Requests may still be slow for so long after an injection's end: backlogs and retransmissions.
const AFTERMATH_NS: i64 = 1_000_000_000;

/// Where the slow requests are.
#[derive(Clone, Debug)]
pub struct Contrast {
    /// Requests in all.
    pub requests: usize,
    /// Slow ones, and those without an answer, of each injection.
    pub inside: Vec<usize>,
    /// Those that no injection explains.
    pub outside: usize,
    /// Median and 99th percentile of what requests outside took, ns.
    pub ordinary_ns: [i64; 2],
}

impl Contrast {
    /// Sorts a run's answers.
    pub fn of(run: &Run) -> Self {
        let hit = |answer: &Answer, injected: &Injected| {
            answer.due_ns <= injected.end_ns + AFTERMATH_NS && answer.done_ns >= injected.onset_ns
        };
        let slow = |answer: &&Answer| answer.took_ns() > SLOW_NS || answer.status == 0;
        let mut ordinary: Vec<_> = run
            .answers
            .iter()
            .filter(|answer| !run.injected.iter().any(|injected| hit(answer, injected)))
            .map(Answer::took_ns)
            .collect();
        ordinary.sort_unstable();
        let at = |share: usize| ordinary.get(ordinary.len() * share / 100).copied().unwrap_or_default();
        let inside =
            |injected: &Injected| run.answers.iter().filter(slow).filter(|a| hit(a, injected)).count();
        let unexplained = |answer: &&Answer| !run.injected.iter().any(|injected| hit(answer, injected));
        Self {
            requests: run.answers.len(),
            inside: run.injected.iter().map(inside).collect(),
            outside: run.answers.iter().filter(slow).filter(unexplained).count(),
            ordinary_ns: [at(50), at(99)],
        }
    }

    /// Whether the injections are what is slow: each of them shows, and nearly nothing else does.
    pub fn is_clear(&self) -> bool {
        self.inside.iter().all(|&slow| slow >= 10) && self.outside * 200 <= self.requests
    }
}

/// The truth about a run, to be kept beside its capture.
pub fn truth(run: &Run) -> Value {
    let wall = |boot_ns: i64| boot_ns + run.wall_minus_boot_ns;
    let injected = run.injected.iter().map(|i| {
        json!({"onset_boot_ns": i.onset_ns, "end_boot_ns": i.end_ns,
            "onset_wall_ns": wall(i.onset_ns), "end_wall_ns": wall(i.end_ns)})
    });
    let contrast = Contrast::of(run);
    json!({
        "cause": run.cause.name(), "period_s": run.rhythm.period.as_secs_f64(),
        "length_s": run.rhythm.length.as_secs_f64(), "injected": injected.collect::<Vec<_>>(),
        "requests": contrast.requests, "slow_inside": contrast.inside, "slow_outside": contrast.outside,
        "ordinary_median_ms": contrast.ordinary_ns[0] as f64 / 1e6,
        "ordinary_p99_ms": contrast.ordinary_ns[1] as f64 / 1e6,
    })
}

/// What a finding has to say.
pub struct Expected {
    /// Where the time goes.
    pub hop: &'static str,
    /// Words of which the cause has one; none where nothing coincides.
    pub words: &'static [&'static str],
}

/// What is expected of a run with this cause.
pub fn expected(cause: Cause) -> Option<Expected> {
    let (hop, words): (_, &[_]) = match cause {
        Cause::Nothing => return None,
        Cause::Stop | Cause::Quit => ("inner-envoy -> shop:8080", &["stopped"]),
        Cause::Hog => ("inner-envoy -> shop:8080", &["log-compressor"]),
        Cause::Loss => ("inner-envoy -> shop:8080", &["retransmi"]),
        Cause::Delay => ("inner-envoy -> shop:8080", &["network", "round trip", "RTT"]),
        Cause::Storm => ("inner-envoy -> shop:8080", &["backup-sync"]),
        Cause::Throttle => ("edge-envoy -> inner-envoy:8001", &["throttl"]),
        Cause::Sleep => ("inner-envoy -> shop:8080", &[]),
    };
    Some(Expected { hop, words })
}

/// What `spikes` found, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Period, hop, cause, false-alarm probability and hits of the first finding; empty where there is none.
    pub found: String,
    /// One sentence each.
    pub wrong: Vec<String>,
}

/// Judges the output of `spikes --format json` about a run.
pub fn judge(run: &Run, findings: &Value) -> Verdict {
    let spikes = findings["spikes"].as_array().map_or(&[][..], Vec::as_slice);
    let found = spikes.first().map(summary).unwrap_or_default();
    let mut wrong = Vec::new();
    match (expected(run.cause), spikes.first()) {
        (None, _) => {}
        (Some(_), None) => wrong.push("found nothing".to_owned()),
        (Some(expected), Some(spike)) => wrong.extend(mistakes(run, &expected, spike)),
    }
    let others = if run.cause == Cause::Nothing { spikes } else { spikes.get(1..).unwrap_or_default() };
    wrong.extend(others.iter().map(|spike| format!("a finding too many: {}", summary(spike))));
    Verdict { found, wrong }
}

fn summary(spike: &Value) -> String {
    let number = |key: &str| spike[key].as_f64().unwrap_or(f64::NAN);
    format!(
        "{:.2} s | {} | {} | fap {:.1e} | {}/{} | {} {}",
        number("period_s"),
        spike["hop"].as_str().unwrap_or_default(),
        spike["cause"].as_str().unwrap_or_default(),
        number("fap"),
        spike["hits"],
        spike["cycles"],
        spike["metric"].as_str().unwrap_or_default(),
        spike["stream"].as_str().unwrap_or_default(),
    )
}

fn mistakes(run: &Run, expected: &Expected, spike: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let number = |key: &str| spike[key].as_f64().unwrap_or(f64::NAN);
    let text = |key: &str| spike[key].as_str().unwrap_or_default().to_owned();
    let period_s = run.rhythm.period.as_secs_f64();
    // Written so that what is not a number is wrong.
    if !((number("period_s") - period_s).abs() <= 0.01 * period_s) {
        wrong.push(format!("period {} instead of {period_s} s", spike["period_s"]));
    }
    let ci = &spike["period_ci_s"];
    if !(ci[0].as_f64() <= Some(period_s) && Some(period_s) <= ci[1].as_f64()) {
        wrong.push(format!("the interval {ci} does not hold the period"));
    }
    if !(number("fap") <= 0.01) {
        wrong.push(format!("false-alarm probability {}", spike["fap"]));
    }
    if !(number("hits") + 1.0 >= run.injected.len() as f64) {
        wrong.push(format!("{} hits of {} injections", spike["hits"], run.injected.len()));
    }
    if text("hop") != expected.hop {
        wrong.push(format!("hop {} instead of {}", text("hop"), expected.hop));
    }
    let cause = text("cause");
    let causes = spike["causes"].as_array().map_or(0, Vec::len);
    if expected.words.is_empty() {
        if causes > 0 {
            wrong.push(format!("nothing coincides, yet: {cause}"));
        }
    } else if !expected.words.iter().any(|word| cause.contains(word)) {
        wrong.push(format!("cause `{cause}` has none of {:?}", expected.words));
    }
    wrong
}
