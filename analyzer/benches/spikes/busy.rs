//! Busy hosts: what the default search finds beside the best of the searches at one scale, and false alarms.

use retrospan_analyzer::periodicity::comb::{Comb, search};
use retrospan_analyzer::periodicity::episodes::{self, Options};
use retrospan_analyzer::periodicity::null_models::{FalseAlarm, false_alarm};
use retrospan_analyzer::periodicity::scales::Scales;
use retrospan_testkit::series::busy::{Busy, make};
use retrospan_testkit::series::{Made, Scenario, Teeth};

use super::{SECOND_NS, grid, load, random, share, upper_bound};

/// Shortest periods of the searches at one scale, s.
const KNOBS: [f64; 4] = [10.0, 30.0, 90.0, 270.0];
const DEFAULT_S: f64 = 10.0;
const LEVEL: f64 = 0.01;

fn families() -> Vec<(&'static str, Busy)> {
    let of = |bursts: usize, stretches: usize| Busy { bursts, stretches, ..Busy::default() };
    let every = |period_s: f64, jitter: f64, bursts: usize, stretches: usize| {
        let busy = of(bursts, stretches);
        let combs = vec![Teeth { jitter, ..Teeth::every(period_s) }];
        Busy { scenario: Scenario { combs, ..busy.scenario.clone() }, ..busy }
    };
    vec![
        ("20 bursts, 4 slow stretches", of(20, 4)),
        ("35 bursts, 8 slow stretches", of(35, 8)),
        ("50 bursts, 12 slow stretches", of(50, 12)),
        ("50 bursts, 90 % of them in 6 slow stretches", Busy { crowded: 0.9, ..of(50, 6) }),
        ("20 bursts, 4 slow stretches, nothing fails", Busy { failing: false, ..of(20, 4) }),
        ("20 bursts, 4 slow stretches, jitter 2 %", every(600.0, 0.02, 20, 4)),
        ("35 bursts, 8 slow stretches, every 120 s", every(120.0, 0.005, 35, 8)),
    ]
}

/// The surest comb of several series with its probability, the series paid for.
fn surest(made: &[Made], test: impl Fn(&Made) -> Option<(Comb, FalseAlarm)>) -> Option<(Comb, f64)> {
    let tested = made.iter().filter_map(test).map(|(comb, alarm)| (comb, alarm.p * made.len() as f64));
    tested.min_by(|a, b| a.1.total_cmp(&b.1))
}

fn onsets_ns(made: &Made, options: &Options) -> Vec<f64> {
    episodes::find(&super::series(made), options).iter().map(|episode| episode.onset_ns as f64).collect()
}

fn by_default(busy: &Busy, made: &[Made]) -> Option<(Comb, f64)> {
    let grid = grid(&busy.scenario, DEFAULT_S);
    surest(made, |made| {
        let onsets = onsets_ns(made, &Options::new(grid.min_period_ns, grid.max_period_ns));
        let want = LEVEL / 3.0;
        Scales::search(&onsets, &grid).surest(&onsets, &load(made), 1, want)
    })
}

fn at_one_scale(busy: &Busy, made: &[Made], shortest_s: f64) -> Option<(Comb, f64)> {
    let grid = grid(&busy.scenario, shortest_s);
    // Episodes of that scale, too.
    let options =
        Options { min_period_ns: grid.min_period_ns, ..Options::new(grid.min_period_ns, grid.max_period_ns) };
    surest(made, |made| {
        let onsets = onsets_ns(made, &options);
        let comb = search(&onsets, &grid)?;
        let alarm = false_alarm(&onsets, &comb, &grid, &load(made), 1, LEVEL / 3.0);
        Some((comb, alarm))
    })
}

/// Found by default and by each search at one scale.
pub fn power(trials: usize, seed: u64) {
    println!("\n### Busy hosts: found at 1 % (T = 3600 s, {trials} trials)\n");
    let knobs = KNOBS.map(|knob| format!("one scale, {knob:.0} s"));
    println!("| family | default | best at one scale | {} |", knobs.join(" | "));
    println!("|---|---|---|{}", "---|".repeat(KNOBS.len()));
    for (row, (name, busy)) in families().iter().enumerate() {
        let period_ns = busy.scenario.combs[0].period_s * SECOND_NS;
        let right = |found: Option<(Comb, f64)>| {
            found.is_some_and(|(comb, p)| p <= LEVEL && (comb.period_ns / period_ns - 1.0).abs() < 0.05)
        };
        let (mut default, mut one) = (0, [0; KNOBS.len()]);
        for trial in 0..trials {
            let made = make(busy, &mut random(seed, 6, row, trial));
            default += usize::from(right(by_default(busy, &made)));
            for (count, &knob) in one.iter_mut().zip(&KNOBS) {
                *count += usize::from(right(at_one_scale(busy, &made, knob)));
            }
        }
        let best = one.iter().copied().max().unwrap_or_default();
        print!("| {name} | **{}** | {} |", share(default, trials), share(best, trials));
        one.iter().for_each(|&count| print!(" {} |", share(count, trials)));
        println!();
    }
}

/// Alarms by default where nothing is periodic.
pub fn alarms(trials: usize, seed: u64) {
    println!("\n### Busy hosts: false alarms at nominal 1 % (T = 3600 s, {trials} trials)\n");
    println!("| family, without spikes | at 1 % | upper 95 % bound | at 0.1 % |\n|---|---|---|---|");
    for (row, (name, busy)) in families().into_iter().take(5).enumerate() {
        let quiet = Busy { scenario: Scenario { combs: Vec::new(), ..busy.scenario.clone() }, ..busy };
        let (mut percent, mut thousandth) = (0, 0);
        for trial in 0..trials {
            let made = make(&quiet, &mut random(seed, 7, row, trial));
            let Some((_, p)) = by_default(&quiet, &made) else { continue };
            percent += usize::from(p <= LEVEL);
            thousandth += usize::from(p <= LEVEL / 10.0);
        }
        let rate = |count: usize| 100.0 * count as f64 / trials as f64;
        println!(
            "| {name} | {:.2} % | {:.2} % | {:.2} % |",
            rate(percent),
            100.0 * upper_bound(percent, trials),
            rate(thousandth)
        );
    }
}
