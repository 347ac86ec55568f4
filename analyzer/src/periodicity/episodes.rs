//! Episodes: the stretches of a series that have more bad requests than its ordinary share makes likely.
//!
//! A window of bins is worth its binomial log-likelihood ratio (Kulldorff 1997) over the local ordinary share, divided by the
//! overdispersion, less a price that pays for the number of windows. The disjoint windows with the largest sum are
//! the episodes; a dynamic program finds them, so that one wide window never swallows several short spikes. What was
//! found is left out of the ordinary share, and the search is repeated.

mod counts;

use super::{Episode, Series};
use counts::{Counts, Local};

/// What is looked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Shortest period that matters: pieces closer than an eighth of it are one episode.
    pub min_period_ns: i64,
    /// Longest period that will be searched: sets how far the ordinary share is averaged, and the widest window.
    pub max_period_ns: i64,
    /// False episodes accepted in a series.
    pub false_episodes: f64,
}

impl Options {
    /// The usual options for a range of periods. Episodes are as fine as they are by default where only longer periods are
    /// looked for: what belongs together at their scale is joined there (`scales`).
    pub fn new(min_period_ns: i64, max_period_ns: i64) -> Self {
        Self { min_period_ns: min_period_ns.min(USUAL_NS), max_period_ns, false_episodes: 0.2 }
    }

    /// Half of what the ordinary share is averaged over, in bins.
    fn span(&self, bin_ns: i64) -> usize {
        let bins = |ns: i64| (ns / bin_ns).max(1) as usize;
        bins((self.max_period_ns / 2).clamp(30 * SECOND_NS, 600 * SECOND_NS))
    }

    /// Widths of windows, in bins.
    fn widths(&self, bin_ns: i64) -> Vec<usize> {
        let widest = (self.max_period_ns / 5).min(60 * SECOND_NS) / bin_ns;
        let steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
        steps.into_iter().filter(|&width| width == 1 || width as i64 <= widest).collect()
    }
}

const SECOND_NS: i64 = 1_000_000_000;
/// Shortest period looked for unless shorter ones are asked for.
const USUAL_NS: i64 = 10 * SECOND_NS;
/// Passes: each leaves out what the one before found.
const PASSES: usize = 5;
/// Completions beyond the ordinary that end a freeze, as a log-likelihood ratio.
const BURST: f64 = 3.0;

/// Episodes of bad requests, in order of time.
pub fn find(series: &Series, options: &Options) -> Vec<Episode> {
    let counts = Counts::new(series);
    if counts.bins == 0 || counts.bad(0, counts.bins) == 0.0 {
        return Vec::new();
    }
    let (span, widths) = (options.span(series.bin_ns), options.widths(series.bin_ns));
    let price = price(&counts, &widths, options);
    let quarter = (options.min_period_ns / 4 / series.bin_ns).max(1) as usize;
    let mut ordinary = counts.first_share(span, quarter);
    let mut phi = 1.0;
    let mut windows = Vec::new();
    for pass in 0..PASSES {
        let next = disjoint(counts.bins, &widths, price * phi, |from, to| {
            let bad = counts.bad(from, to);
            if bad == 0.0 {
                0.0
            } else {
                binomial_gain(bad, counts.total(from, to), ordinary.at((from + to) / 2))
            }
        });
        let same = pass > 0 && next == windows;
        windows = next;
        if same {
            break;
        }
        let outside = counts.without(&windows);
        ordinary = counts.share_of(&outside, span);
        // From below: what is too irregular to be told from an episode comes back, and raises it.
        phi = outside.overdispersion(&ordinary, quarter).max(phi);
    }
    let found =
        windows.into_iter().filter_map(|window| episode(series, &counts, &ordinary, window)).collect();
    merge(found, options.min_period_ns / 8)
}

