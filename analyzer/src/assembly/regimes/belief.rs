//! A process in, who called for whom out: of rules that each hold for some programs and are dangerous for others, those are
//! believed that the whole recording bears out ([`regime`]).
//!
//! A call has a parent where a believed rule says so, or two plausible ones that rest on different events, and none that is about as
//! good says otherwise. What calls have in common with requests ([`identity`]) is asked last: it needs no pattern of calls, and tells
//! retries too.

use crate::assembly::regimes::assign;
use crate::assembly::regimes::identity::{self, Marks};
use crate::assembly::regimes::lines::{self, Step};
use crate::assembly::regimes::pattern::{self, Pattern};
use crate::assembly::regimes::pool::{self, Replay};
use crate::assembly::regimes::regime::{self, Choice, Regime, Rule};
use crate::assembly::regimes::rules;
use crate::assembly::regimes::turns::{NONE, Place, Process};
use crate::assembly::regimes::veto::veto;

/// A rule's word for each call.
#[derive(Debug)]
struct Voice {
    regime: Regime,
    parents: Vec<Place>,
    /// How often it may be wrong, as a share.
    wrong: f64,
    /// It is heard.
    is_plausible: bool,
}

impl Voice {
    fn new(regime: Regime, parents: Vec<Place>) -> Voice {
        Voice { parents, wrong: regime.wrong(), is_plausible: regime.is_plausible(), regime }
    }

    /// Whether it is heard and says something else of too many calls.
    fn contradicts(&self, parents: &[Place]) -> bool {
        let (checked, agreed) = regime::compare(parents, &self.parents);
        self.is_plausible && regime::is_known(checked) && !regime::is_enough(checked, agreed)
    }
}

/// Of two rules that contradict each other one wins if it is wrong so many times less often.
const BETTER: f64 = 5.0;

/// Who called for whom, and what was found of each rule.
pub fn choose<D>(process: &Process<D>, marks: &Marks) -> (Vec<Choice>, Vec<Regime>) {
    let steps = lines::steps(process);
    let (identified, identity) = identity::identity(process, marks, &steps);
    let (voices, strict) = voices(process, &steps, &identified);
    let mut choices: Vec<Choice> = (0..process.calls.len()).map(|call| agree(&voices, call)).collect();
    let parents = choices.iter().map(|choice| choice.parent).collect();
    for (choice, parent) in choices.iter_mut().zip(lines::in_pattern(process, &strict, &steps, parents)) {
        choice.parent = parent;
    }
    veto(process, &mut choices);
    for (choice, &parent) in choices.iter_mut().zip(&identified).filter(|(_, parent)| **parent != NONE) {
        *choice = decide(*choice, Choice { parent, ..Choice::of(identity) });
    }
    let (rest, assignment) = assign::rest(process, &choices);
    for (choice, said) in choices.iter_mut().zip(rest).filter(|(choice, _)| choice.parent == NONE) {
        *choice = said;
    }
    let regimes = voices.iter().map(|voice| voice.regime).chain([identity]).chain(assignment);
    (choices, regimes.filter(|regime| regime.calls > 0).collect())
}

/// Of what the rules say together and what the messages say: the same, or what is wrong less often by far, or nothing.
fn decide(by_rules: Choice, by_marks: Choice) -> Choice {
    let wrong = |choice: Choice| 1.0 - f64::from(choice.confidence);
    let is_better = |a: Choice, b: Choice| wrong(a) * BETTER <= wrong(b);
    match by_rules.parent {
        NONE => by_marks,
        same if same == by_marks.parent => by_rules,
        _ if is_better(by_rules, by_marks) => by_rules,
        _ if is_better(by_marks, by_rules) => by_marks,
        _ => Choice::NOBODY,
    }
}

/// What each rule says, and the pattern that nearly every request has; empty where that is not known.
fn voices<D>(process: &Process<D>, steps: &[(i64, Step)], identified: &[Place]) -> (Vec<Voice>, Pattern) {
    let (turn, turn_back) = (rules::turn(process), rules::turn_back(process));
    let closed = rules::closed_loops(process, &turn, &turn_back);
    let Lines { strict, order, order_back, pools } = Lines::best(process, steps, &closed, &turn_back);
    let turn = lines::in_pattern(process, &strict, steps, turn);
    let closed = rules::closed_loops(process, &turn, &turn_back);
    let exclusive = rules::exclusive(process);
    let backs = [turn_back.as_slice(), order_back.as_slice(), identified];
    let there = Regime::held_against(process, Rule::Turn, &turn, &backs);
    let in_order = Regime::held_against(process, Rule::Order, &order, &backs);
    // Calls that come late may be a timer's: nothing is borne out by them.
    let forward: Vec<&[Place]> = [(there, &turn), (in_order, &order)]
        .iter()
        .filter(|(rule, _)| rule.is_at_once)
        .map(|(_, all)| all.as_slice())
        .collect();
    let back = Regime::held_against(process, Rule::TurnBack, &turn_back, &forward).or_by_itself(process);
    let regimes = [
        Regime::held_against(process, Rule::Exclusive, &exclusive, &backs),
        there,
        in_order,
        back,
        Regime::held_against(process, Rule::OrderBack, &order_back, &forward),
    ];
    // What a loop says is what turns there and back say, of all calls of a request: heard, but never believed.
    let calls = closed.iter().filter(|&&parent| parent != NONE).count() as u32;
    let of_turns = if there.agreed > back.agreed { there } else { back };
    let loops = Regime { rule: Rule::Loop, calls, is_believed: false, ..of_turns };
    let all = [exclusive, turn, order, turn_back, order_back];
    let mut voices: Vec<Voice> =
        regimes.into_iter().zip(all).map(|(regime, parents)| Voice::new(regime, parents)).collect();
    // A program whose threads race for connections keeps the order of its pool too, but not that of its requests.
    let pools = pools.into_iter().map(|pool| {
        let is_contradicted = voices.iter().any(|voice| voice.contradicts(&pool.parents));
        let is_believed = pool.regime.is_believed && !is_contradicted;
        Voice { regime: Regime { is_believed, ..pool.regime }, ..pool }
    });
    let pools: Vec<Voice> = pools.collect();
    voices.extend(pools);
    voices.push(Voice { is_plausible: true, ..Voice::new(loops, closed) });
    (voices, strict)
}

