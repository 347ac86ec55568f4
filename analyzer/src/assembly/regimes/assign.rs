//! Calls that no rule tells, by times alone: the delays and the order of calls that the whole recording shows
//! ([`retrospan_assignment`]).
//!
//! Of the calls that rules tell one half is given to learn from, and the other half is held against what comes out. Those that
//! rules leave open are harder: so more has to agree than of a rule, most calls must be told, and a link needs a wider margin.

use std::ops::Range;

use retrospan_assignment::link::{Options, link};
use retrospan_assignment::span::{Incoming, Link, Outgoing};

use crate::assembly::regimes::regime::{Choice, Regime, Rule};
use crate::assembly::regimes::turns::{NONE, Place, Process};

/// Requests that are looked at together: so memory is bounded.
const TOGETHER: usize = 100_000;
/// Fewer requests show no way of working.
const FEWEST: usize = 100;
/// Where one call in so many has no parent it is nobody's, as far as the rules know.
const FEW: usize = 50;
/// Of the calls that rules tell so many must have been held against what comes out ...
const CHECKED: u32 = 100;
/// ... and all but one in so many agree.
const DISAGREE: u32 = 1_000;
/// How much less probable the next best must be, nats.
const MARGIN_NATS: f64 = 8.0;

/// What is said of each call that `choices` leaves open, and how far it is borne out.
pub fn rest<D>(process: &Process<D>, choices: &[Choice]) -> (Vec<Choice>, Option<Regime>) {
    let mut said = vec![Choice::NOBODY; choices.len()];
    let open = choices.iter().filter(|choice| choice.parent == NONE).count();
    let is_told = open * 2 <= choices.len() && open * FEW > choices.len();
    if process.requests.len() < FEWEST || !is_told {
        return (said, None);
    }
    let (mut checked, mut agreed, mut calls) = (0, 0, 0);
    for requests in (0..process.requests.len()).step_by(TOGETHER) {
        let requests = requests..process.requests.len().min(requests + TOGETHER);
        for (place, link) in together(process, choices, requests) {
            let Some(parent) = link.parent.filter(|_| link.spoken).map(|parent| parent as Place) else {
                continue;
            };
            let told = choices[place].parent;
            if told == NONE {
                calls += 1;
                said[place] = Choice { parent, rule: Rule::Assignment, confidence: link.probability as f32 };
            } else if is_hidden(place) {
                checked += 1;
                agreed += u32::from(told == parent);
            }
        }
    }
    let is_believed = checked >= CHECKED && (checked - agreed) * DISAGREE <= checked;
    if !is_believed {
        said.fill(Choice::NOBODY);
    }
    let regime = Regime { rule: Rule::Assignment, calls, checked, agreed, is_at_once: true, is_believed };
    (said, Some(regime))
}

/// Whether what the rules say of the call is not learnt from: of every other one, in no step with the calls of a request.
fn is_hidden(place: usize) -> bool {
    (place as u32).wrapping_mul(0x9e37_79b1) >> 31 == 0
}

/// The links of the calls that are made from the first of these requests on until the next after them.
fn together<D>(process: &Process<D>, choices: &[Choice], requests: Range<usize>) -> Vec<(usize, Link)> {
    let from = |request: usize| process.requests.get(request).map_or(i64::MAX, |request| request.received_ns);
    let times = from(requests.start)..from(requests.end);
    let calls: Vec<usize> =
        (0..process.calls.len()).filter(|&call| times.contains(&process.calls[call].sent_ns)).collect();
    let answered = process.requests[requests.clone()].iter().map(|request| request.answered_ns);
    let back = calls.iter().map(|&call| process.calls[call].back_ns);
    // What was not answered lasted until the end.
    let end_ns = answered.chain(back).filter(|&at_ns| at_ns < i64::MAX).max().unwrap_or_default();
    let incoming: Vec<Incoming> = requests
        .map(|place| {
            let request = &process.requests[place];
            let end_ns = request.answered_ns.min(end_ns.max(request.received_ns));
            Incoming { id: place as u64, process: 0, operation: 0, begin_ns: request.received_ns, end_ns }
        })
        .collect();
    // No call has the id of a request.
    let id = |place: usize| (process.requests.len() + place) as u64;
    let outgoing: Vec<Outgoing> = calls
        .iter()
        .map(|&place| {
            let call = &process.calls[place];
            let certain = Some(choices[place].parent).filter(|&parent| parent != NONE && !is_hidden(place));
            Outgoing {
                id: id(place),
                process: 0,
                callee: call.to,
                begin_ns: call.sent_ns,
                end_ns: call.back_ns.min(end_ns.max(call.sent_ns)),
                certain: certain.map(u64::from),
            }
        })
        .collect();
    let options = Options { margin_nats: MARGIN_NATS, ..Options::default() };
    calls.into_iter().zip(link(&incoming, &outgoing, &options)).collect()
}
