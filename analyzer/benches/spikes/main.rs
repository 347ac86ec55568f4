//! How often periodic spikes are found, and how often where there are none.
//!
//!     cargo bench --profile dev --bench spikes -- [--trials N] [--seed N] [power] [cycles] [alarms] [factors] [busy]
//!         [busy-alarms] [speed] [--spans FILE]
//!
//! Makes series, finds episodes, searches combs, asks for the false-alarm probability; prints Markdown tables. Without a
//! table's name all are printed. With a file of client spans the default search of those alone.

mod baselines;
mod binning;
mod busy;
mod recorded;

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Instant;

use retrospan_analyzer::periodicity::comb::{Comb, Grid, merged};
use retrospan_analyzer::periodicity::episodes::{self, Options};
use retrospan_analyzer::periodicity::null_models::{FalseAlarm, uniform};
use retrospan_analyzer::periodicity::scales::Scales;
use retrospan_analyzer::periodicity::{Episode, Series, prewhiten};
use retrospan_random::Random;
use retrospan_testkit::series::{Bins, Load, Made, Ordinary, Scenario, Shape, Teeth, Unrelated, make};

const SECOND_NS: f64 = 1e9;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (mut trials, mut seed, mut tables) = (500usize, 1u64, Vec::new());
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|value| value.parse::<u64>().ok());
        match argument.as_str() {
            "--trials" => match number() {
                Some(value) => trials = value as usize,
                None => return usage(),
            },
            "--seed" => match number() {
                Some(value) => seed = value,
                None => return usage(),
            },
            "--spans" => match arguments.next() {
                Some(path) => {
                    recorded::table(&path);
                    return ExitCode::SUCCESS;
                }
                None => return usage(),
            },
            "power" | "cycles" | "alarms" | "factors" | "busy" | "busy-alarms" | "speed" => {
                tables.push(argument)
            }
            _ => return usage(),
        }
    }
    let wanted = |table: &str| tables.is_empty() || tables.iter().any(|name| name == table);
    for (name, table) in [
        ("power", power as fn(usize, u64)),
        ("cycles", cycles),
        ("alarms", alarms),
        ("busy", busy::power),
        ("busy-alarms", busy::alarms),
        ("factors", factors),
        ("speed", speed),
    ] {
        if wanted(name) {
            table(trials, seed);
        }
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!(
        "spikes: [--trials N] [--seed N] [power] [cycles] [alarms] [factors] [busy] [busy-alarms] [speed] [--spans FILE]"
    );
    ExitCode::from(2)
}

/// What the whole way from a series to a probability gives.
struct Outcome {
    episodes: Vec<Episode>,
    onsets_ns: Vec<f64>,
    best: Option<(Comb, FalseAlarm)>,
}

fn grid(scenario: &Scenario, min_period_s: f64) -> Grid {
    Grid::new(
        (scenario.horizon_s * SECOND_NS) as i64,
        (min_period_s * SECOND_NS) as i64,
        (scenario.bin_s * SECOND_NS) as i64,
    )
}

/// A made series as the search takes it.
fn series(made: &Made) -> Series {
    let Bins { bin_ns, total, bad, excess_ns } = made.series.clone();
    Series { bin_ns, total, bad, excess_ns, lossy: Vec::new() }
}

fn look(made: &Made, grid: &Grid, want: f64, seed: u64) -> Outcome {
    let options = Options::new(grid.min_period_ns, grid.max_period_ns);
    let episodes = episodes::find(&series(made), &options);
    let onsets_ns: Vec<f64> = episodes.iter().map(|episode| episode.onset_ns as f64).collect();
    let best = Scales::search(&onsets_ns, grid).surest(&onsets_ns, &load(made), seed, want);
    Outcome { episodes, onsets_ns, best }
}

fn load(made: &Made) -> Vec<f64> {
    let stretch = made.series.total.len().div_ceil(720);
    let sums = made.series.total.chunks(stretch).map(|bins| bins.iter().map(|&n| f64::from(n)).sum());
    sums.collect()
}

fn random(seed: u64, table: u64, row: usize, trial: usize) -> Random {
    Random::new(seed ^ (table << 56) ^ ((row as u64) << 40) ^ trial as u64)
}

