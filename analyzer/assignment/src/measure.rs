//! Hides parents, links, and counts what came out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::link::{Options, link};
use crate::span::{Incoming, Link, Outgoing};

/// A span with its parent.
#[derive(Clone, Debug)]
pub struct Span {
    /// Number of its trace.
    pub trace: usize,
    /// Number of its parent among all spans.
    pub parent: Option<usize>,
    /// Name of the service.
    pub service: String,
    /// Name of the service that called it; empty where nothing did.
    pub caller: String,
    /// Name of the operation.
    pub operation: String,
    /// `client`, `server` or nothing.
    pub kind: String,
    /// ns.
    pub begin_ns: i64,
    /// ns.
    pub end_ns: i64,
}

/// A data set without its parents.
#[derive(Clone, Debug, Default)]
pub struct Hidden {
    /// Number of spans.
    pub spans: usize,
    /// Possible parents.
    pub incoming: Vec<Incoming>,
    /// Calls.
    pub outgoing: Vec<Outgoing>,
    /// By call: its parent.
    pub truth: Vec<Option<u64>>,
    /// By call: its trace.
    pub trace: Vec<usize>,
    /// By call: what kind of link it is.
    pub kind: Vec<Kind>,
    /// Processes whose calls are dated by another clock.
    pub apart: Vec<u32>,
    /// Names of processes.
    pub processes: Vec<String>,
}

/// Kinds of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Within a process that one other calls: what TraceWeaver's evaluation counts.
    Call,
    /// Between the two ends of a connection, on two clocks.
    Hop,
    /// Within a service, or of one that several others call: TraceWeaver's evaluation leaves those out.
    Other,
}

#[derive(Default)]
struct Names(HashMap<String, u32>, Vec<String>);

impl Names {
    fn number(&mut self, name: String) -> u32 {
        let next = self.1.len() as u32;
        *self.0.entry(name.clone()).or_insert_with(|| {
            self.1.push(name);
            next
        })
    }
}

/// Hides the parents. What is left: times, names, and which service calls which (for each span that of its caller).
pub fn hide(spans: &[Span]) -> Hidden {
    let (mut processes, mut operations) = (Names::default(), Names::default());
    let mut hidden = Hidden { spans: spans.len(), ..Hidden::default() };
    let is_hop = |span: &Span, parent: &Span| {
        parent.kind == "client" && span.kind == "server" && parent.service != span.service
    };
    let mut callers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut callees: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for span in spans {
        let Some(parent) = span.parent.map(|at| &spans[at]) else { continue };
        if parent.service != span.service {
            callers.entry(&span.service).or_default().insert(&parent.service);
        }
        if is_hop(span, parent) {
            callees.insert((&parent.service, &parent.operation), &span.service);
        }
    }
    let of = |span: &Span| (span.caller.clone(), span.service.clone(), span.operation.clone());
    let parents: BTreeSet<_> = spans.iter().filter_map(|span| Some(of(&spans[span.parent?]))).collect();
    for (at, span) in spans.iter().enumerate() {
        let parent = span.parent.map(|at| &spans[at]);
        let caller = span.caller.as_str();
        let callee = callees.get(&(span.service.as_str(), span.operation.as_str()));
        let process = match callee.filter(|_| span.kind == "client") {
            Some(callee) => format!("{} > {callee}", span.service),
            None => span.service.clone(),
        };
        let operation = format!("{caller} {} {}", span.service, span.operation);
        // Where the kind is not told: what never has children is a call to something that is not recorded.
        if !span.kind.is_empty() || parents.contains(&of(span)) {
            hidden.incoming.push(Incoming {
                id: at as u64,
                process: processes.number(process),
                operation: operations.number(operation.clone()),
                begin_ns: span.begin_ns,
                end_ns: span.end_ns,
            });
        }
        if caller.is_empty() {
            continue;
        }
        let hop = parent.is_some_and(|parent| is_hop(span, parent));
        let process =
            processes.number(if hop { format!("{caller} > {}", span.service) } else { caller.to_owned() });
        if hop && !hidden.apart.contains(&process) {
            hidden.apart.push(process);
        }
        let several = callers.get(caller).is_some_and(|callers| callers.len() > 1);
        let outgoing = Outgoing {
            id: at as u64,
            process,
            callee: operations.number(operation),
            begin_ns: span.begin_ns,
            end_ns: span.end_ns,
            certain: None,
        };
        hidden.outgoing.push(outgoing);
        hidden.truth.push(span.parent.map(|at| at as u64));
        hidden.trace.push(span.trace);
        let inner = caller == span.service && span.kind.is_empty();
        hidden.kind.push(if hop {
            Kind::Hop
        } else if several || inner {
            Kind::Other
        } else {
            Kind::Call
        });
    }
    hidden.processes = processes.1;
    hidden
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Spans.
    pub spans: usize,
    /// Every call with its best parent: right, wrong (another, or one where there is none).
    pub all: [usize; 2],
    /// Traces, those entirely right, and those right in what TraceWeaver counts.
    pub traces: [usize; 3],
    /// Links that are said: right, wrong, and calls that have a parent but no link.
    pub said: [usize; 3],
    /// By probability: links, sum of their probabilities, right ones.
    pub deciles: [(usize, f64, usize); 10],
    /// CPU seconds of linking: they are alike on a busy machine.
    pub seconds: f64,
    /// By process: calls, wrong ones.
    pub by_process: BTreeMap<String, (usize, usize)>,
}

