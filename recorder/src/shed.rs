//! How much is left out where the recorder is over a limit, and when it is recorded again.
//!
//! In: once a second, what the recorder took of each limit. Out: the level of [`shed`](retrospan_formats::event::shed) that the
//! kernel programs are told. A level up at once, a level down after a calm time, which grows where a level does not hold.

use std::time::Duration;

use retrospan_formats::event::shed;

use crate::text::{grouped, size};

/// What a recording may take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Records a second (`--max-rate`).
    pub rate: Option<f64>,
    /// CPUs, of the recorder's process (`--max-cpu`; 1.0 is one).
    pub cpus: Option<f64>,
}

/// What it took in the last interval.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// How long that was.
    pub elapsed: Duration,
    /// Records that the kernel programs made.
    pub records: u64,
    /// CPU time of the recorder's process, s.
    pub cpu_s: f64,
    /// How much of the room on the disk is used, where it is limited and nothing can be let go of.
    pub room: Option<Used>,
}

/// How much of a limit of room is used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Used {
    /// Of all, 0 to 1.
    pub share: f64,
    /// The option that limits it.
    pub option: &'static str,
    /// What the option says, bytes.
    pub limit_bytes: u64,
}

impl Used {
    fn in_words(&self) -> String {
        let share = (self.share * 100.0).round();
        format!("{share} % of the room, of {} {}", self.option, size(self.limit_bytes))
    }
}

/// A step to another level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The new level.
    pub level: u32,
    /// The cause in rows of `loss` of what is left out from now on: the option's name.
    pub cause: &'static str,
    /// One line for the user.
    pub line: String,
}

/// Of a limit, below which a level of bytes is taken back ...
const CALM: f64 = 0.8;
/// ... and one of connections, which doubles what is recorded.
const CALM_BY_HALF: f64 = 0.4;
/// Calm time before a step down, at first and at most.
const CALM_S: f64 = 5.0;
const MOST_CALM_S: f64 = 320.0;
/// A level that is needed again so soon was taken back too early.
const TOO_EARLY_S: f64 = 30.0;
/// Shares of the room on the disk from which on each level holds.
const ROOM: [(f64, u32); 3] = [(0.95, shed::CONNECTIONS), (0.85, shed::HEADS), (0.7, shed::CONTINUATIONS)];

/// The level, and what is known of its past.
#[derive(Debug)]
pub struct Shedding {
    limits: Limits,
    level: u32,
    calm_s: f64,
    needed_calm_s: f64,
    since_down_s: f64,
}

impl Shedding {
    /// Nothing is left out yet.
    pub fn new(limits: Limits) -> Shedding {
        Shedding {
            limits,
            level: shed::NOTHING,
            calm_s: 0.0,
            needed_calm_s: CALM_S,
            since_down_s: f64::INFINITY,
        }
    }

    /// An interval ended; the step that it makes necessary or allows.
    pub fn interval(&mut self, taken: Taken) -> Option<Step> {
        let elapsed_s = taken.elapsed.as_secs_f64().max(1e-3);
        self.since_down_s += elapsed_s;
        let room = taken.room.map(|used| (used, room_level(used.share)));
        if let Some((used, level)) = room.filter(|&(_, level)| level > self.level) {
            return Some(self.step(level, used.option, &used.in_words()));
        }
        let by_room = || room.map(|(used, _)| (0.0, used.option, used.in_words()));
        let (over, option, line) = self.most_taken(&taken, elapsed_s).or_else(by_room)?;
        if over > 1.0 {
            self.calm_s = 0.0;
            if self.level == shed::MOST {
                return None;
            }
            if self.since_down_s < TOO_EARLY_S {
                self.needed_calm_s = (self.needed_calm_s * 2.0).min(MOST_CALM_S);
                self.since_down_s = f64::INFINITY;
            }
            return Some(self.step(self.level + 1, option, &line));
        }
        let least = room.map_or(shed::NOTHING, |(_, level)| level);
        let calm = if self.level >= shed::CONNECTIONS { CALM_BY_HALF } else { CALM };
        if self.level == shed::NOTHING && self.since_down_s > MOST_CALM_S {
            self.needed_calm_s = CALM_S;
        }
        if over >= calm || self.level <= least {
            self.calm_s = 0.0;
            return None;
        }
        self.calm_s += elapsed_s;
        if self.calm_s < self.needed_calm_s {
            return None;
        }
        self.since_down_s = 0.0;
        Some(self.step(self.level - 1, option, &line))
    }

    /// Of the limit that is nearest: how much of it is taken, the option's name, and both in words.
    fn most_taken(&self, taken: &Taken, elapsed_s: f64) -> Option<(f64, &'static str, String)> {
        let rate = taken.records as f64 / elapsed_s;
        let cpus = taken.cpu_s / elapsed_s;
        let of_rate = self.limits.rate.map(|limit| {
            let line = format!("{} events/s, of --max-rate {}", grouped(rate as u64), grouped(limit as u64));
            (rate / limit, "--max-rate", line)
        });
        let of_cpu = self.limits.cpus.map(|limit| {
            let line = format!("{:.1} % of a CPU, of --max-cpu {:.0}%", cpus * 100.0, limit * 100.0);
            (cpus / limit, "--max-cpu", line)
        });
        of_rate.into_iter().chain(of_cpu).max_by(|a, b| a.0.total_cmp(&b.0))
    }