/// Scenarios of an hour with a period of 600 s.
fn scenarios() -> Vec<(&'static str, Scenario)> {
    let with = |jitter: f64, missing: f64, extras: usize, free_running: bool| Scenario {
        combs: vec![Teeth { jitter, missing, free_running, ..Teeth::every(600.0) }],
        unrelated: if extras > 0 { vec![Unrelated::Number(extras)] } else { vec![] },
        ..Scenario::default()
    };
    vec![
        ("exact", with(0.0, 0.0, 0, false)),
        ("jitter 1 %", with(0.01, 0.0, 0, false)),
        ("jitter 3 %", with(0.03, 0.0, 0, false)),
        ("jitter 5 %", with(0.05, 0.0, 0, false)),
        ("jitter 10 %", with(0.10, 0.0, 0, false)),
        ("interval jitter 3 %", with(0.03, 0.0, 0, true)),
        ("interval jitter 5 %", with(0.05, 0.0, 0, true)),
        ("jitter 1 %, 20 % of cycles missing", with(0.01, 0.2, 0, false)),
        ("jitter 1 %, 2 unrelated bursts", with(0.01, 0.0, 2, false)),
        ("jitter 1 %, 5 unrelated bursts", with(0.01, 0.0, 5, false)),
        ("20 % missing and 2 unrelated", with(0.01, 0.2, 2, false)),
    ]
}

/// Baselines' 99 % quantiles under random bursts, by their number.
struct Thresholds {
    trials: usize,
    seed: u64,
    known: HashMap<usize, [f64; 6]>,
}

impl Thresholds {
    fn of(&mut self, bursts: usize) -> [f64; 6] {
        *self.known.entry(bursts).or_insert_with(|| {
            let mut drawn: [Vec<f64>; 6] = Default::default();
            for trial in 0..self.trials {
                let mut random = random(self.seed, 9, bursts, trial);
                let scenario = Scenario { unrelated: vec![Unrelated::Number(bursts)], ..Scenario::default() };
                let made = make(&scenario, &mut random);
                let onsets: Vec<f64> = made.bursts_s.clone();
                let peaks = baselines::all(&series(&made), &onsets, 60.0, 3600.0 / 2.9);
                drawn.iter_mut().zip(peaks).for_each(|(drawn, peak)| drawn.push(peak.0));
            }
            drawn.map(|mut drawn| {
                drawn.sort_unstable_by(f64::total_cmp);
                drawn[(drawn.len() * 99 / 100).min(drawn.len() - 1)]
            })
        })
    }
}

fn power(trials: usize, seed: u64) {
    println!("\n### Power at a false-alarm probability of 1 % (T = 3600 s, P = 600 s, {trials} trials)\n");
    println!("| scenario | comb | wrong period | period within 1 % | {} |", baselines::NAMES.join(" | "));
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut thresholds = Thresholds { trials: 1000, seed, known: HashMap::new() };
    for (row, (name, scenario)) in scenarios().iter().enumerate() {
        let grid = grid(scenario, 60.0);
        let (mut right, mut wrong, mut near) = (0, 0, 0);
        let mut others = [0; 6];
        for trial in 0..trials {
            let made = make(scenario, &mut random(seed, 1, row, trial));
            let outcome = look(&made, &grid, 0.01, trial as u64);
            if let Some((comb, alarm)) = &outcome.best
                && alarm.p <= 0.01
            {
                let off = (comb.period_ns / (600.0 * SECOND_NS) - 1.0).abs();
                right += usize::from(off < 0.05);
                wrong += usize::from(off >= 0.05);
                near += usize::from(off < 0.01);
            }
            let onsets: Vec<f64> = outcome.onsets_ns.iter().map(|onset| onset / SECOND_NS).collect();
            let thresholds = thresholds.of(onsets.len());
            let peaks = baselines::all(&series(&made), &onsets, 60.0, 3600.0 / 2.9);
            for (count, (peak, threshold)) in others.iter_mut().zip(peaks.iter().zip(thresholds)) {
                *count += usize::from(peak.0 > threshold && (peak.1 / 600.0 - 1.0).abs() < 0.05);
            }
        }
        let near = format!("{:.1}", 100.0 * near as f64 / (right.max(1)) as f64);
        print!("| {name} | **{}** | {} | {near} |", share(right, trials), share(wrong, trials));
        others.iter().for_each(|&count| print!(" {} |", share(count, trials)));
        println!();
    }
}