/// What the rules say that need the pattern of calls.
#[derive(Debug, Default)]
struct Lines {
    /// What nearly every request calls; empty where that is not known.
    strict: Pattern,
    order: Vec<Place>,
    order_back: Vec<Place>,
    pools: Vec<Voice>,
}

impl Lines {
    /// By the pattern that certain requests show; else by the one of those possible that the capture bears out best.
    fn best<D>(process: &Process<D>, steps: &[(i64, Step)], closed: &[Place], turn_back: &[Place]) -> Lines {
        let learnt = pattern::learn(&process.calls, &rules::alone(process))
            .or_else(|| pattern::learn(&process.calls, closed));
        let strict = learnt.as_ref().filter(|learnt| learnt.is_strict).map(|learnt| learnt.pattern.clone());
        let patterns = match learnt {
            Some(learnt) => vec![learnt.pattern],
            None => pattern::possible(&process.calls, process.requests.len()),
        };
        let all = patterns.into_iter().map(|pattern| Lines::of(process, pattern, steps));
        let best = all.max_by_key(|lines| lines.borne_out(process, turn_back)).unwrap_or_default();
        Lines { strict: strict.unwrap_or_default(), ..best }
    }

    fn of<D>(process: &Process<D>, pattern: Pattern, steps: &[(i64, Step)]) -> Lines {
        Lines {
            order: lines::in_order(process, &pattern, steps),
            order_back: lines::in_order_back(process, &pattern, steps),
            pools: pools(process, &pattern, steps),
            strict: Pattern::new(),
        }
    }

    /// Calls that a believed rule tells.
    fn borne_out<D>(&self, process: &Process<D>, turn_back: &[Place]) -> u32 {
        let order = Regime::held_against(process, Rule::Order, &self.order, &[turn_back, &self.order_back]);
        let pools =
            self.pools.iter().filter(|voice| voice.regime.is_believed).map(|voice| voice.regime.agreed);
        pools.max().unwrap_or_default() + if order.is_believed { order.agreed } else { 0 }
    }
}

/// What each way of keeping a pool says.
fn pools<D>(process: &Process<D>, pattern: &Pattern, steps: &[(i64, Step)]) -> Vec<Voice> {
    let replays = pool::WAYS.map(|way| pool::replay(process, pattern, steps, way));
    // Each way's opposite is its neighbour.
    let regimes: Vec<Regime> = (0..pool::WAYS.len())
        .map(|way| Regime::of_pool(pool::WAYS[way], &replays[way], &replays[way ^ 1]))
        .collect();
    // Of several that are borne out the best one.
    let believed = (0..regimes.len()).filter(|&way| regimes[way].is_believed);
    let best = believed.min_by(|&a, &b| regimes[a].wrong().total_cmp(&regimes[b].wrong()));
    let voice = |(way, replay): (usize, Replay)| {
        let is_believed = best == Some(way);
        Voice::new(Regime { is_believed, ..regimes[way] }, replay.parents)
    };
    replays.into_iter().enumerate().map(voice).collect()
}

/// What the rules say of a call together.
fn agree(voices: &[Voice], call: usize) -> Choice {
    let speaks =
        |voice: &&Voice| voice.is_plausible && voice.parents.get(call).is_some_and(|&parent| parent != NONE);
    let speaking = || voices.iter().filter(speaks);
    let Some(best) = speaking().min_by(|a, b| a.wrong.total_cmp(&b.wrong)) else {
        return Choice::NOBODY;
    };
    let parent = best.parents[call];
    if speaking().any(|voice| voice.parents[call] != parent && voice.wrong < best.wrong * BETTER) {
        return Choice::NOBODY;
    }
    let is_believed = speaking().any(|voice| voice.parents[call] == parent && voice.regime.is_believed);
    let families =
        speaking().filter(|voice| voice.parents[call] == parent).map(|voice| voice.regime.rule.family());
    let families = families.fold(0u8, |bits, family| bits | 1 << family).count_ones();
    if !is_believed && families < 2 {
        return Choice::NOBODY;
    }
    Choice { parent, ..Choice::of(best.regime) }
}
