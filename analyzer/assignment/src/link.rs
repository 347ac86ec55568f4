//! Links calls to the requests that caused them.

use crate::lattice::{Limits, NOBODY, Possible, Sink};
use crate::learn::learn;
use crate::model::Score;
use crate::record::Record;
use crate::span::{Incoming, Link, Outgoing, Refused, Why};
use crate::sweep::Sweep;
use crate::work::{Process, by_process};

/// How links are made.
#[derive(Clone, Debug)]
pub struct Options {
    /// A link is said only if the next best is so much less probable, nats.
    pub margin_nats: f64,
    /// Of a process whose links are less probable than that in the mean, nothing is said: what was learnt of it is
    /// worth nothing.
    pub least_sure: f64,
    /// Events of a process that are learnt from, at most.
    pub learn_events: usize,
    /// Bounds of the last sweep.
    pub last: Limits,
    /// Processes whose calls are dated by another clock than their requests: the two ends of a connection.
    pub apart: Vec<u32>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            margin_nats: 5.0,
            least_sure: 0.8,
            learn_events: 20_000,
            last: Limits { states: 128, nats: 16.0, layers: 2_000 },
            apart: Vec::new(),
        }
    }
}

/// Candidates that are kept for the explanation.
const REFUSED: usize = 3;

/// Links every outgoing span; in their order.
pub fn link(incoming: &[Incoming], outgoing: &[Outgoing], options: &Options) -> Vec<Link> {
    let mut links: Vec<Option<Link>> = vec![None; outgoing.len()];
    for process in by_process(incoming, outgoing, &options.apart) {
        let learnt = learn(&process, options.learn_events);
        let mut found = Marginals::new(process.work.calls.len());
        for (range, model) in learnt.ranges(process.work.events.len()) {
            Sweep::new(&process.work, model, options.last).run(&process.work.events[range], &mut found);
        }
        let made: Vec<Link> = (process.call_positions.iter().enumerate())
            .map(|(call, &at)| found.link(call, outgoing[at].id, &process, options))
            .collect();
        let sure = made.iter().map(|link| link.probability).sum::<f64>() / made.len().max(1) as f64;
        for (mut link, &at) in made.into_iter().zip(&process.call_positions) {
            link.spoken &= sure >= options.least_sure;
            links[at] = Some(link);
        }
    }
    let unlinked = |span: &Outgoing| Link {
        id: span.id,
        parent: None,
        probability: 1.0,
        margin_nats: f64::INFINITY,
        spoken: false,
        refused: Vec::new(),
    };
    links.into_iter().zip(outgoing).map(|(link, span)| link.unwrap_or_else(|| unlinked(span))).collect()
}

#[derive(Clone, Copy, Debug)]
struct Marginal {
    request: u32,
    probability: f64,
    /// Of its most probable way.
    most: f64,
    score: Score,
    lost: f64,
}

/// The probabilities of all links.
struct Marginals {
    by_call: Vec<Vec<Marginal>>,
}

impl Sink for Marginals {
    fn called(&mut self, call: u32, possible: &Possible<'_>) {
        let Possible { request, probability, score, lost, .. } = *possible;
        let of_call = &mut self.by_call[call as usize];
        match of_call.iter_mut().find(|other| other.request == request) {
            Some(known) => {
                known.probability += probability;
                if probability > known.most {
                    (known.most, known.score) = (probability, score);
                }
            }
            None => of_call.push(Marginal { request, probability, most: probability, score, lost }),
        }
    }

    fn answered(&mut self, _: u32, _: &Record, _: f64) {}
}

impl Marginals {
    fn new(calls: usize) -> Marginals {
        Marginals { by_call: vec![Vec::new(); calls] }
    }

    fn link(&mut self, call: usize, id: u64, process: &Process, options: &Options) -> Link {
        let mut of_call = std::mem::take(&mut self.by_call[call]);
        of_call.sort_by(|a, b| b.probability.total_cmp(&a.probability).then(a.request.cmp(&b.request)));
        let request = |at: u32| (at != NOBODY).then(|| process.request_ids[at as usize]);
        let Some(best) = of_call.first().copied() else {
            return Link {
                id,
                parent: None,
                probability: 1.0,
                margin_nats: 0.0,
                spoken: false,
                refused: Vec::new(),
            };
        };
        // What was dropped on the way is less probable than the limit, not impossible.
        let least = (-options.last.nats).exp();
        let next = of_call.get(1).map_or(0.0, |next| next.probability).max(least);
        // What was dropped for want of room might have said anything.
        let kept = 1.0 - best.lost;
        let margin_nats = (best.probability.max(least) * kept / (next * kept + best.lost)).ln();
        let refused = (of_call[1..].iter().take(REFUSED))
            .map(|other| Refused {
                parent: request(other.request),
                probability: other.probability,
                why: why(&best, other),
            })
            .collect();
        let parent = request(best.request);
        let spoken = parent.is_some() && margin_nats >= options.margin_nats;
        Link { id, parent, probability: (best.probability * kept).min(1.0), margin_nats, spoken, refused }
    }
}

/// What speaks most against `other`.
fn why(best: &Marginal, other: &Marginal) -> Why {
    if other.request == NOBODY {
        return Why::Background;
    }
    let order = best.score.order - other.score.order;
    let delay = best.score.delay - other.score.delay;
    let all = (best.probability / other.probability.max(1e-30)).ln();
    let after = all - order - delay;
    if order >= delay && order >= after {
        Why::Order
    } else if delay >= after {
        Why::Delay
    } else {
        Why::After
    }
}