/// Stretches in which requests complete less often than the local rate makes likely, each ended by a burst: a freeze.
///
/// `total` of the series counts completions. `affected` of an episode is what should have completed in it.
pub fn find_missing(series: &Series, options: &Options) -> Vec<Episode> {
    let counts = Counts::new(series);
    if counts.bins == 0 {
        return Vec::new();
    }
    let (span, widths) = (options.span(series.bin_ns), options.widths(series.bin_ns));
    let price = price(&counts, &widths, options);
    let quarter = (options.min_period_ns / 4 / series.bin_ns).max(1) as usize;
    let rate = counts.rate(span, quarter);
    let phi = counts.dispersion_of_rate(&rate, quarter);
    let windows = disjoint(counts.bins, &widths, price * phi, |from, to| {
        poisson_gain(counts.total(from, to), rate.at((from + to) / 2) * (to - from) as f64, false)
    });
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for (from, to) in windows {
        match joined.last_mut() {
            Some(last) if from - last.1 <= 1 => last.1 = to,
            _ => joined.push((from, to)),
        }
    }
    let found = joined.into_iter().filter_map(|(from, to)| {
        let until = (to + ((to - from) / 2).max(2)).min(counts.bins);
        let expected = |from: usize, to: usize| rate.at((from + to) / 2) * (to - from) as f64;
        let burst = (to + 1..=until)
            .map(|until| poisson_gain(counts.total(to, until), expected(to, until), true))
            .fold(0.0, f64::max);
        (burst / phi >= BURST).then(|| Episode {
            onset_ns: from as i64 * series.bin_ns,
            peak_ns: (from + to) as i64 * series.bin_ns / 2,
            end_ns: to as i64 * series.bin_ns,
            requests: counts.total(from, to) as u64,
            affected: expected(from, to) - counts.total(from, to),
            excess_ns: series.excess_ns.get(from..until).map_or(0.0, |bins| bins.iter().sum()),
            lossy: had_loss(series, from, to),
        })
    });
    merge(found.collect(), options.min_period_ns / 8)
}

/// Joins episodes of which one begins less than `gap_ns` after the one before ended. Episodes are in order of time.
pub fn merge(episodes: Vec<Episode>, gap_ns: i64) -> Vec<Episode> {
    let mut merged: Vec<Episode> = Vec::with_capacity(episodes.len());
    for next in episodes {
        match merged.last_mut() {
            Some(last) if next.onset_ns - last.end_ns < gap_ns => {
                if next.affected > last.affected {
                    last.peak_ns = next.peak_ns;
                }
                last.end_ns = last.end_ns.max(next.end_ns);
                last.requests += next.requests;
                last.affected += next.affected;
                last.excess_ns += next.excess_ns;
                last.lossy |= next.lossy;
            }
            _ => merged.push(next),
        }
    }
    merged
}

/// What a window must be worth: windows of width w overlap, so there are about twice N/w different ones, and no more
/// than there are requests to begin one.
fn price(counts: &Counts, widths: &[usize], options: &Options) -> f64 {
    let requests = counts.total(0, counts.bins);
    let different = |width: usize| (2.0 * counts.bins as f64 / width as f64).min(requests);
    let windows: f64 = widths.iter().map(|&width| different(width)).sum::<f64>().max(1.0);
    (windows / options.false_episodes).ln()
}

/// Log-likelihood ratio of `bad` in `total` against the share `ordinary`; 0 where there are not more.
fn binomial_gain(bad: f64, total: f64, ordinary: f64) -> f64 {
    if bad <= total * ordinary {
        return 0.0;
    }
    let good = total - bad;
    let rest = if good > 0.0 { good * (good / (total * (1.0 - ordinary))).ln() } else { 0.0 };
    bad * (bad / (total * ordinary)).ln() + rest
}

/// Log-likelihood ratio of `count` against the `expected` number; 0 where it is on the other side.
fn poisson_gain(count: f64, expected: f64, more: bool) -> f64 {
    if (count > expected) != more {
        return 0.0;
    }
    let log = if count > 0.0 { count * (count / expected.max(1e-9)).ln() } else { 0.0 };
    log + expected - count
}

