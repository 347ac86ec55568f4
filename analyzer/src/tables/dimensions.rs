//! What is known about processes, clocks and losses: the small tables, whole, in memory.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use retrospan_formats::error::CaptureError;
use retrospan_formats::manifest::Manifest;
use retrospan_formats::reader::Capture;
use retrospan_formats::tables::{ClockRow, ContainerRow, LossRow, ProcessRow};

use crate::hashing::IntMap;
use crate::tables::names::{Given, Namer, NamesError, Unnamed, is_interpreter};

/// A process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Thread group id.
    pub pid: u32,
    /// What it is called wherever it is shown.
    pub name: Arc<str>,
    /// What it is called as a service.
    pub service: Arc<str>,
}

/// Boot time to wall time, the same for the whole capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Wall time minus boot time, ns.
    pub offset_ns: i64,
    /// Where the wall clock was set during the recording.
    pub steps: Vec<ClockStep>,
}

/// The wall clock jumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    /// Boot time of the sample that showed it, ns.
    pub boot_ns: i64,
    /// By how much, ns; negative backwards.
    pub step_ns: i64,
}

impl Clock {
    /// Wall time of a boot time, ns since 1970 UTC.
    pub fn wall_ns(&self, boot_ns: i64) -> i64 {
        boot_ns.saturating_add(self.offset_ns)
    }
}

/// The small tables.
#[derive(Clone, Debug, Default)]
pub struct Dimensions {
    processes: IntMap<i64, Process>,
    /// The conversion of times.
    pub clock: Clock,
    losses: Losses,
    /// 0: all were.
    sampled: i64,
}

/// Why dimensions cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DimensionsError {
    /// The capture.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// Names that somebody gave.
    #[error(transparent)]
    Names(#[from] NamesError),
}

/// Reads `processes`, `clock` and `loss`.
pub fn read(capture: &Capture) -> Result<Dimensions, DimensionsError> {
    Ok(Dimensions {
        processes: processes(capture, Given::of(capture)?)?,
        clock: clock(capture)?,
        losses: losses(capture)?,
        sampled: sampled_one_in(&capture.manifest) as i64,
    })
}

/// Of so many connections one was recorded (`--sample`); 1: each.
pub fn sampled_one_in(manifest: &Manifest) -> u64 {
    manifest.options.get("sample").and_then(serde_json::Value::as_u64).unwrap_or(1).clamp(1, MOST_SAMPLED)
}

/// Reads `clock`.
pub fn clock(capture: &Capture) -> Result<Clock, CaptureError> {
    let mut samples = Vec::new();
    for rows in capture.rows::<ClockRow>() {
        samples.extend(rows?.iter().map(|row| (row.boot_ns, row.wall_ns)));
    }
    Ok(clock_of(&samples, started(capture)))
}

/// The conversion alone, which the first sample decides: one file is read, however many there are.
pub fn clock_offset_ns(capture: &Capture) -> Result<i64, CaptureError> {
    for rows in capture.rows::<ClockRow>() {
        let first: Vec<(i64, i64)> = rows?.iter().take(1).map(|row| (row.boot_ns, row.wall_ns)).collect();
        if !first.is_empty() {
            return Ok(clock_of(&first, started(capture)).offset_ns);
        }
    }
    Ok(clock_of(&[], started(capture)).offset_ns)
}

/// Boot and wall time of the begin, by the manifest.
fn started(capture: &Capture) -> (i64, i64) {
    (capture.manifest.started_boot_ns, capture.manifest.started_wall_ns)
}

/// Reads `loss`.
pub fn losses(capture: &Capture) -> Result<Losses, CaptureError> {
    let mut losses = Vec::new();
    for rows in capture.rows::<LossRow>() {
        losses.extend(rows?.iter().map(|row| (row.from_boot_ns, row.to_boot_ns)));
    }
    Ok(Losses(merge_overlapping(losses)))
}

