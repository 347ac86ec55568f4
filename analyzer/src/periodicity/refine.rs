//! What can be said about a comb once it is accepted: its period with an interval, jitter, clock, wall-clock boundary.

use super::comb::Comb;

/// A comb measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Refined {
    /// Period, by least squares of the hits on their teeth.
    pub period_ns: f64,
    /// Half the width of its 95 % interval.
    pub period_margin_ns: f64,
    /// Tooth 0, from the recording's begin.
    pub phase_ns: f64,
    /// Standard deviation of the hits around the line.
    pub jitter_ns: f64,
    /// What keeps the time.
    pub clock: Clock,
    /// Log-likelihood ratio of locked against free-running; small numbers tell little.
    pub clock_evidence: f64,
    /// Every tooth within the recording, in order.
    pub cycles: Vec<Cycle>,
}

/// What keeps the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Each tooth has its place: deviations do not add up.
    Locked,
    /// Each interval starts where the last ended: deviations add up.
    FreeRunning,
    /// The hits do not tell.
    Undecided,
}

/// One tooth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cycle {
    /// Number of the tooth, from 0.
    pub tooth: usize,
    /// Where it should be.
    pub expected_ns: f64,
    /// Index of the event; None for a miss.
    pub hit: Option<usize>,
}

/// A wall-clock boundary that the teeth are near.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Boundary {
    /// The boundary's own period.
    pub every_ns: i64,
    /// From the boundary to the tooth.
    pub offset_ns: f64,
    /// Chance of being as near to any of the boundaries looked at.
    pub chance: f64,
}

/// Evidence above which a clock is named, and the fewest hits for it.
const CLOCK_EVIDENCE: f64 = 2.0;
const CLOCK_HITS: usize = 10;
const SECOND_NS: i64 = 1_000_000_000;
/// Periods of wall-clock boundaries, s; those below a minute are for periods that are no multiple of one.
const BOUNDARIES_S: [i64; 6] = [3600, 1800, 900, 600, 300, 60];
const WITHIN_A_MINUTE_S: [i64; 7] = [30, 20, 15, 10, 5, 2, 1];

/// Measures a comb on the onsets it was found in.
pub fn refine(comb: &Comb, onsets_ns: &[f64], horizon_ns: i64, resolution_ns: i64) -> Refined {
    let points: Vec<(f64, f64)> =
        comb.hits.iter().map(|&(tooth, hit)| (tooth as f64, onsets_ns[hit])).collect();
    let n = points.len() as f64;
    let mean_j = points.iter().map(|point| point.0).sum::<f64>() / n;
    let mean_t = points.iter().map(|point| point.1).sum::<f64>() / n;
    let spread: f64 = points.iter().map(|point| (point.0 - mean_j).powi(2)).sum();
    let covariance: f64 = points.iter().map(|point| (point.0 - mean_j) * (point.1 - mean_t)).sum();
    let period_ns = if spread > 0.0 { covariance / spread } else { comb.period_ns };
    let phase_ns = mean_t - period_ns * mean_j;
    let squares: f64 = points.iter().map(|(j, t)| (t - phase_ns - j * period_ns).powi(2)).sum();
    // An onset is known no better than its resolution, however well a few of them fit.
    let known_ns = resolution_ns as f64 / 12.0f64.sqrt();
    let jitter_ns = (squares / (n - 2.0).max(1.0)).sqrt().max(known_ns);
    let period_margin_ns = t_quantile(n - 2.0) * jitter_ns / spread.max(1e-9).sqrt();
    let (clock, clock_evidence) = clock(&points, squares, known_ns);
    let cycles = cycles(comb, phase_ns, period_ns, horizon_ns as f64);
    Refined { period_ns, period_margin_ns, phase_ns, jitter_ns, clock, clock_evidence, cycles }
}

/// 97.5 % quantile of Student's t, by Cornish and Fisher's expansion; exact for one and two degrees of freedom.
pub fn t_quantile(freedom: f64) -> f64 {
    let z = 1.959_964f64;
    if freedom < 1.5 {
        return 12.706;
    }
    if freedom < 2.5 {
        return 4.303;
    }
    let v = freedom;
    let g1 = (z.powi(3) + z) / 4.0;
    let g2 = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let g3 = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    let g4 = (79.0 * z.powi(9) + 776.0 * z.powi(7) + 1482.0 * z.powi(5) - 1920.0 * z.powi(3) - 945.0 * z)
        / 92160.0;
    z + g1 / v + g2 / v.powi(2) + g3 / v.powi(3) + g4 / v.powi(4)
}