/// The disjoint windows with the largest sum of gain less price, in order of time.
fn disjoint(
    bins: usize,
    widths: &[usize],
    price: f64,
    gain: impl Fn(usize, usize) -> f64,
) -> Vec<(usize, usize)> {
    let mut best = vec![0.0; bins + 1];
    let mut chosen = vec![0usize; bins + 1];
    for end in 1..=bins {
        best[end] = best[end - 1];
        for &width in widths.iter().take_while(|&&width| width <= end) {
            let sum = gain(end - width, end) - price;
            if sum > 0.0 && best[end - width] + sum > best[end] {
                best[end] = best[end - width] + sum;
                chosen[end] = width;
            }
        }
    }
    let mut windows = Vec::new();
    let mut end = bins;
    while end > 0 {
        if chosen[end] == 0 {
            end -= 1;
        } else {
            windows.push((end - chosen[end], end));
            end -= chosen[end];
        }
    }
    windows.reverse();
    windows
}

/// Trims a window to its bad requests and measures it.
fn episode(series: &Series, counts: &Counts, ordinary: &Local, window: (usize, usize)) -> Option<Episode> {
    let bad = |bin: usize| counts.bad(bin, bin + 1);
    let from = (window.0..window.1).find(|&bin| bad(bin) > 0.0)?;
    let to = (from..window.1).rev().find(|&bin| bad(bin) > 0.0)? + 1;
    let peak = (from..to).max_by(|&a, &b| bad(a).total_cmp(&bad(b)).then(b.cmp(&a)))?;
    let total = counts.total(from, to);
    Some(Episode {
        onset_ns: from as i64 * series.bin_ns,
        peak_ns: peak as i64 * series.bin_ns + series.bin_ns / 2,
        end_ns: to as i64 * series.bin_ns,
        requests: total as u64,
        affected: (counts.bad(from, to) - total * ordinary.at((from + to) / 2)).max(0.0),
        excess_ns: series.excess_ns.get(from..to).map_or(0.0, |bins| bins.iter().sum()),
        lossy: had_loss(series, from, to),
    })
}

fn had_loss(series: &Series, from: usize, to: usize) -> bool {
    let to = (to + 1).min(series.lossy.len());
    series.lossy.get(from.saturating_sub(1).min(to)..to).is_some_and(|bins| bins.contains(&true))
}

#[cfg(test)]
mod tests {
    use retrospan_random::Random;
    use retrospan_testkit::series::{Bins, Load, Scenario, Teeth, make};

    use super::*;

    fn series(made: Bins) -> Series {
        let Bins { bin_ns, total, bad, excess_ns } = made;
        Series { bin_ns, total, bad, excess_ns, lossy: Vec::new() }
    }

    fn spikes(horizon_s: f64, period_s: f64, width_s: f64, rate: f64, share: f64) -> Scenario {
        Scenario {
            horizon_s,
            bin_s: 0.1,
            rate,
            width_s,
            share,
            combs: vec![Teeth::every(period_s)],
            ..Scenario::default()
        }
    }

    /// Share of spikes with an episode that begins near them, and episodes beyond their number.
    fn compare(scenario: &Scenario, min_period_s: f64) -> (f64, usize) {
        let made = make(scenario, &mut Random::new(1));
        let options = Options::new((min_period_s * 1e9) as i64, (scenario.horizon_s / 2.9 * 1e9) as i64);
        let found = find(&series(made.series.clone()), &options);
        let near = |at: f64| {
            found
                .iter()
                .any(|episode| (episode.onset_ns as f64 * 1e-9 - at).abs() < 0.3 * scenario.width_s + 0.2)
        };
        let all = &made.spikes_s[0];
        let matched = all.iter().filter(|&&at| near(at)).count();
        (matched as f64 / all.len() as f64, found.len().saturating_sub(all.len()))
    }

