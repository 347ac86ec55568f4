use super::*;
use crate::periodicity::null_models::uniform;
use retrospan_random::Random;

const SECOND: f64 = 1e9;

fn grid(horizon_s: f64, min_period_s: f64) -> Grid {
    Grid::new((horizon_s * SECOND) as i64, (min_period_s * SECOND) as i64, SECOND as i64 / 10)
}

fn train(period_s: f64, count: usize, jitter: f64, random: &mut Random) -> Vec<f64> {
    let onset =
        |tooth| (0.3 * period_s + period_s * tooth as f64 + jitter * period_s * random.normal()) * SECOND;
    (0..count).map(onset).collect()
}

#[test]
fn a_clean_train_is_found_at_every_scale_with_its_own_period() {
    let mut random = Random::new(1);
    for (period_s, count, min_s) in [
        (5.0, 8, 2.0),
        (20.0, 6, 5.0),
        (600.0, 6, 60.0),
        (3600.0, 6, 60.0),
        (5.0, 720, 2.5),
        (60.0, 60, 10.0),
    ] {
        let grid = grid(period_s * count as f64, min_s);
        for jitter in [0.0, 0.01, 0.02] {
            let onsets = train(period_s, count, jitter, &mut random);
            let comb = search(&onsets, &grid).expect("a comb");
            let error = comb.period_ns / (period_s * SECOND) - 1.0;
            assert!(error.abs() < 0.02, "{period_s} s, {count} cycles, jitter {jitter}: {comb:?}");
            assert_eq!(comb.teeth, count, "{period_s} s, jitter {jitter}");
            assert!(comb.hits.len() * 100 >= count * 98, "{} of {count}", comb.hits.len());
            assert!(comb.hits.iter().all(|&(tooth, event)| tooth == event));
        }
    }
}

#[test]
fn pieces_of_a_spike_are_one_event_at_the_scale_of_its_period() {
    let onsets: Vec<f64> = (0..6)
        .flat_map(|tooth| [0.0, 7.0, 31.0].map(|piece| (100.0 + 600.0 * f64::from(tooth) + piece) * SECOND))
        .collect();
    let comb = search(&onsets, &grid(3600.0, 60.0)).expect("a comb");
    assert!((comb.period_ns / (600.0 * SECOND) - 1.0).abs() < 0.01);
    let first_pieces: Vec<usize> = comb.hits.iter().map(|hit| hit.1).collect();
    assert_eq!(first_pieces, [0, 3, 6, 9, 12, 15]);
}

#[test]
fn missing_cycles_and_strangers_do_not_hide_the_period() {
    let at = [100.0, 350.0, 700.0, 1300.0, 2143.0, 2500.0, 3100.0].map(|s| s * SECOND);
    let comb = search(&at, &grid(3600.0, 60.0)).expect("a comb");
    assert!((comb.period_ns / (600.0 * SECOND) - 1.0).abs() < 0.005, "{comb:?}");
    assert_eq!((comb.hits.len(), comb.teeth), (5, 6));
    assert_eq!(comb.hits.iter().map(|hit| hit.0).collect::<Vec<_>>(), [0, 1, 2, 4, 5]);
}

#[test]
fn a_period_beyond_the_range_is_not_one_of_the_range() {
    let onsets = train(60.0, 10, 0.0001, &mut Random::new(3));
    let asked = |from_s: f64, to_s: f64| {
        let asked = Grid { max_period_ns: (to_s * SECOND) as i64, ..grid(600.0, from_s) };
        let comb = search(&onsets, &asked)?;
        // Any onsets lie on some comb; few of these on one that is wrong.
        (comb.hits.len() > 5).then(|| (comb.period_ns / SECOND * 10.0).round() / 10.0)
    };
    assert_eq!(asked(50.0, 100.0), Some(60.0));
    assert_eq!(asked(50.0, 60.0), Some(60.0), "a period at the end of the range");
    assert_eq!(asked(50.0, 59.5), None);
    assert_eq!(asked(60.4, 100.0), None);
    assert_eq!(asked(20.0, 59.5), Some(30.0), "at every second tooth");
}

#[test]
fn nothing_is_found_in_too_little() {
    let grid = grid(3600.0, 60.0);
    assert_eq!(search(&[], &grid), None);
    assert_eq!(search(&[1e9, 600e9], &grid), None);
    assert_eq!(search(&[1e9, 2e9, 3e9, 4e9], &grid), None, "one event at the scale of the periods searched");
    let short = Grid { horizon_ns: 0, ..grid };
    assert_eq!(search(&[1e9, 600e9, 1200e9], &short), None);
}

/// Likelihood ratios that random events reach once in a hundred, as simulated independently of this code with onsets
/// of 1 s, at least 10 s apart, periods from 60 s, T = 3600 s. Refitting the period gains a nat or two on those.
#[test]
fn the_plain_likelihood_ratio_has_the_known_thresholds() {
    let plain = Grid {
        resolution_ns: 1_000_000_000,
        gap_ns: 10_000_000_000,
        max_period_ns: 1_800_000_000_000,
        min_share: 0.0,
        prior_weight: 0.0,
        widest: 0.08,
        ..grid(3600.0, 60.0)
    };
    for (count, threshold) in [(3, 13.4), (4, 13.8), (6, 14.4)] {
        let mut random = Random::new(count as u64);
        let mut ratios: Vec<f64> = (0..400)
            .filter_map(|_| search(&uniform(count, &plain, &mut random), &plain))
            .map(|comb| comb.score)
            .collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let reached = ratios[ratios.len() * 99 / 100];
        assert!((-0.6..2.5).contains(&(reached - threshold)), "{count} events: {reached} of {threshold}");
    }
}