/// Intervals in which events were lost, boot time ns, in order and apart.
#[derive(Clone, Debug, Default)]
pub struct Losses(Vec<(i64, i64)>);

impl Losses {
    /// Whether events of this interval (boot time ns) may have been lost.
    pub fn had_loss(&self, from_ns: i64, to_ns: i64) -> bool {
        let first = self.0.partition_point(|&(_, to)| to < from_ns);
        self.0.get(first).is_some_and(|&(from, _)| from <= to_ns)
    }
}

/// Processes by id, read when one is first asked for: most statements ask for none.
#[derive(Debug)]
pub struct LazyProcesses {
    capture: Capture,
    given: Given,
    read: OnceLock<IntMap<i64, Process>>,
}

impl LazyProcesses {
    /// Of a capture, with names that somebody gave.
    pub fn new(capture: Capture, given: Given) -> LazyProcesses {
        LazyProcesses { capture, given, read: OnceLock::new() }
    }

    /// All of them.
    pub fn get(&self) -> Result<&IntMap<i64, Process>, DimensionsError> {
        if let Some(processes) = self.read.get() {
            return Ok(processes);
        }
        let read = processes(&self.capture, self.given.clone())?;
        Ok(self.read.get_or_init(|| read))
    }
}

/// Processes by id: the last row of each holds.
fn processes(capture: &Capture, given: Given) -> Result<IntMap<i64, Process>, DimensionsError> {
    let pods = pods(capture)?;
    let mut namer = Namer::new(given);
    let mut unnamed = IntMap::default();
    for rows in capture.rows::<ProcessRow>() {
        for row in rows?.iter() {
            let pod = row.cgroup.and_then(|cgroup| pods.get(cgroup));
            let process = namer.add(&row, pod.map(String::as_str));
            let service: Arc<str> = process.given().unwrap_or_else(|| service(&row)).into();
            unnamed.insert(row.process_id, (row.pid as u32, service, process));
        }
    }
    let named = |(id, (pid, service, process)): (i64, (u32, Arc<str>, Unnamed))| {
        (id, Process { pid, service, name: namer.name(&process).into() })
    };
    Ok(unnamed.into_iter().map(named).collect())
}

/// What pods and containers are called, by the cgroup.
fn pods(capture: &Capture) -> Result<HashMap<String, String>, CaptureError> {
    let mut pods = HashMap::new();
    for rows in capture.rows::<ContainerRow>() {
        for row in rows?.iter() {
            let name = match (row.pod, row.container) {
                (Some(pod), Some(container)) => format!("{pod}/{container}"),
                (Some(pod), None) => pod.to_owned(),
                _ => continue,
            };
            pods.insert(row.cgroup.to_owned(), name);
        }
    }
    Ok(pods)
}

/// No recorder takes fewer; a damaged number must not make sums overflow.
const MOST_SAMPLED: u64 = 1_000_000;

impl Dimensions {
    /// Whether only some connections were recorded.
    pub fn is_sampled(&self) -> bool {
        self.sampled > 1
    }

    /// Of so many connections one was recorded; 1: each.
    pub fn sampled_one_in(&self) -> i64 {
        self.sampled.max(1)
    }

    /// The process of that `process_id`, unless its row was lost.
    pub fn process(&self, process_id: i64) -> Option<&Process> {
        self.processes.get(&process_id)
    }

    /// As [`Losses::had_loss`].
    pub fn had_loss(&self, from_ns: i64, to_ns: i64) -> bool {
        self.losses.had_loss(from_ns, to_ns)
    }
}

/// Sorts intervals and joins those that touch.
fn merge_overlapping(mut intervals: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    intervals.sort_unstable();
    let mut apart: Vec<(i64, i64)> = Vec::new();
    for (from, to) in intervals {
        match apart.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => apart.push((from, to)),
        }
    }
    apart
}

/// The name of a service: what the recorder found that names it, else the program.
fn service<'a>(row: &ProcessRow<'a>) -> &'a str {
    row.service.unwrap_or_else(|| program(row))
}

