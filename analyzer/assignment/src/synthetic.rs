//! Made traces: services with queues, caches, retries, fan-out and calls of their own, parents known.
//!
//! Nothing here is fitted to any recorded data; what is good on these and on recorded traces alike is not tuned to either.

use std::collections::BinaryHeap;

use crate::measure::Span;

/// What a service does for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Two calls, one after the other.
    Sequence,
    /// A call that a cache often saves, then another.
    Cache,
    /// Three calls at once.
    Fan,
    /// A call that is made again where it failed, up to three times.
    Retry,
    /// A call, and now and then one of the service's own, for no request.
    Background,
    /// A call that the request does not wait for.
    Detached,
}

/// How a service takes its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As many at once as come.
    Parallel,
    /// One step at a time, in order, as an event loop does.
    Loop,
}

/// What is made.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// What the service does.
    pub shape: Shape,
    /// How it takes its requests.
    pub way: Way,
    /// Requests a second.
    pub rate: f64,
    /// Number of requests.
    pub requests: usize,
    /// Of the random numbers.
    pub seed: u64,
}

/// Random numbers: the same ones for the same seed.
#[derive(Clone, Debug)]
pub struct Random(retrospan_random::Random);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Random {
        Random(retrospan_random::Random::new(seed))
    }

    /// Evenly between 0 and 1.
    pub fn even(&mut self) -> f64 {
        self.0.uniform()
    }

    /// Exponential, ns.
    pub fn exponential(&mut self, mean_ns: f64) -> i64 {
        (mean_ns * self.0.exponential()) as i64
    }

    /// A delay with a long tail, ns.
    fn delay(&mut self, median_ns: f64) -> i64 {
        let normal = self.0.normal();
        let tail = if self.even() < 0.03 { 6.0 } else { 1.0 };
        (median_ns * (0.45 * normal).exp() * tail) as i64
    }
}

/// What is to happen to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at_ns: i64,
    order: usize,
    request: usize,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Came,
    Returned(usize),
    Own,
}

struct Maker {
    setting: Setting,
    random: Random,
    due: BinaryHeap<std::cmp::Reverse<Due>>,
    spans: Vec<Span>,
    /// By request: its span, calls made, calls that it waits for.
    requests: Vec<(usize, usize, usize)>,
    free_ns: i64,
}

/// Makes the traces of one service and of those that it calls.
pub fn make(setting: Setting) -> Vec<Span> {
    let mut maker = Maker {
        setting,
        random: Random::new(setting.seed),
        due: BinaryHeap::new(),
        spans: Vec::new(),
        requests: Vec::new(),
        free_ns: 0,
    };
    let mut at_ns = 1_000_000_000;
    for request in 0..setting.requests {
        at_ns += maker.random.exponential(1e9 / setting.rate);
        maker.plan(at_ns, request, Step::Came);
    }
    if setting.shape == Shape::Background {
        for _ in 0..setting.requests / 5 {
            let own_ns = 1_000_000_000 + (maker.random.even() * (at_ns - 1_000_000_000) as f64) as i64;
            maker.plan(own_ns, 0, Step::Own);
        }
    }
    while let Some(std::cmp::Reverse(due)) = maker.due.pop() {
        maker.happen(due);
    }
    maker.spans
}

impl Maker {
    fn plan(&mut self, at_ns: i64, request: usize, step: Step) {
        let order = self.due.len();
        self.due.push(std::cmp::Reverse(Due { at_ns, order, request, step }));
    }

    /// When the service is done with the step that begins now.
    fn done(&mut self, now_ns: i64, median_ns: f64) -> i64 {
        let work_ns = self.random.delay(median_ns);
        match self.setting.way {
            Way::Parallel => now_ns + work_ns,
            Way::Loop => {
                self.free_ns = self.free_ns.max(now_ns) + work_ns;
                self.free_ns
            }
        }
    }

    fn happen(&mut self, due: Due) {
        match due.step {
            Step::Came => {
                let span = self.span(due.request, None, "front", "work", due.at_ns);
                self.requests.push((span, 0, 0));
                self.go_on(due.at_ns, due.request, usize::MAX);
            }
            Step::Returned(call) => {
                self.requests[due.request].2 -= 1;
                self.go_on(due.at_ns, due.request, call);
            }
            Step::Own => {
                let trace = self.setting.requests + self.spans.len();
                let span = self.span(trace, None, "a", "call a", due.at_ns);
                self.spans[span].caller = "front".to_owned();
                self.spans[span].end_ns = due.at_ns + self.random.delay(3e6);
            }
        }
    }

    fn span(
        &mut self,
        trace: usize,
        parent: Option<usize>,
        service: &str,
        operation: &str,
        now_ns: i64,
    ) -> usize {
        self.spans.push(Span {
            trace,
            parent,
            service: service.to_owned(),
            caller: if parent.is_some() { "front".to_owned() } else { String::new() },
            operation: operation.to_owned(),
            kind: "server".to_owned(),
            begin_ns: now_ns,
            end_ns: now_ns,
        });
        self.spans.len() - 1
    }

    /// A call: it begins once the service has done its work for it. Returns when.
    fn call(&mut self, now_ns: i64, request: usize, to: &str, median_ns: f64, waited_for: bool) -> i64 {
        let begin_ns = self.done(now_ns, 300_000.0);
        let parent = self.requests[request].0;
        let span = self.span(request, Some(parent), to, &format!("call {to}"), begin_ns);
        let end_ns = begin_ns + self.random.delay(median_ns);
        self.spans[span].end_ns = end_ns;
        self.requests[request].1 += 1;
        if waited_for {
            self.requests[request].2 += 1;
            self.plan(end_ns, request, Step::Returned(span));
        }
        begin_ns
    }

    fn go_on(&mut self, now_ns: i64, request: usize, returned: usize) {
        let (_, made, waits) = self.requests[request];
        if waits > 0 {
            return;
        }
        let first = returned == usize::MAX;
        let chance = self.random.even();
        match self.setting.shape {
            Shape::Sequence if made == 0 => _ = self.call(now_ns, request, "a", 4e6, true),
            Shape::Sequence if made == 1 => _ = self.call(now_ns, request, "b", 2e6, true),
            Shape::Cache if first && chance < 0.4 => _ = self.call(now_ns, request, "a", 4e6, true),
            Shape::Cache if made == 0 || self.spans[returned].service == "a" => {
                self.call(now_ns, request, "b", 2e6, true);
            }
            Shape::Fan if first => {
                let mut at_ns = now_ns;
                for to in ["a", "b", "c"] {
                    at_ns = self.call(at_ns, request, to, 4e6, true);
                }
            }
            Shape::Retry if first || (made < 3 && chance < 0.15) => {
                self.call(now_ns, request, "a", 3e6, true);
            }
            Shape::Background if first => _ = self.call(now_ns, request, "a", 4e6, true),
            Shape::Detached if first => {
                let at_ns = self.call(now_ns, request, "log", 9e6, false);
                self.call(at_ns, request, "a", 4e6, true);
            }
            _ => {
                let end_ns = self.done(now_ns, 200_000.0);
                let span = self.requests[request].0;
                self.spans[span].end_ns = end_ns;
            }
        }
    }
}