    #[test]
    fn spikes_are_found_at_every_scale_and_rate() {
        for scenario in [
            spikes(60.0, 5.0, 1.0, 100.0, 0.5),
            spikes(3600.0, 5.0, 1.0, 100.0, 0.5),
            spikes(3600.0, 600.0, 10.0, 10.0, 0.8),
            spikes(3600.0, 600.0, 3.0, 1000.0, 0.1),
            spikes(900.0, 60.0, 1.0, 10_000.0, 0.1),
            Scenario { load: Load::Ramp, ..spikes(3600.0, 300.0, 3.0, 100.0, 0.5) },
            Scenario { load: Load::Diurnal, ..spikes(3600.0, 300.0, 3.0, 100.0, 0.5) },
        ] {
            let (matched, more) = compare(&scenario, scenario.combs[0].period_s / 4.0);
            assert!(matched >= 0.95 && more <= 1, "{matched}, {more} more: {scenario:?}");
        }
    }

    #[test]
    fn a_quiet_series_has_next_to_no_episode() {
        let scenario = Scenario { rate: 100.0, ..Scenario::default() };
        let options = Options::new(60_000_000_000, 1_200_000_000_000);
        let found: usize = (0..20)
            .map(|seed| find(&series(make(&scenario, &mut Random::new(seed)).series), &options).len())
            .sum();
        assert!(found <= 4, "{found} in 20 hours");
        assert_eq!(find(&Series::default(), &options), []);
        assert_eq!(find_missing(&Series::default(), &options), []);
    }

    #[test]
    fn an_episode_is_measured() {
        let mut series = Series { bin_ns: 100_000_000, total: vec![10; 6000], ..Series::default() };
        series.bad = vec![0; 6000];
        series.excess_ns = vec![0.0; 6000];
        series.lossy = vec![false; 6000];
        for bin in 3000..3010 {
            series.bad[bin] = 5;
            series.excess_ns[bin] = 1e9;
        }
        series.lossy[3010] = true;
        let found = find(&series, &Options::new(10_000_000_000, 200_000_000_000));
        assert_eq!(found.len(), 1);
        let episode = &found[0];
        assert_eq!((episode.onset_ns, episode.end_ns), (300_000_000_000, 301_000_000_000));
        assert_eq!((episode.requests, episode.lossy), (100, true));
        assert!((episode.affected - 50.0).abs() < 0.1 && (episode.excess_ns - 10e9).abs() < 1.0);
    }

    #[test]
    fn a_pause_that_ends_in_a_burst_is_missing_requests() {
        let mut random = Random::new(2);
        let mut total: Vec<u32> = (0..6000).map(|_| random.poisson(10.0)).collect();
        for start in [1000, 2200, 3400, 4600] {
            let held: u32 = total[start..start + 10].iter().sum();
            total[start..start + 10].fill(0);
            total[start + 10] += held;
        }
        // Nobody asked for a while: no burst, no freeze.
        total[5000..5020].fill(0);
        let bins = total.len();
        let series = Series { bin_ns: 100_000_000, total, bad: vec![0; bins], ..Series::default() };
        let found = find_missing(&series, &Options::new(10_000_000_000, 200_000_000_000));
        let onsets: Vec<i64> = found.iter().map(|episode| episode.onset_ns / 100_000_000).collect();
        assert_eq!(onsets, [1000, 2200, 3400, 4600]);
        assert!(found.iter().all(|episode| (50.0..150.0).contains(&episode.affected)));
    }

    #[test]
    fn near_episodes_are_one() {
        let at = |onset_ns: i64, affected: f64| Episode {
            onset_ns,
            peak_ns: onset_ns + 1,
            end_ns: onset_ns + 2,
            requests: 1,
            affected,
            excess_ns: 1.0,
            lossy: onset_ns == 5,
        };
        let merged = merge(vec![at(0, 1.0), at(5, 3.0), at(100, 1.0)], 10);
        assert_eq!(merged.len(), 2);
        assert_eq!((merged[0].onset_ns, merged[0].peak_ns, merged[0].end_ns), (0, 6, 7));
        assert_eq!((merged[0].requests, merged[0].affected, merged[0].lossy), (2, 4.0, true));
    }
}
