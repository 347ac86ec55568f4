//! Plans drawn by chance: a seed and a number in, a plan out. Places and shapes take turns, everything else is random.

use retrospan_random::Random;
use retrospan_testkit::capture::{Cause, Comb, Part, Place, Plan, Shape, Trouble};

const SHAPES: [Shape; 5] = [Shape::Freeze, Shape::Slow, Shape::Errors, Shape::GiveUp, Shape::QueueFull];

/// A trouble that comes back every 60 to 600 s in an hour, every 10 to 60 s in ten minutes, or (one in six) every ten minutes in
/// two and a half hours; at most 3 % jitter, at most 20 % of the teeth missing, at most 5 unrelated bursts of the same trouble, one
/// cause or none, decoys, up to 30 innocent programs of the same period.
pub fn periodic(seed: u64, number: u64) -> Plan {
    let mut random = Random::new(seed << 32 | number);
    let trouble = trouble(number, &mut random);
    let long = random.below(2) == 0;
    let (shortest_s, length_s) = if long { (60.0, 3600.0) } else { (10.0, 600.0) };
    let ratio: f64 = if long { 10.0 } else { 6.0 };
    let period_s = shortest_s * ratio.powf(random.uniform());
    let widest_s = if long { 3.0f64.min(period_s / 20.0) } else { 1.0f64.min(period_s / 15.0) };
    let width_s = widest_s * (0.4 + 0.6 * random.uniform());
    let missing = [0.0, 0.0, 0.1, 0.2][random.below(4)];
    // A generator of its own: what was drawn before stays as it was.
    let mut more = Random::new(number ^ seed << 20 ^ 0x6d6f_7265);
    let innocents = [0, 0, 3, 10, 30][more.below(5)];
    let (length_s, period_s, requests_per_s) = match more.below(6) {
        0 => (9000.0, 570.0 + 60.0 * more.uniform(), 8.0),
        _ => (length_s, period_s, 20.0),
    };
    Plan {
        seed: seed << 32 | number,
        length_s,
        requests_per_s,
        comb: Some(Comb { period_s, jitter: 0.03 * random.uniform(), missing }),
        bursts: [0, 0, 1, 2, 5][random.below(5)],
        cause: cause(&trouble, &mut random),
        trouble: Trouble { width_s, ..trouble },
        decoys: true,
        innocents,
        ..Plan::default()
    }
}

/// An hour or ten minutes with 0 to 10 bursts of some trouble, and decoys.
pub fn quiet(seed: u64, number: u64) -> Plan {
    let mut random = Random::new(!(seed << 32 | number));
    let trouble = trouble(number, &mut random);
    let length_s = if random.below(2) == 0 { 3600.0 } else { 600.0 };
    let width_s = 0.4 + 1.6 * random.uniform();
    let bursts = random.below(11);
    Plan {
        seed: (seed | 1 << 30) << 32 | number,
        length_s,
        comb: None,
        bursts,
        trouble: Trouble { width_s, ..trouble },
        decoys: true,
        ..Plan::default()
    }
}

/// Errors come from a process only: on a wire it is slow instead. A full queue is before a process that a proxy connects to.
fn trouble(number: u64, random: &mut Random) -> Trouble {
    let part = if number.is_multiple_of(2) { Part::Server } else { Part::Network };
    let mut place = Place { hop: (number / 2 % 3) as usize, part };
    let shape = match SHAPES[(number / 6 % SHAPES.len() as u64) as usize] {
        Shape::Errors if part == Part::Network => Shape::Slow,
        shape => shape,
    };
    if shape == Shape::QueueFull {
        place = Place { hop: place.hop.max(1), part: Part::Network };
    }
    Trouble { place, shape, width_s: random.uniform() }
}

/// One that such a trouble can have, or, in three of ten, none.
fn cause(trouble: &Trouble, random: &mut Random) -> Option<Cause> {
    if random.uniform() < 0.3 {
        return None;
    }
    let other = match (trouble.shape, trouble.place.part) {
        (Shape::Freeze | Shape::GiveUp, _) => Cause::Stopped,
        (Shape::Slow, Part::Server | Part::Queue) => Cause::RunQueue,
        (Shape::Slow, Part::Network) => Cause::Retransmit,
        (Shape::Errors, _) => Cause::Exec,
        (Shape::QueueFull, _) => Cause::SynAgain,
    };
    Some([Cause::Exec, other, other][random.below(3)])
}