fn cycles(trials: usize, seed: u64) {
    println!("\n### Power by number of cycles, at 1 % / 0.1 % (P = 600 s, {trials} trials)\n");
    let counts = [3, 4, 5, 6, 8, 12];
    println!("| jitter | {} |", counts.map(|count| count.to_string()).join(" | "));
    println!("|---|{}", "---|".repeat(counts.len()));
    for (row, jitter) in [0.01, 0.03, 0.05, 0.10].into_iter().enumerate() {
        print!("| {:.0} % |", 100.0 * jitter);
        for count in counts {
            let scenario = Scenario {
                horizon_s: 600.0 * count as f64,
                combs: vec![Teeth { jitter, ..Teeth::every(600.0) }],
                ..Scenario::default()
            };
            let grid = grid(&scenario, 60.0);
            let (mut percent, mut thousandth) = (0, 0);
            for trial in 0..trials {
                let made = make(&scenario, &mut random(seed, 2, row * 100 + count, trial));
                let Some((comb, alarm)) = look(&made, &grid, 0.001, trial as u64).best else { continue };
                let right = (comb.period_ns / (600.0 * SECOND_NS) - 1.0).abs() < 0.05;
                percent += usize::from(right && alarm.p <= 0.01);
                thousandth += usize::from(right && alarm.p <= 0.001);
            }
            print!(" {} / {} |", share(percent, trials), share(thousandth, trials));
        }
        println!();
    }
}

/// Families without a period.
fn families() -> Vec<(&'static str, Scenario)> {
    let bursts = |unrelated: Unrelated| Scenario { unrelated: vec![unrelated], ..Scenario::default() };
    let loaded = |load: Load| Scenario { load, ..bursts(Unrelated::WithLoad(6)) };
    let calm = |ordinary: Ordinary| Scenario { ordinary, ..Scenario::default() };
    vec![
        ("six bursts anywhere", bursts(Unrelated::Number(6))),
        ("Poisson bursts, 8 on average", bursts(Unrelated::Poisson(8.0))),
        ("Poisson bursts, 20 on average", bursts(Unrelated::Poisson(20.0))),
        ("three pairs 15 to 75 s apart (clustered)", bursts(Unrelated::Pairs(3))),
        ("Hawkes (clustered)", bursts(Unrelated::Hawkes(8.0))),
        ("gamma renewal, shape 4", bursts(Unrelated::Renewal(600.0, 4.0))),
        ("gamma renewal, shape 2", bursts(Unrelated::Renewal(450.0, 2.0))),
        ("in proportion to a 5x ramp", loaded(Load::Ramp)),
        ("in proportion to a diurnal load", loaded(Load::Diurnal)),
        ("in proportion to ON/OFF load", loaded(Load::OnOff(200.0))),
        ("heavy-tailed latency, no bursts", calm(Ordinary::HeavyTail(3.0))),
        (
            "one huge burst and five others",
            Scenario { unrelated: vec![Unrelated::Huge, Unrelated::Number(5)], ..Scenario::default() },
        ),
        ("red noise, 60 s", calm(Ordinary::Red(60.0, 2.0))),
        ("red noise, 10 s", calm(Ordinary::Red(10.0, 2.0))),
        (
            "step change, 20x, and six bursts",
            Scenario { ordinary: Ordinary::Step(20.0), ..bursts(Unrelated::Number(6)) },
        ),
    ]
}

fn alarms(trials: usize, seed: u64) {
    println!("\n### False alarms at nominal 1 % (T = 3600 s, {trials} trials)\n");
    println!("| family | episodes | at 1 % | upper 95 % bound | at 0.1 % |");
    println!("|---|---|---|---|---|");
    for (row, (name, scenario)) in families().iter().enumerate() {
        let grid = grid(scenario, 60.0);
        let (mut percent, mut thousandth, mut episodes) = (0, 0, 0);
        for trial in 0..trials {
            let made = make(scenario, &mut random(seed, 3, row, trial));
            let outcome = look(&made, &grid, 0.01, trial as u64);
            episodes += outcome.episodes.len();
            if let Some((_, alarm)) = outcome.best {
                percent += usize::from(alarm.p <= 0.01);
                thousandth += usize::from(alarm.p <= 0.001);
            }
        }
        let rate = |count: usize| 100.0 * count as f64 / trials as f64;
        println!(
            "| {name} | {:.1} | {:.2} % | {:.2} % | {:.2} % |",
            episodes as f64 / trials as f64,
            rate(percent),
            100.0 * upper_bound(percent, trials),
            rate(thousandth)
        );
    }
}

/// One-sided upper 95 % bound of a share (Wilson).
fn upper_bound(count: usize, trials: usize) -> f64 {
    let (n, z) = (trials as f64, 1.645);
    let p = count as f64 / n;
    (p + z * z / (2.0 * n) + z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt()) / (1.0 + z * z / n)
}