/// White residuals about a line, or intervals of their own? Both have three parameters, so likelihoods compare.
fn clock(points: &[(f64, f64)], squares: f64, known_ns: f64) -> (Clock, f64) {
    let n = points.len() as f64;
    let steps: Vec<(f64, f64)> =
        points.windows(2).map(|pair| (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1)).collect();
    let teeth: f64 = steps.iter().map(|step| step.0).sum();
    if points.len() < 4 || teeth <= 0.0 {
        return (Clock::Undecided, 0.0);
    }
    let mean = steps.iter().map(|step| step.1).sum::<f64>() / teeth;
    // Variance grows with the teeth between two hits; the resolution is in both ends of an interval.
    let walked = steps.iter().map(|(j, t)| (t - j * mean).powi(2) / j).sum::<f64>() / (n - 2.0);
    let walked = walked.max(2.0 * known_ns * known_ns);
    let locked = (squares / (n - 2.0)).max(known_ns * known_ns);
    let log_j: f64 = steps.iter().map(|step| step.0.ln()).sum();
    let free_log = -0.5 * ((n - 1.0) * walked.ln() + log_j);
    // The same n - 1 intervals under white residuals: a matrix with determinant n once the phase is integrated out.
    let locked_log = -0.5 * ((n - 1.0) * locked.ln() + n.ln());
    let evidence = locked_log - free_log;
    let named = points.len() >= CLOCK_HITS && evidence.abs() >= CLOCK_EVIDENCE;
    match (named, evidence > 0.0) {
        (false, _) => (Clock::Undecided, evidence),
        (true, true) => (Clock::Locked, evidence),
        (true, false) => (Clock::FreeRunning, evidence),
    }
}

/// Hits after which a clock that is undecided so far will probably be named: evidence grows with their number. None where
/// there is too little to go by.
pub fn hits_for_clock(hits: usize, evidence: f64) -> Option<usize> {
    if hits < CLOCK_HITS {
        return Some(CLOCK_HITS);
    }
    let needed = (hits as f64 * CLOCK_EVIDENCE / evidence.abs()).ceil();
    (needed <= 10.0 * hits as f64).then_some((needed as usize).max(hits + 1))
}

fn cycles(comb: &Comb, phase_ns: f64, period_ns: f64, horizon_ns: f64) -> Vec<Cycle> {
    let last = ((horizon_ns - phase_ns) / period_ns).floor().max(0.0) as usize;
    let last = comb.hits.last().map_or(last, |hit| hit.0.max(last));
    (0..=last)
        .map(|tooth| {
            let expected_ns = phase_ns + tooth as f64 * period_ns;
            let hit = comb.hits.iter().find(|hit| hit.0 == tooth).map(|hit| hit.1);
            Cycle { tooth, expected_ns, hit }
        })
        .filter(|cycle| cycle.hit.is_some() || (0.0..=horizon_ns).contains(&cycle.expected_ns))
        .collect()
}

/// The wall-clock boundary that the teeth keep near to, where the period is a multiple of it.
///
/// `tooth_utc_ns` is any tooth, since 1970; `margin_ns` what is not known of it (its standard error). Boundaries are those
/// of every hour, 30, 15, 10, 5 and 1 min; if the period is no multiple of a minute, those of every 30, 20, 15, 10, 5, 2 and
/// 1 s. None where the nearest is as near by chance more than once in twenty.
pub fn boundary(
    tooth_utc_ns: f64,
    period_ns: f64,
    period_margin_ns: f64,
    margin_ns: f64,
) -> Option<Boundary> {
    let divides = |every_ns: &i64| {
        let times = (period_ns / *every_ns as f64).round();
        times >= 1.0 && (period_ns - times * *every_ns as f64).abs() <= period_margin_ns
    };
    let of = |list: &[i64]| list.iter().map(|s| s * SECOND_NS).filter(divides).collect::<Vec<i64>>();
    let mut multiples = of(&BOUNDARIES_S);
    if multiples.is_empty() {
        multiples = of(&WITHIN_A_MINUTE_S);
        // A period known badly is a multiple of any short one.
        multiples.retain(|&every_ns| 10.0 * period_margin_ns <= every_ns as f64);
    }
    let tested = multiples.len() as f64;
    multiples
        .into_iter()
        .map(|every_ns| {
            let turns = tooth_utc_ns / every_ns as f64;
            let offset_ns = (turns - turns.round()) * every_ns as f64;
            let near_ns = offset_ns.abs().max(2.0 * margin_ns);
            let chance = (tested * 2.0 * near_ns / every_ns as f64).min(1.0);
            Boundary { every_ns, offset_ns, chance }
        })
        .min_by(|a, b| a.chance.total_cmp(&b.chance))
        .filter(|boundary| boundary.chance <= 0.05)
}

#[cfg(test)]
mod tests {
    use super::*;
    use retrospan_random::Random;

