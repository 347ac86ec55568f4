//! How far each rule is borne out in a process.
//!
//! Rules that look forward (at what came before a call) and rules that look back (at what came before an answer) rest on
//! different events: where they agree on nearly every call, both are right. A pool's order is believed where the capture does
//! not contradict it, and contradicts the opposite order.

use crate::assembly::regimes::pool::{Discipline, Replay, Scope};
use crate::assembly::regimes::turns::{Call, NONE, Place, Process};
use crate::assembly::span::Evidence;

/// A way to tell the request that a call was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The thread has one request in hand.
    Exclusive,
    /// What the thread received right before.
    Turn,
    /// The longest wait on the thread.
    Order,
    /// The connection that the pool's order gives it.
    Pool(Scope, Discipline),
    /// What the thread received right before the answer.
    TurnBack,
    /// The first to come back on the thread.
    OrderBack,
    /// Turns there and back agree for this very request.
    Loop,
    /// What the call shares with one request in hand only.
    Identity,
    /// Delays and the order of calls.
    Assignment,
}

/// How far a rule is borne out in a process.
#[derive(Clone, Copy, Debug)]
pub struct Regime {
    /// The rule.
    pub rule: Rule,
    /// Calls that it says something of.
    pub calls: u32,
    /// Those on which it was held against another rule, or of a pool the connections that were taken.
    pub checked: u32,
    /// Those on which that agreed.
    pub agreed: u32,
    /// What it speaks of follows at once from what a thread received, nine times in ten.
    pub is_at_once: bool,
    /// It is believed.
    pub is_believed: bool,
}

/// A call's parent.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// The request; [`NONE`].
    pub parent: Place,
    /// The rule that told it.
    pub rule: Rule,
    /// How sure it is, from 0 to 1.
    pub confidence: f32,
}

/// Calls on which rules must have been held against each other ...
const CHECKED: u32 = 30;
/// ... and of a thousand of them so many agree for a rule to be believed ...
const AGREED_PERMILLE: u32 = 995;
/// ... and of a hundred so many for it to be heard at all.
const PLAUSIBLE_PERCENT: u32 = 95;
/// What follows at once from what a thread received follows within so many ns ...
const AT_ONCE_NS: i64 = 5_000_000;
/// ... but for one time in so many. What takes longer may come from a timer.
const LATE: u32 = 10;
/// Of a hundred answers so many must follow an answer for that to be believed by itself.
const ANSWERS_PERCENT: u32 = 99;
/// Requests that cannot have taken the connection that a believed order of the pool says, as a share ...
const POOL_CONTRADICTED: f64 = 0.03;
/// ... and for the opposite order at least, and so many times as many.
const OPPOSITE_CONTRADICTED: f64 = 0.10;
const OPPOSITE_TIMES: f64 = 10.0;
/// No rule is surer than that, as a share of calls.
const LEAST_WRONG: f64 = 0.0001;

impl Choice {
    /// Nothing tells whose it is.
    pub const NOBODY: Choice = Choice { parent: NONE, rule: Rule::Loop, confidence: 0.0 };

    /// As sure as the rule; the parent is to be told.
    pub fn of(regime: Regime) -> Choice {
        Choice { parent: NONE, rule: regime.rule, confidence: (1.0 - regime.wrong()) as f32 }
    }
}

impl Rule {
    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Rule::Exclusive => "exclusive",
            Rule::Turn => "turn",
            Rule::Order => "order",
            Rule::Pool(..) => "pool",
            Rule::TurnBack => "turn_back",
            Rule::OrderBack => "order_back",
            Rule::Loop => "loop",
            Rule::Identity => "identity",
            Rule::Assignment => "assignment",
        }
    }

    /// How a pool is kept, in tables.
    pub const fn variant(self) -> Option<&'static str> {
        match self {
            Rule::Pool(Scope::Process, Discipline::Last) => Some("last of the process"),
            Rule::Pool(Scope::Process, Discipline::First) => Some("first of the process"),
            Rule::Pool(Scope::Thread, Discipline::Last) => Some("last of the thread"),
            Rule::Pool(Scope::Thread, Discipline::First) => Some("first of the thread"),
            _ => None,
        }
    }

    /// Rules of one family rest on the same events.
    pub const fn family(self) -> u8 {
        match self {
            Rule::Exclusive => 0,
            Rule::Turn => 1,
            Rule::Order => 2,
            Rule::Pool(..) => 3,
            Rule::TurnBack | Rule::Loop => 4,
            Rule::OrderBack => 5,
            Rule::Identity => 6,
            Rule::Assignment => 7,
        }
    }

    /// What a link by this rule rests on.
    pub const fn evidence(self) -> Evidence {
        match self {
            Rule::Exclusive => Evidence::Thread,
            Rule::Turn | Rule::TurnBack | Rule::Loop => Evidence::Turn,
            Rule::Order | Rule::OrderBack => Evidence::Order,
            Rule::Pool(..) => Evidence::Pool,
            Rule::Identity => Evidence::Identity,
            Rule::Assignment => Evidence::Assignment,
        }
    }
}