/// Links and counts.
pub fn measure(hidden: &Hidden, options: &Options) -> Measured {
    let options = Options { apart: hidden.apart.clone(), ..options.clone() };
    let begun = cpu_seconds();
    let links = link(&hidden.incoming, &hidden.outgoing, &options);
    let mut measured = count(hidden, &links);
    measured.seconds = cpu_seconds() - begun;
    measured
}

/// CPU time of this process so far (proc(5), stat: utime and stime, a hundredth of a second each).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// The best parent, even where "none" is likelier.
fn forced(link: &Link) -> Option<u64> {
    link.parent.or_else(|| link.refused.iter().find_map(|refused| refused.parent))
}

fn count(hidden: &Hidden, links: &[Link]) -> Measured {
    let mut measured = Measured { spans: hidden.spans, ..Measured::default() };
    let mut wrong: BTreeMap<usize, [bool; 2]> = hidden.trace.iter().map(|&t| (t, [false; 2])).collect();
    for (at, link) in links.iter().enumerate() {
        let truth = hidden.truth[at];
        let parent = if truth.is_some() { forced(link) } else { link.parent };
        let right = parent == truth;
        measured.all[usize::from(!right)] += 1;
        let name = &hidden.processes[hidden.outgoing[at].process as usize];
        let of_process = measured.by_process.entry(name.clone()).or_default();
        of_process.0 += 1;
        of_process.1 += usize::from(!right);
        if let Some(wrong) = wrong.get_mut(&hidden.trace[at]).filter(|_| !right) {
            wrong[0] = true;
            wrong[1] |= hidden.kind[at] == Kind::Call;
        }
        if link.spoken {
            measured.said[usize::from(link.parent != truth)] += 1;
        } else if truth.is_some() {
            measured.said[2] += 1;
        }
        let decile = &mut measured.deciles[((link.probability * 10.0) as usize).min(9)];
        decile.0 += 1;
        decile.1 += link.probability;
        decile.2 += usize::from(link.parent == truth);
    }
    let right = |which: usize| wrong.values().filter(|wrong| !wrong[which]).count();
    measured.traces = [wrong.len(), right(0), right(1)];
    measured
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{Setting, Shape, Way, make};

    fn measured(shape: Shape, way: Way, rate: f64) -> Measured {
        let setting = Setting { shape, way, rate, requests: 600, seed: 11 };
        measure(&hide(&make(setting)), &Options::default())
    }

    /// Wrong links are rare among those that are said, whatever the service does.
    fn speaks_truly(m: &Measured, least_recall: f64) {
        let [right, wrong, missing] = m.said;
        assert!(wrong * 300 <= right + 300, "{right} right, {wrong} wrong");
        let recall = right as f64 / (right + missing).max(1) as f64;
        assert!(recall >= least_recall, "recall {recall}");
    }

    #[test]
    fn an_event_loop_keeps_order() {
        let m = measured(Shape::Fan, Way::Loop, 100.0);
        assert_eq!(m.all[1], 0);
        speaks_truly(&m, 0.99);
    }

    #[test]
    fn calls_one_after_the_other_are_told() {
        speaks_truly(&measured(Shape::Sequence, Way::Parallel, 300.0), 0.9);
    }

    #[test]
    fn caches_and_retries_are_learnt() {
        speaks_truly(&measured(Shape::Cache, Way::Parallel, 300.0), 0.9);
        speaks_truly(&measured(Shape::Retry, Way::Parallel, 300.0), 0.9);
    }

    #[test]
    fn what_a_request_does_not_wait_for_is_still_its_own() {
        speaks_truly(&measured(Shape::Detached, Way::Parallel, 100.0), 0.9);
    }

    #[test]
    fn own_calls_are_left_alone() {
        let m = measured(Shape::Background, Way::Parallel, 100.0);
        speaks_truly(&m, 0.8);
        assert!(m.all[1] * 20 <= m.all[0], "{:?}", m.all);
    }

    #[test]
    fn too_much_at_once_is_met_with_silence() {
        let m = measured(Shape::Fan, Way::Parallel, 20_000.0);
        assert!(m.said[1] <= 2, "{:?}", m.said);
    }

    #[test]
    fn the_same_spans_give_the_same_links() {
        let hidden = hide(&make(Setting {
            shape: Shape::Retry,
            way: Way::Parallel,
            rate: 900.0,
            requests: 300,
            seed: 2,
        }));
        let options = Options::default();
        let once = link(&hidden.incoming, &hidden.outgoing, &options);
        assert_eq!(once, link(&hidden.incoming, &hidden.outgoing, &options));
    }

    #[test]
    fn certain_links_are_kept() {
        let setting =
            Setting { shape: Shape::Fan, way: Way::Parallel, rate: 2_000.0, requests: 300, seed: 5 };
        let mut hidden = hide(&make(setting));
        for at in (0..hidden.outgoing.len()).step_by(3) {
            hidden.outgoing[at].certain = hidden.truth[at];
        }
        let links = link(&hidden.incoming, &hidden.outgoing, &Options::default());
        assert!((0..links.len()).step_by(3).all(|at| links[at].parent == hidden.truth[at]));
    }

    #[test]
    fn nothing_in_is_nothing_out() {
        assert!(link(&[], &[], &Options::default()).is_empty());
        let call = Outgoing { id: 1, process: 0, callee: 0, begin_ns: 5, end_ns: 3, certain: None };
        assert_eq!(link(&[], &[call], &Options::default())[0].parent, None);
    }

    #[test]
    fn times_that_make_no_sense_are_no_panic() {
        let request =
            Incoming { id: 0, process: 0, operation: 0, begin_ns: i64::MAX / 2, end_ns: i64::MIN / 2 };
        let call = Outgoing {
            id: 1,
            process: 0,
            callee: 0,
            begin_ns: i64::MIN / 2,
            end_ns: i64::MAX / 2,
            certain: Some(9),
        };
        for apart in [vec![], vec![0]] {
            let links = link(&[request; 3], &[call; 3], &Options { apart, ..Options::default() });
            assert_eq!(links.len(), 3);
        }
    }
}
