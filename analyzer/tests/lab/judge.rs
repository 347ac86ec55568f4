//! Whether a run is as it was meant to be, by what the client measured, and whether `spikes` says what was injected.
//!
//! In: a [`Run`]. Out: [`Contrast`], which knows nothing of the code under test, and [`Verdict`].
//! [`given_up`] compares whom our spans, the edge's log and the client say to have given up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use retrospan_analyzer::findings::search::Options;
use serde_json::{Value, json};

use super::capture::{Capture, Span};
use super::causes::{Cause, Injected, Rhythm, Run, SHORT};
use super::envoy::Carried;
use super::pictures::wrong_pictures;
use super::steady::{Answer, PORTS};

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
    /// Sorts a client's answers by what was injected.
    pub fn of(injected: &[Injected], answers: &[Answer]) -> Self {
        let hit = |answer: &Answer, injected: &Injected| {
            answer.due_ns <= injected.end_ns + AFTERMATH_NS && answer.done_ns >= injected.onset_ns
        };
        let slow = |answer: &&Answer| answer.took_ns() > SLOW_NS || answer.status == 0;
        let outside: Vec<_> =
            answers.iter().filter(|answer| !injected.iter().any(|one| hit(answer, one))).collect();
        let mut ordinary: Vec<_> = outside.iter().map(|answer| answer.took_ns()).collect();
        ordinary.sort_unstable();
        let at = |share: usize| ordinary.get(ordinary.len() * share / 100).copied().unwrap_or_default();
        let inside = |one: &Injected| answers.iter().filter(slow).filter(|answer| hit(answer, one)).count();
        Self {
            requests: answers.len(),
            inside: injected.iter().map(inside).collect(),
            outside: outside.iter().copied().filter(slow).count(),
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
    let contrast = Contrast::of(&run.injected, &run.answers);
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
    /// Kinds of which the first cause is one; none where nothing coincides.
    pub kinds: &'static [&'static str],
    /// Words of which the cause has one.
    pub words: &'static [&'static str],
}

/// What is expected of a run with this cause.
pub fn expected(cause: Cause) -> Option<Expected> {
    let (kinds, words): (&[_], &[_]) = match cause {
        Cause::Nothing => return None,
        Cause::Stop | Cause::Quit => (&["stopped"], &["stopped"]),
        Cause::Hog => (&["run_queue", "exec"], &["log-compressor"]),
        Cause::Loss => (&["retransmit"], &["retransmi"]),
        Cause::Delay => (&["round_trip"], &["round trip"]),
        Cause::Storm => (&["off_cpu", "exec"], &["backup-sync"]),
        Cause::Throttle => (&["throttled"], &["throttl"]),
        Cause::Sleep => (&[], &[]),
    };
    let throttled = cause == Cause::Throttle;
    let hop = if throttled { "edge-envoy -> inner-envoy:8001" } else { "inner-envoy -> shop:8080" };
    Some(Expected { hop, kinds, words })
}

/// What `spikes` found, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Period, hop, cause, false-alarm probability and hits of the first finding; empty where there is none.
    pub found: String,
    /// One sentence each.
    pub wrong: Vec<String>,
}

impl Verdict {
    /// What `spikes` says about a run.
    pub fn of(run: &Run) -> Self {
        let mut arguments = vec!["--format", "json"];
        let mut min_period_ns = Options::default().min_period_ns;
        if run.rhythm.period <= SHORT.period {
            arguments.extend(["--min-period", "2s"]);
            min_period_ns = 2_000_000_000;
        }
        let text = run.capture.retrospan("spikes", &arguments);
        let mut findings: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}"));
        leave_out(&mut findings, memory_watch_s());
        let mut verdict = judge(run.cause, run.rhythm, run.injected.len(), &findings);
        verdict.wrong.extend(unproven(&run.capture, &findings));
        verdict.wrong.extend(wrong_pictures(run.capture.dir(), min_period_ns).0);
        verdict
    }
}

/// How often the kernel itself looks through all memory (DAMON), s; None where it does not. Between two looks that pause
/// passes, and a look at much memory stalls whatever runs: a true finding that has nothing to do with what was done here.
fn memory_watch_s() -> Option<f64> {
    let watch = Path::new("/sys/kernel/mm/damon/admin/kdamonds/0");
    let read = |file: &str| std::fs::read_to_string(watch.join(file)).ok();
    let is_on = read("state")?.trim() == "on";
    let pause_us = read("contexts/0/monitoring_attrs/intervals/aggr_us")?.trim().parse::<f64>().ok()?;
    is_on.then_some(pause_us * 1e-6)
}

/// Takes off spikes that come with the kernel's looks at memory, and says so.
pub fn leave_out(findings: &mut Value, watch_s: Option<f64>) {
    let (Some(pause_s), Some(spikes)) = (watch_s, findings["spikes"].as_array_mut()) else { return };
    spikes.retain(|spike| {
        let share = spike["period_s"].as_f64().unwrap_or(f64::NAN) / pause_s;
        let is_watch = (1.02..1.25).contains(&share);
        if is_watch {
            eprintln!("left out, for the kernel looks at memory every {pause_s} s: {}", summary(spike));
        }
        !is_watch
    });
}

