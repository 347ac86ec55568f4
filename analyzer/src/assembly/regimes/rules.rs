//! The rules of threads: what a thread received last is what it works on.

use crate::assembly::regimes::turns::{Behind, Call, NONE, Place, Process};

/// Parents of the calls of threads that have one request in hand.
pub fn exclusive<D>(process: &Process<D>) -> Vec<Place> {
    let open = |place, at_ns| process.open_at(place, at_ns).map_or(NONE, |_| place);
    process.calls.iter().map(|call| open(call.alone, call.sent_ns)).collect()
}

/// Parents by turns: the request that the thread received right before, or that of the call whose answer it received.
pub fn turn<D>(process: &Process<D>) -> Vec<Place> {
    let mut parents: Vec<Place> = Vec::with_capacity(process.calls.len());
    for call in &process.calls {
        let parent = match call.behind {
            Behind::Nothing => NONE,
            Behind::Request(request) => request,
            Behind::Call(before) => parents.get(before as usize).copied().unwrap_or(NONE),
        };
        parents.push(process.open_at(parent, call.sent_ns).map_or(NONE, |_| parent));
    }
    parents
}

/// Parents by turns back: an answer is for the call whose answer the thread received right before. Of several answers that follow
/// it is the first.
pub fn turn_back<D>(process: &Process<D>) -> Vec<Place> {
    let mut parents = vec![NONE; process.calls.len()];
    for (place, request) in (0..).zip(&process.requests) {
        if let Behind::Call(call) = request.behind
            && process.calls[call as usize].sent_ns >= request.received_ns
        {
            let parent = &mut parents[call as usize];
            let answered_ns =
                |place: Place| process.requests.get(place as usize).map_or(i64::MAX, |r| r.answered_ns);
            if request.answered_ns < answered_ns(*parent) {
                *parent = place;
            }
        }
    }
    parents
}

/// Parents of which both ways of turns say the same, and of the calls before them that turns give the same request.
pub fn closed_loops<D>(process: &Process<D>, turn: &[Place], turn_back: &[Place]) -> Vec<Place> {
    let mut is_closed = vec![false; process.requests.len()];
    for (&there, &back) in turn.iter().zip(turn_back) {
        if there != NONE && there == back {
            is_closed[there as usize] = true;
        }
    }
    let keep = |&there: &Place| if there != NONE && is_closed[there as usize] { there } else { NONE };
    turn.iter().map(keep).collect()
}

/// Parents of calls that were sent while their process had one request only, from its begin to its end.
pub fn alone<D>(process: &Process<D>) -> Vec<Place> {
    let mut until_ns = i64::MIN;
    let mut is_alone = vec![true; process.requests.len()];
    for (place, request) in process.requests.iter().enumerate() {
        if request.received_ns < until_ns {
            is_alone[place] = false;
            // Whichever reaches furthest: the others were marked when they came.
            if let Some(before) = place.checked_sub(1) {
                is_alone[before] = false;
            }
        }
        until_ns = until_ns.max(request.answered_ns);
    }
    let parent = |call: &Call| {
        let after = process.requests.partition_point(|request| request.received_ns <= call.sent_ns);
        let place = after.checked_sub(1).filter(|&place| is_alone[place]).map(|place| place as Place);
        place.filter(|&place| process.open_at(place, call.sent_ns).is_some()).unwrap_or(NONE)
    };
    process.calls.iter().map(parent).collect()
}