/// One factor changed at a time.
fn factor_rows() -> Vec<(String, Scenario, f64)> {
    let comb = |period_s: f64| vec![Teeth { jitter: 0.01, ..Teeth::every(period_s) }];
    let base = Scenario { combs: comb(600.0), ..Scenario::default() };
    let mut rows: Vec<(String, Scenario, f64)> = Vec::new();
    let mut add = |name: &str, scenario: Scenario, min_s: f64| rows.push((name.to_owned(), scenario, min_s));
    add("base: 10/s, 5 s, 80 %, 1 % jitter", base.clone(), 60.0);
    for (rate, bin_s) in [(1.0, 0.2), (100.0, 0.2), (10_000.0, 0.2)] {
        add(&format!("{rate}/s"), Scenario { rate, bin_s, ..base.clone() }, 60.0);
    }
    for share in [0.001, 0.01, 0.1, 1.0] {
        let scenario = Scenario { rate: 1000.0, share, ..base.clone() };
        add(&format!("1000/s, {} % affected", 100.0 * share), scenario, 60.0);
    }
    for (name, load) in [("diurnal", Load::Diurnal), ("5x ramp", Load::Ramp), ("ON/OFF", Load::OnOff(200.0))]
    {
        add(name, Scenario { load, ..base.clone() }, 60.0);
    }
    add("ramp of 20 s", Scenario { shape: Shape::Ramp, width_s: 20.0, ..base.clone() }, 60.0);
    add(
        "freeze of 1 s, 100/s",
        Scenario { shape: Shape::Freeze, width_s: 1.0, rate: 100.0, share: 1.0, ..base.clone() },
        60.0,
    );
    add("box of 60 s", Scenario { width_s: 60.0, ..base.clone() }, 60.0);
    add("heavy-tailed", Scenario { ordinary: Ordinary::HeavyTail(3.0), ..base.clone() }, 60.0);
    add("red noise, 60 s", Scenario { ordinary: Ordinary::Red(60.0, 1.2), ..base.clone() }, 60.0);
    add(
        "drift 2 %",
        Scenario { combs: vec![Teeth { drift: 0.02, ..Teeth::every(600.0) }], ..base.clone() },
        60.0,
    );
    let short = |horizon_s: f64, period_s: f64, width_s: f64, rate: f64| Scenario {
        horizon_s,
        width_s,
        rate,
        bin_s: 0.1,
        combs: comb(period_s),
        ..Scenario::default()
    };
    add("T = 60 s, P = 5 s, 1 s, 100/s", short(60.0, 5.0, 1.0, 100.0), 2.5);
    add("T = 900 s, P = 20 s, 1 s, 100/s", short(900.0, 20.0, 1.0, 100.0), 10.0);
    add("T = 900 s, P = 60 s, 1 s, 100/s", short(900.0, 60.0, 1.0, 100.0), 10.0);
    add("T = 6 h, P = 1 h, 10 s, 10/s", Scenario { bin_s: 1.0, ..short(21_600.0, 3600.0, 10.0, 10.0) }, 60.0);
    add(
        "T = 6 h, P = 600 s, 10 s, 10/s",
        Scenario { bin_s: 1.0, ..short(21_600.0, 600.0, 10.0, 10.0) },
        60.0,
    );
    rows
}