    fn comb(onsets: &[f64], period_ns: f64) -> Comb {
        Comb {
            period_ns,
            phase_ns: onsets[0],
            sigma_ns: 1e9,
            q: 1.0,
            llr: 0.0,
            score: 0.0,
            teeth: onsets.len(),
            hits: (0..onsets.len()).map(|index| (index, index)).collect(),
            gap_ns: 0,
        }
    }

    fn train(count: usize, jitter: f64, walks: bool, random: &mut Random) -> Vec<f64> {
        let mut at = 100.0;
        (0..count)
            .map(|tooth| {
                let deviation = jitter * 600.0 * random.normal();
                let onset = if walks { at } else { 100.0 + 600.0 * tooth as f64 + deviation };
                at += 600.0 + deviation;
                onset * 1e9
            })
            .collect()
    }

    #[test]
    fn the_interval_holds_the_period_nineteen_times_in_twenty() {
        let mut random = Random::new(5);
        let held = (0..1000)
            .filter(|_| {
                let onsets = train(6, 0.02, false, &mut random);
                let refined = refine(&comb(&onsets, 600e9), &onsets, 3_600_000_000_000, 1);
                (refined.period_ns - 600e9).abs() <= refined.period_margin_ns
            })
            .count();
        assert!((930..=970).contains(&held), "{held} of 1000");
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, quantile) in
            [(1.0, 12.706), (2.0, 4.303), (3.0, 3.182), (4.0, 2.776), (10.0, 2.228), (60.0, 2.000)]
        {
            assert!((t_quantile(freedom) - quantile).abs() < 0.03, "{freedom}: {}", t_quantile(freedom));
        }
    }

    #[test]
    fn a_locked_clock_is_told_from_a_free_running_one() {
        let mut random = Random::new(7);
        let mut named = |walks: bool, clock: Clock| {
            (0..200)
                .filter(|_| {
                    let onsets = train(30, 0.02, walks, &mut random);
                    refine(&comb(&onsets, 600e9), &onsets, 18_000_000_000_000, 1).clock == clock
                })
                .count()
        };
        assert!(named(false, Clock::Locked) > 180);
        assert!(named(true, Clock::FreeRunning) > 160);
        assert!(named(false, Clock::FreeRunning) < 6);
        assert!(named(true, Clock::Locked) < 12);
    }

    #[test]
    fn it_is_said_how_many_hits_would_name_the_clock() {
        assert_eq!(hits_for_clock(6, 1.9), Some(10));
        assert_eq!(hits_for_clock(12, -1.0), Some(24));
        assert_eq!(hits_for_clock(12, 1.999), Some(13));
        assert_eq!(hits_for_clock(12, 0.0), None);
    }

    #[test]
    fn misses_are_cycles_too() {
        let onsets = [100e9, 700e9, 1900e9];
        let mut comb = comb(&onsets, 600e9);
        comb.hits = vec![(0, 0), (1, 1), (3, 2)];
        let refined = refine(&comb, &onsets, 3_600_000_000_000, 100_000_000);
        let hits: Vec<Option<usize>> = refined.cycles.iter().map(|cycle| cycle.hit).collect();
        assert_eq!(hits, [Some(0), Some(1), None, Some(2), None, None]);
    }

    #[test]
    fn teeth_at_ten_past_are_near_a_boundary_and_others_are_not() {
        let hour = 1_700_000_400.0e9; // a multiple of 600 s
        let near = boundary(hour + 1e9, 600e9, 2e9, 0.1e9).expect("a boundary");
        assert_eq!(near.every_ns, 600 * SECOND_NS);
        assert!((near.offset_ns - 1e9).abs() < 1e3 && near.chance < 0.02, "{near:?}");
        assert_eq!(boundary(hour + 137e9, 600e9, 2e9, 0.1e9), None);
        assert_eq!(boundary(hour, 613.4e9, 0.1e9, 0.01e9), None, "no multiple of a second");
    }

    #[test]
    fn teeth_at_quarters_of_a_minute_are_near_them() {
        let minute = 1_700_000_400.0e9;
        let near = boundary(minute + 15.02e9, 15e9, 1e6, 1e7).expect("a boundary");
        assert_eq!(near.every_ns, 15 * SECOND_NS);
        assert!((near.offset_ns - 2e7).abs() < 1e3 && near.chance < 0.02, "{near:?}");
        assert_eq!(boundary(minute + 3.3e9, 15e9, 1e6, 1e8), None);
        // A period of a minute and a half keeps to :00 and :30.
        assert_eq!(boundary(minute + 30e9, 90e9, 1e6, 1e7).map(|b| b.every_ns), Some(30 * SECOND_NS));
    }
}