impl Regime {
    /// Of a rule that is held against others: the comparison that bears it out best.
    pub fn held_against<D>(
        process: &Process<D>,
        rule: Rule,
        parents: &[Place],
        others: &[&[Place]],
    ) -> Regime {
        let calls = parents.iter().filter(|&&parent| parent != NONE).count() as u32;
        let is_at_once = is_at_once(process, rule, parents);
        let mut best = Regime { rule, calls, checked: 0, agreed: 0, is_at_once, is_believed: false };
        for other in others {
            let (checked, agreed) = compare(parents, other);
            let is_believed = is_at_once && is_enough(checked, agreed);
            let regime = Regime { checked, agreed, is_believed, ..best };
            if (regime.is_believed, regime.agreed) > (best.is_believed, best.agreed) {
                best = regime;
            }
        }
        best
    }

    /// Turns back are believed by themselves where nearly every answer is sent right after an answer came that nobody else was given,
    /// unless there is another rule that nearly agrees: then they were held against each other and found wanting.
    pub fn or_by_itself<D>(self, process: &Process<D>) -> Regime {
        let answers = process.requests.iter().filter(|request| request.answered_ns < i64::MAX).count() as u32;
        let is_told = answers >= CHECKED && self.calls * 100 >= answers * ANSWERS_PERCENT;
        if self.is_believed || !is_told || !self.is_at_once || self.agreed * 2 > self.checked {
            return self;
        }
        Regime { checked: answers, agreed: self.calls, is_believed: true, ..self }
    }

    /// Of a pool that is kept in this way, if that is replayed, and the opposite way.
    pub fn of_pool(way: (Scope, Discipline), replay: &Replay, opposite: &Replay) -> Regime {
        let calls = replay.parents.iter().filter(|&&parent| parent != NONE).count() as u32;
        let [ours, theirs] =
            [replay, opposite].map(|replay| f64::from(replay.contradicted) / f64::from(replay.taken.max(1)));
        let is_told = theirs >= OPPOSITE_CONTRADICTED && theirs >= OPPOSITE_TIMES * ours;
        Regime {
            rule: Rule::Pool(way.0, way.1),
            calls,
            checked: replay.taken,
            agreed: replay.taken - replay.contradicted,
            // No timer keeps to the order of a pool.
            is_at_once: true,
            // What is in doubt most of the time is not much better else.
            is_believed: is_known(replay.taken)
                && calls * 2 >= replay.taken
                && ours <= POOL_CONTRADICTED
                && is_told,
        }
    }

    /// It is right often enough to be heard, if not alone. A pool that is not believed never is.
    pub fn is_plausible(&self) -> bool {
        let agrees = self.checked >= CHECKED && self.agreed * 100 >= self.checked * PLAUSIBLE_PERCENT;
        self.is_believed || (agrees && self.is_at_once && !matches!(self.rule, Rule::Pool(..)))
    }

    /// How often it may be wrong, as a share: half a call more than was seen.
    pub fn wrong(&self) -> f64 {
        let checked = f64::from(self.checked);
        ((checked - f64::from(self.agreed) + 0.5) / (checked + 1.0)).max(LEAST_WRONG)
    }
}

/// Whether what the rule speaks of, calls or answers, follows at once from what a thread received.
fn is_at_once<D>(process: &Process<D>, rule: Rule, parents: &[Place]) -> bool {
    let told = process.calls.iter().zip(parents).filter(|(_, parent)| **parent != NONE);
    let behind_ns = |(call, &parent): (&Call, &Place)| match rule {
        Rule::TurnBack | Rule::OrderBack => process.requests[parent as usize].behind_ns,
        _ => call.behind_ns,
    };
    let (all, late) = told
        .map(behind_ns)
        .fold((0, 0), |(all, late), behind_ns| (all + 1, late + u32::from(behind_ns > AT_ONCE_NS)));
    late * LATE <= all
}

/// Calls of which both say something, and of which they say the same.
pub fn compare(parents: &[Place], others: &[Place]) -> (u32, u32) {
    let both = parents.iter().zip(others).filter(|&(&a, &b)| a != NONE && b != NONE);
    both.fold((0, 0), |(all, same), (a, b)| (all + 1, same + u32::from(a == b)))
}

/// Whether two rules both say something of enough calls to be held against each other.
pub fn is_known(checked: u32) -> bool {
    checked >= CHECKED
}

/// Whether a rule is believed that was held against another one so.
pub fn is_enough(checked: u32, agreed: u32) -> bool {
    is_known(checked) && agreed * 1000 >= checked * AGREED_PERMILLE
}