fn factors(trials: usize, seed: u64) {
    let trials = trials.div_ceil(5);
    println!("\n### One factor at a time, at 1 % ({trials} trials)\n");
    println!(
        "| changed | found | wrong period | period error, median | episodes: precision / recall | affected: median error |"
    );
    println!("|---|---|---|---|---|---|");
    for (row, (name, scenario, min_s)) in factor_rows().iter().enumerate() {
        let (mut right, mut wrong) = (0, 0);
        let (mut true_episodes, mut found_episodes, mut matched) = (0, 0, 0);
        let (mut period_errors, mut affected_errors) = (Vec::new(), Vec::new());
        let period_ns = scenario.combs[0].period_s * SECOND_NS;
        for trial in 0..trials {
            let made = make(scenario, &mut random(seed, 4, row, trial));
            let outcome = look(&made, &grid(scenario, *min_s), 0.01, trial as u64);
            if let Some((comb, alarm)) = &outcome.best
                && alarm.p <= 0.01
            {
                let off = (comb.period_ns / period_ns - 1.0).abs();
                right += usize::from(off < 0.05);
                wrong += usize::from(off >= 0.05);
                period_errors.push(off);
            }
            let spikes = &made.spikes_s[0];
            true_episodes += spikes.len();
            found_episodes += outcome.episodes.len();
            let near = |episode: &Episode, at: f64| {
                episode.onset_ns as f64 / SECOND_NS <= at + scenario.width_s
                    && episode.end_ns as f64 / SECOND_NS >= at - scenario.bin_s
            };
            matched += spikes.iter().filter(|&&at| outcome.episodes.iter().any(|e| near(e, at))).count();
            let affected: f64 = outcome.episodes.iter().map(|episode| episode.affected).sum();
            affected_errors.push((affected / made.affected.max(1) as f64 - 1.0).abs());
        }
        println!(
            "| {name} | {} | {} | {:.2} % | {:.2} / {:.2} | {:.1} % |",
            share(right, trials),
            share(wrong, trials),
            100.0 * median(period_errors),
            (matched as f64 / found_episodes.max(1) as f64).min(1.0),
            matched as f64 / true_episodes.max(1) as f64,
            100.0 * median(affected_errors)
        );
    }
    several(trials, seed);
}

/// Two and three periods at once.
fn several(trials: usize, seed: u64) {
    println!("\n### Several periods, all of them found at 1 % (T = 2 h, jitter 1 %, {trials} trials)\n");
    println!("| periods, s | all found | something else found |\n|---|---|---|");
    for (row, periods) in
        [vec![600.0, 420.0], vec![600.0, 300.0], vec![600.0, 400.0], vec![900.0, 500.0, 330.0]]
            .into_iter()
            .enumerate()
    {
        let combs = periods.iter().map(|&period| Teeth { jitter: 0.01, ..Teeth::every(period) }).collect();
        let scenario = Scenario { horizon_s: 7200.0, combs, ..Scenario::default() };
        let grid = grid(&scenario, 60.0);
        let (mut all, mut other) = (0, 0);
        for trial in 0..trials {
            let made = make(&scenario, &mut random(seed, 5, row, trial));
            let outcome = look(&made, &grid, 0.01, 1);
            let found = prewhiten::all(&outcome.onsets_ns, &grid, &load(&made), 1, 0.01).found;
            let is = |found: f64, period: f64| (found / (period * SECOND_NS) - 1.0).abs() < 0.02;
            let has = |&period: &f64| found.iter().any(|found| is(found.comb.period_ns, period));
            all += usize::from(periods.iter().all(has));
            let none =
                |found: &prewhiten::Found| !periods.iter().any(|&period| is(found.comb.period_ns, period));
            other += usize::from(found.iter().any(none));
        }
        println!("| {periods:?} | {} | {} |", share(all, trials), share(other, trials));
    }
}

fn speed(_: usize, seed: u64) {
    println!("\n### Speed, one core unless said\n\n| what | time |\n|---|---|");
    let grid = grid(&Scenario::default(), 60.0);
    for most in [6, 10] {
        let mut random = Random::new(seed);
        let streams: Vec<Vec<f64>> = (0..1000)
            .map(|index| uniform(if most == 10 { 10 } else { 3 + index % 8 }, &grid, &mut random))
            .collect();
        let begin = Instant::now();
        let combs = streams.iter().flat_map(|onsets| Scales::search(onsets, &grid).combs);
        let best = combs.fold(0.0f64, |best, scaled| best.max(scaled.comb.score));
        let kept: usize = streams.iter().map(|onsets| merged(onsets, grid.gap_ns).len()).sum();
        println!(
            "| 1,000 streams of an hour, {} onsets in all, 60 s to T/2.9 (best score {best:.1}) | {:.2} s |",
            kept,
            begin.elapsed().as_secs_f64()
        );
    }
    let scenario = Scenario { bin_s: 0.1, rate: 100.0, ..Scenario::default() };
    let made = make(&scenario, &mut Random::new(seed));
    let options = Options::new(grid.min_period_ns, grid.max_period_ns);
    let begin = Instant::now();
    let mut found = 0;
    for _ in 0..20 {
        found += episodes::find(&series(&made), &options).len();
    }
    println!(
        "| episodes of one stream of an hour in bins of 100 ms ({found} found) | {:.1} ms |",
        begin.elapsed().as_secs_f64() * 1e3 / 20.0
    );
    binning::table();
}

fn share(count: usize, of: usize) -> String {
    format!("{:.1}", 100.0 * count as f64 / of.max(1) as f64)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