/// Statements that are to show what a finding says, and show nothing.
fn unproven(capture: &Capture, findings: &Value) -> Vec<String> {
    let spikes = findings["spikes"].as_array().into_iter().flatten();
    let claims = spikes.flat_map(|spike| {
        let causes = spike["causes"].as_array().into_iter().flatten();
        causes.chain([spike]).map(|claim| claim["sql"].as_str().unwrap_or_default())
    });
    let fails = |sql: &&str| {
        let output = capture.try_retrospan("sql", &[*sql, "--format", "json"]);
        !output.status.success() || output.stdout.is_empty()
    };
    claims.filter(fails).map(|sql| format!("no rows from: {sql}")).collect()
}

/// Judges the output of `spikes --format json` about a run with so many injections.
pub fn judge(cause: Cause, rhythm: Rhythm, injections: usize, findings: &Value) -> Verdict {
    let spikes = findings["spikes"].as_array().map_or(&[][..], Vec::as_slice);
    let found = spikes.first().map(summary).unwrap_or_default();
    let mut wrong = Vec::new();
    match (expected(cause), spikes.first()) {
        (None, _) => {}
        (Some(_), None) => wrong.push("found nothing".to_owned()),
        (Some(expected), Some(spike)) => wrong.extend(mistakes(rhythm, injections, &expected, spike)),
    }
    let others = if cause == Cause::Nothing { spikes } else { spikes.get(1..).unwrap_or_default() };
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

fn mistakes(rhythm: Rhythm, injections: usize, expected: &Expected, spike: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let number = |key: &str| spike[key].as_f64().unwrap_or(f64::NAN);
    let text = |key: &str| spike[key].as_str().unwrap_or_default().to_owned();
    let period_s = rhythm.period.as_secs_f64();
    // Written so that what is not a number is wrong.
    // A number that is missing is none of these.
    let period_right = (number("period_s") - period_s).abs() <= 0.01 * period_s;
    if !period_right {
        wrong.push(format!("period {} instead of {period_s} s", spike["period_s"]));
    }
    let ci = &spike["period_ci_s"];
    if !(ci[0].as_f64() <= Some(period_s) && Some(period_s) <= ci[1].as_f64()) {
        wrong.push(format!("the interval {ci} does not hold the period"));
    }
    let sure = number("fap") <= 0.01;
    if !sure {
        wrong.push(format!("false-alarm probability {}", spike["fap"]));
    }
    let hit = number("hits") + 1.0 >= injections as f64;
    if !hit {
        wrong.push(format!("{} hits of {injections} injections", spike["hits"]));
    }
    if text("hop") != expected.hop {
        wrong.push(format!("hop {} instead of {}", text("hop"), expected.hop));
    }
    let cause = text("cause");
    let kind = spike["causes"][0]["kind"].as_str().unwrap_or_default();
    if expected.kinds.is_empty() {
        if spike["causes"].as_array().is_some_and(|causes| !causes.is_empty()) {
            wrong.push(format!("nothing coincides, yet: {cause}"));
        }
    } else if !expected.kinds.contains(&kind) {
        // What is said where nothing coincides has words of causes, too.
        wrong.push(format!("the first cause is {kind:?}, none of {:?}: {cause}", expected.kinds));
    } else if !expected.words.iter().any(|word| cause.contains(word)) {
        wrong.push(format!("cause `{cause}` has none of {:?}", expected.words));
    }
    wrong
}

/// The clients that gave up, by their ports: our spans at the edge and the edge's own lines are the same requests, and
/// the client knows of them all. A connection has at most one, its last. The edge writes DC where it saw the client
/// leave before it had an answer; where its answer met the client's FIN on the way, it logs the status that our span
/// has as a late one.
pub fn given_up(run: &Run) -> Vec<String> {
    let spans: Vec<_> = run.capture.spans().into_iter().filter(is_given_up).collect();
    let ours = |kind: &str| sorted(spans.iter().filter(|s| s.kind == kind).map(|s| s.src_port).collect());
    let (clients, servers) = (ours("client"), ours("server"));
    let mut logged = Vec::new();
    let mut last: BTreeMap<u16, &Carried> = BTreeMap::new();
    for row in &run.carried {
        last.insert(row.downstream_port, row);
        if row.code == 0 && row.flags.split(',').any(|flag| flag == "DC") {
            logged.push(row.downstream_port);
        }
    }
    let mut problems = Vec::new();
    if logged.len() < run.injected.len() {
        problems.push(format!("only {} gave up", logged.len()));
    }
    for span in spans.iter().filter(|span| span.kind == "server" && span.late_status.is_some()) {
        if last.get(&span.src_port).map(|row| row.code) == span.late_status {
            logged.push(span.src_port);
        }
    }
    let unanswered = run.answers.iter().filter(|answer| answer.status == 0).map(|answer| answer.port);
    let unanswered: BTreeSet<u16> = unanswered.collect();
    for (name, ports) in [("the edge's lines", sorted(logged)), ("our client spans", clients)] {
        if ports != servers {
            let only = |one: &[u16], other: &[u16]| -> Vec<u16> {
                one.iter().copied().filter(|port| !other.contains(port)).collect()
            };
            let (more, less) = (only(&servers, &ports), only(&ports, &servers));
            problems
                .push(format!("our server spans and {name} differ: only here {more:?}, only there {less:?}"));
        }
    }
    let answered: Vec<_> = servers.iter().filter(|port| !unanswered.contains(port)).collect();
    if !answered.is_empty() {
        problems.push(format!("the client got its answers on {answered:?}"));
    }
    problems
}

fn is_given_up(span: &Span) -> bool {
    span.dst_port == PORTS[0] && span.outcome == "client_closed"
}

fn sorted(mut ports: Vec<u16>) -> Vec<u16> {
    ports.sort_unstable();
    ports
}