/// The program, or what an interpreter runs where that is known.
fn program<'a>(row: &ProcessRow<'a>) -> &'a str {
    let program = row.exe.map(|path| path.strip_suffix(" (deleted)").unwrap_or(path)).map(base_name);
    let Some(program) = program.filter(|name| !name.is_empty()) else { return row.comm };
    if !is_interpreter(program) {
        return program;
    }
    let in_arguments = || row.argv.unwrap_or_default().split(' ').skip(1).find(|word| is_script(word));
    match row.script.or_else(|| in_arguments().map(base_name)) {
        Some(script) if !script.is_empty() => script,
        // One that gave itself a name, such as gunicorn, is meant by it.
        _ if !row.comm.is_empty() && !is_interpreter(row.comm) => row.comm,
        _ => program,
    }
}

fn is_script(word: &str) -> bool {
    [".py", ".js", ".mjs", ".cjs", ".jar", ".rb", ".pl", ".php", ".sh"].iter().any(|end| word.ends_with(end))
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Smaller differences between two samples are drift, not a step.
const STEP_NS: i64 = 20_000_000;

fn clock_of(samples: &[(i64, i64)], start: (i64, i64)) -> Clock {
    let offset = |&(boot, wall): &(i64, i64)| wall.saturating_sub(boot);
    let mut clock = Clock { offset_ns: offset(samples.first().unwrap_or(&start)), steps: Vec::new() };
    for pair in samples.windows(2) {
        let step_ns = offset(&pair[1]).saturating_sub(offset(&pair[0]));
        if step_ns.saturating_abs() > STEP_NS {
            clock.steps.push(ClockStep { boot_ns: pair[1].0, step_ns });
        }
    }
    clock
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(exe: Option<&'a str>, comm: &'a str, argv: Option<&'a str>) -> ProcessRow<'a> {
        ProcessRow { exe, comm, argv, ..ProcessRow::default() }
    }

    #[test]
    fn services_are_named_after_what_runs() {
        assert_eq!(service(&row(Some("/usr/sbin/nginx"), "nginx", None)), "nginx");
        assert_eq!(service(&row(Some("/usr/bin/python3.11"), "python3.11", Some("python3"))), "python3.11");
        assert_eq!(
            service(&row(Some("/usr/bin/python3.11"), "python3", Some("python3 -u /srv/app.py 1"))),
            "app.py"
        );
        assert_eq!(service(&row(Some("/usr/bin/python3.11"), "gunicorn", None)), "gunicorn");
        let known =
            ProcessRow { script: Some("shop.jar"), ..row(Some("/usr/lib/jvm/bin/java"), "java", None) };
        assert_eq!(service(&known), "shop.jar");
        let told = ProcessRow { service: Some("billing"), ..known };
        assert_eq!((service(&told), program(&told)), ("billing", "shop.jar"));
        assert_eq!(service(&row(None, "kworker", None)), "kworker");
        assert_eq!(service(&row(Some("/opt/envoy (deleted)"), "envoy", None)), "envoy");
    }

    #[test]
    fn losses_are_found_by_overlap() {
        let losses = merge_overlapping(vec![(50, 60), (10, 20), (15, 30)]);
        let dimensions = Dimensions { losses: Losses(losses), ..Dimensions::default() };
        let found = [(0, 9), (0, 10), (30, 40), (31, 49), (55, 55), (61, 99)];
        assert_eq!(
            found.map(|(from, to)| dimensions.had_loss(from, to)),
            [false, true, true, false, true, false]
        );
    }

    #[test]
    fn a_step_of_the_wall_clock_is_told_from_drift() {
        let second = 1_000_000_000;
        let samples = [(0, 100), (second, second + 1_000_100), (2 * second, 5 * second)];
        let clock = clock_of(&samples, (0, 0));
        assert_eq!(clock.wall_ns(5), 105);
        assert_eq!(clock.steps.len(), 1);
        assert_eq!(clock.steps[0].boot_ns, 2 * second);
    }
}