    fn step(&mut self, level: u32, option: &'static str, taken: &str) -> Step {
        self.level = level;
        self.calm_s = 0.0;
        let line = format!("{taken}: from now on {}", in_words(level));
        Step { level, cause: cause(option), line }
    }
}

fn room_level(share: f64) -> u32 {
    ROOM.iter().find(|(from, _)| share >= *from).map_or(shed::NOTHING, |&(_, level)| level)
}

/// The option's name as a cause in rows of `loss`.
fn cause(option: &'static str) -> &'static str {
    match option {
        "--max-rate" => "max_rate",
        "--max-cpu" => "max_cpu",
        "--max-disk" => "max_disk",
        _ => "min_free_disk",
    }
}

/// What is recorded at a level.
fn in_words(level: u32) -> String {
    match level {
        shed::NOTHING => "everything is recorded".to_owned(),
        shed::CONTINUATIONS => "of data only heads are recorded".to_owned(),
        shed::HEADS => "data is recorded as lengths, without bytes".to_owned(),
        level => format!(
            "data of one in {} connections is recorded, as lengths",
            1_u32 << (level - shed::CONNECTIONS + 1)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(records: u64) -> Taken {
        Taken { elapsed: Duration::from_secs(1), records, ..Taken::default() }
    }

    fn of_rate(rate: f64) -> Shedding {
        Shedding::new(Limits { rate: Some(rate), cpus: None })
    }

    /// Levels after each second, of a host whose records halve with each level of connections.
    fn levels(shedding: &mut Shedding, offered: impl Iterator<Item = u64>) -> Vec<u32> {
        let mut level = shed::NOTHING;
        offered
            .map(|offered| {
                let halvings = (level + 1).saturating_sub(shed::CONNECTIONS);
                if let Some(step) = shedding.interval(second(offered >> halvings)) {
                    level = step.level;
                }
                level
            })
            .collect()
    }

    #[test]
    fn more_is_left_out_in_order_and_recorded_again() {
        let mut shedding = of_rate(1000.0);
        let offered = [900, 3500, 3500, 3500, 3500, 3500].into_iter().chain([100; 30]);
        let levels = levels(&mut shedding, offered);
        assert_eq!(levels[..6], [0, 1, 2, 3, 4, 4]);
        // Five calm seconds a level.
        assert_eq!(levels[6..].iter().position(|&level| level == 0), Some(19));
        assert!(levels[6..].windows(2).all(|pair| pair[1] == pair[0] || pair[1] + 1 == pair[0]));
    }

    #[test]
    fn a_level_that_does_not_hold_is_taken_back_less_and_less_often() {
        let mut shedding = of_rate(1000.0);
        // Whatever is left out of bytes, as many records come: calm at a level means over it at the one below.
        let mut level = 0;
        let mut steps = 0;
        for _ in 0..600 {
            let records = if level >= shed::CONTINUATIONS { 700 } else { 1100 };
            if let Some(step) = shedding.interval(second(records)) {
                level = step.level;
                steps += 1;
            }
        }
        assert!(steps < 20, "{steps} steps in ten minutes");
        assert!(shedding.needed_calm_s > 100.0);
    }

    #[test]
    fn no_level_beyond_the_last_and_none_without_a_limit() {
        let mut shedding = of_rate(1.0);
        let reached = levels(&mut shedding, std::iter::repeat_n(1 << 30, 40));
        assert_eq!(reached.last(), Some(&shed::MOST));
        assert_eq!(Shedding::new(Limits::default()).interval(second(u64::MAX)), None);
    }

    #[test]
    fn room_has_levels_of_its_own_and_what_is_freed_counts() {
        let mut shedding = Shedding::new(Limits::default());
        let mut used = |share: f64| {
            let room = Some(Used { share, option: "--min-free-disk", limit_bytes: 500 << 20 });
            shedding.interval(Taken { room, ..second(0) })
        };
        assert_eq!(used(0.5), None);
        let step = used(0.72).expect("a step");
        assert_eq!((step.level, step.cause), (shed::CONTINUATIONS, "min_free_disk"));
        assert_eq!(
            step.line,
            "72 % of the room, of --min-free-disk 500m: from now on of data only heads are recorded"
        );
        assert_eq!(used(0.99).expect("a step").level, shed::CONNECTIONS);
        assert!((0..20).all(|_| used(0.99).is_none()));
        let freed: Vec<u32> = (0..20).filter_map(|_| Some(used(0.1)?.level)).collect();
        assert_eq!(freed, [2, 1, 0]);
    }

    #[test]
    fn the_limit_that_is_nearest_is_named() {
        let mut shedding = Shedding::new(Limits { rate: Some(1000.0), cpus: Some(0.05) });
        let step = shedding.interval(Taken { cpu_s: 0.2, ..second(1200) }).expect("a step");
        assert_eq!(step.cause, "max_cpu");
        assert_eq!(
            step.line,
            "20.0 % of a CPU, of --max-cpu 5%: from now on of data only heads are recorded"
        );
    }
}
