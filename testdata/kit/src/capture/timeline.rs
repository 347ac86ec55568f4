//! A plan in, the times of trouble out, and what they do to whatever reaches the place.

use super::{Plan, SLOW_S, SYN_AGAIN_S, Shape, Trouble, ns};
use retrospan_random::Random;

/// One time of trouble, ns from the begin of the recording.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub from_ns: i64,
    pub to_ns: i64,
    /// It belongs to the comb.
    pub tooth: bool,
}

/// All of them, in order and apart from each other.
#[derive(Debug)]
pub struct Timeline {
    pub windows: Vec<Window>,
    /// Teeth that do not fire.
    pub missing: usize,
    trouble: Trouble,
}

/// How something passed the place.
#[derive(Clone, Copy, Debug)]
pub struct Passed {
    /// When it was through.
    pub at_ns: i64,
    /// The window that delayed or failed it.
    pub window: Option<usize>,
}

/// Share of the requests that trouble meets where it does not meet all.
const SHARE: f64 = 0.85;
/// Draws until a burst lies apart from all other windows; then it is left out.
const DRAWS: usize = 100;

impl Timeline {
    pub fn new(plan: &Plan) -> Timeline {
        let mut random = Random::new(plan.seed ^ 0x7469_6d65);
        let width_s = plan.trouble.width_s;
        let mut timeline = Timeline { windows: Vec::new(), missing: 0, trouble: plan.trouble };
        if let Some(comb) = plan.comb {
            let mut tooth_s = comb.period_s * random.uniform();
            while tooth_s < plan.length_s {
                let onset_s = tooth_s + comb.period_s * comb.jitter * random.normal();
                if random.uniform() < comb.missing {
                    timeline.missing += 1;
                } else if onset_s > 2.0 && onset_s + width_s < plan.length_s {
                    timeline.add(onset_s, width_s, true);
                }
                tooth_s += comb.period_s;
            }
        }
        for _ in 0..plan.bursts {
            let apart = |onset_s: &f64| {
                let near = |w: &Window| (w.from_ns - ns(*onset_s)).abs() < ns(3.0 * width_s);
                !timeline.windows.iter().any(near)
            };
            let mut draws = (0..DRAWS).map(|_| 2.0 + (plan.length_s - width_s - 2.0) * random.uniform());
            if let Some(onset_s) = draws.find(apart) {
                timeline.add(onset_s, width_s, false);
            }
        }
        timeline.windows.sort_by_key(|window| window.from_ns);
        timeline
    }

    /// Windows of the comb.
    pub fn teeth(&self) -> impl Iterator<Item = &Window> {
        self.windows.iter().filter(|window| window.tooth)
    }

    fn add(&mut self, onset_s: f64, width_s: f64, tooth: bool) {
        let from_ns = ns(onset_s);
        self.windows.push(Window { from_ns, to_ns: from_ns + ns(width_s), tooth });
    }

    /// Something reaches the place and would be through `takes_ns` later. `request`: not an answer.
    pub fn pass(&self, at_ns: i64, takes_ns: i64, request: bool, random: &mut Random) -> Passed {
        let done_ns = at_ns + takes_ns;
        let next = self.windows.partition_point(|window| window.to_ns <= at_ns);
        let window = self.windows.get(next).filter(|window| window.from_ns < done_ns);
        let free = Passed { at_ns: done_ns, window: None };
        let Some(window) = window else { return free };
        let begun = window.from_ns <= at_ns;
        match self.trouble.shape {
            Shape::Freeze | Shape::GiveUp if begun => {
                // They go on one after the other.
                let queue_ns = ns(0.002 * random.exponential());
                Passed { at_ns: window.to_ns + queue_ns + takes_ns, window: Some(next) }
            }
            Shape::Freeze | Shape::GiveUp => {
                Passed { at_ns: done_ns + window.to_ns - window.from_ns, window: Some(next) }
            }
            _ if !begun || !request || random.uniform() >= SHARE => free,
            Shape::Slow => {
                let longer_ns = ns(SLOW_S * (0.4 * random.normal()).exp());
                Passed { at_ns: done_ns + longer_ns, window: Some(next) }
            }
            Shape::Errors => Passed { at_ns: done_ns, window: Some(next) },
            Shape::QueueFull => free,
        }
    }

    /// A SYN leaves for the place: its window, where it is dropped, and when it is sent again until it is not.
    pub fn syn(&self, at_ns: i64) -> Option<(usize, Vec<i64>)> {
        let next = self.windows.partition_point(|window| window.to_ns <= at_ns);
        let window = self.windows.get(next).filter(|window| window.from_ns <= at_ns)?;
        let mut again: Vec<i64> = SYN_AGAIN_S.iter().map(|&s| at_ns + ns(s)).collect();
        let taken = again.iter().position(|&at| at >= window.to_ns).map_or(again.len(), |index| index + 1);
        again.truncate(taken);
        Some((next, again))
    }
}
