//! The rule of connection pools: which connection a request takes is not chance. It is the one that was freed last, or first,
//! of those that are idle when the request may make its call, although the call may be sent much later.

use crate::assembly::regimes::lines::{Progress, Step};
use crate::assembly::regimes::pattern::Pattern;
use crate::assembly::regimes::turns::{Call, NONE, Place, Process, Request};
use crate::hashing::IntMap;

/// Which idle connection is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discipline {
    /// The one that was freed last.
    Last,
    /// The one that was freed first.
    First,
}

/// Who shares idle connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All threads of the process.
    Process,
    /// Each thread has its own.
    Thread,
}

/// The four ways to keep a pool.
pub const WAYS: [(Scope, Discipline); 4] = [
    (Scope::Process, Discipline::Last),
    (Scope::Process, Discipline::First),
    (Scope::Thread, Discipline::Last),
    (Scope::Thread, Discipline::First),
];

/// What a replay of the pool gives.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// By call.
    pub parents: Vec<Place>,
    /// Requests that took a connection.
    pub taken: u32,
    /// How many of them could not have taken the one that the discipline says.
    pub contradicted: u32,
}

/// What is near to a contradiction, ns.
const NEAR_NS: i64 = 10_000_000;
/// Connections that are looked at for one request, at most.
const MAX_LOOKED_AT: usize = 256;

struct Pool<'a, D> {
    process: &'a Process<D>,
    pattern: &'a Pattern,
    discipline: Discipline,
    scope: Scope,
    /// The next call on the same connection, by call.
    next: Vec<Place>,
    /// Idle connections by thread and destination, in the order in which they were freed: the calls that will be made on them next.
    idle: IntMap<(u32, u32), Vec<Place>>,
    progress: Vec<Progress>,
    slots: Vec<usize>,
    replay: Replay,
    contradictions_ns: Vec<i64>,
    /// Until when there are requests that found no idle connection, by thread and destination: a connection that comes free may
    /// be given to one of them.
    crowded_until_ns: IntMap<(u32, u32), i64>,
    /// Calls on connections that were taken meanwhile.
    in_doubt: Vec<Place>,
}

/// Replays a pool that is kept in this way.
pub fn replay<D>(
    process: &Process<D>,
    pattern: &Pattern,
    steps: &[(i64, Step)],
    (scope, discipline): (Scope, Discipline),
) -> Replay {
    let calls = process.calls.len();
    let mut pool = Pool {
        process,
        pattern,
        discipline,
        scope,
        next: next_on_connection(process),
        idle: IntMap::default(),
        progress: vec![Progress::default(); process.requests.len()],
        slots: vec![0; calls],
        replay: Replay { parents: vec![NONE; calls], ..Replay::default() },
        contradictions_ns: Vec::new(),
        crowded_until_ns: IntMap::default(),
        in_doubt: Vec::new(),
    };
    for &(at_ns, step) in steps {
        pool.step(at_ns, step);
    }
    pool.forget_doubtful();
    pool.replay
}

fn next_on_connection<D>(process: &Process<D>) -> Vec<Place> {
    let mut next = vec![NONE; process.calls.len()];
    let mut last: IntMap<u32, Place> = IntMap::default();
    for (place, call) in (0..).zip(&process.calls) {
        if let Some(before) = last.insert(call.socket, place).filter(|_| !call.is_first) {
            next[before as usize] = place;
        }
    }
    next
}

impl<D> Pool<'_, D> {
    fn step(&mut self, at_ns: i64, step: Step) {
        match step {
            Step::Received(place) => {
                let thread = self.process.requests[place as usize].thread;
                for slot in (0..self.pattern.len()).filter(|&slot| self.pattern[slot].waits_for == 0) {
                    self.take(place, slot, thread, at_ns);
                }
            }
            Step::Back(place) => {
                let call = &self.process.calls[place as usize];
                // Freed before what follows from the answer takes one.
                let next = self.next[place as usize];
                if next != NONE {
                    let key = (self.owner(call.back_by), call.to);
                    self.idle.entry(key).or_default().push(next);
                }
                let parent = self.replay.parents[place as usize];
                if parent != NONE {
                    let slot = self.slots[place as usize];
                    let ready: Vec<usize> =
                        self.progress[parent as usize].come_back(self.pattern, slot).collect();
                    for slot in ready {
                        self.take(parent, slot, call.back_by, at_ns);
                    }
                }
            }
            Step::Begins(_) | Step::Answered(_) | Step::Sent(_) => {}
        }
    }

    fn owner(&self, thread: u32) -> u32 {
        if self.scope == Scope::Thread { thread } else { 0 }
    }

    /// A request may make the call of this slot: the first connection in the order of the discipline that fits is its.
    fn take(&mut self, place: Place, slot: usize, thread: u32, at_ns: i64) {
        let request = &self.process.requests[place as usize];
        let key = (self.owner(thread), self.pattern[slot].to);
        let idle = self.idle.entry(key).or_default();
        let calls = &self.process.calls;
        // A connection that is used next before now was taken by somebody who is not known.
        idle.retain(|&next| calls[next as usize].sent_ns >= at_ns);
        let crowded_until_ns = self.crowded_until_ns.entry(key).or_insert(i64::MIN);
        if idle.is_empty() && request.answered_ns < i64::MAX {
            *crowded_until_ns = request.answered_ns.max(*crowded_until_ns);
        }
        let fits = |&next: &Place| fits(&calls[next as usize], request, at_ns);
        let found = match self.discipline {
            Discipline::Last => idle.iter().rev().take(MAX_LOOKED_AT).position(fits),
            Discipline::First => idle.iter().take(MAX_LOOKED_AT).position(fits),
        };
        let Some(skipped) = found else { return };
        let at = if self.discipline == Discipline::Last { idle.len() - 1 - skipped } else { skipped };
        let call = idle.remove(at);
        if at_ns < *crowded_until_ns {
            self.in_doubt.push(call);
        }
        self.replay.taken += 1;
        if skipped > 0 {
            self.replay.contradicted += 1;
            self.contradictions_ns.push(at_ns);
        }
        self.replay.parents[call as usize] = place;
        self.slots[call as usize] = slot;
        self.progress[place as usize].send(slot);
    }

    /// Who took what is in doubt near contradictions, and where there are too few connections.
    fn forget_doubtful(&mut self) {
        for &call in &self.in_doubt {
            self.replay.parents[call as usize] = NONE;
        }
        let times = &self.contradictions_ns;
        for (call, parent) in self.process.calls.iter().zip(&mut self.replay.parents) {
            let after = times.partition_point(|&at_ns| at_ns < call.sent_ns - NEAR_NS);
            if times.get(after).is_some_and(|&at_ns| at_ns <= call.sent_ns + NEAR_NS) {
                *parent = NONE;
            }
        }
    }
}

/// Whether the call can be one of the request's: sent, and answered if it was, before that was.
fn fits(call: &Call, request: &Request, at_ns: i64) -> bool {
    let is_back = call.begins_ns <= request.answered_ns || call.begins_ns == i64::MAX;
    call.sent_ns >= at_ns && call.sent_ns <= request.answered_ns && is_back
}
