//! When a freeze began: who waits through one finishes together with all others who do.

/// A moment at which everything waits, and the moment at which everything goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Freeze {
    /// Begin: the common end less the longest wait, or when the first began who waited as long and gave up before that end.
    pub from_ns: i64,
    /// The common end.
    pub to_ns: i64,
}

/// Fewest requests that show a line.
const FEWEST: usize = 3;
/// The common end may be spread over this share of the longest wait.
const SPREAD: f64 = 0.1;

/// Is there a line of slope -1 in (start, duration)? Points are affected requests of one episode, in any order.
///
/// The densest group of ends, if it holds at least half of the points, is regressed: slope within 0.1 of -1 and R2 above
/// 0.9 make a freeze.
pub fn freeze(points: &[(i64, i64)]) -> Option<Freeze> {
    let longest = points.iter().map(|point| point.1).max()?;
    let width = ((longest as f64 * SPREAD) as i64).max(1);
    let mut ends: Vec<(i64, i64)> = points.iter().map(|point| (point.0 + point.1, point.1)).collect();
    ends.sort_unstable();
    let mut densest = 0..0;
    let mut begin = 0;
    for end in 0..ends.len() {
        while ends[end].0 - ends[begin].0 > width {
            begin += 1;
        }
        if end + 1 - begin > densest.len() {
            densest = begin..end + 1;
        }
    }
    let group = &ends[densest];
    if group.len() < FEWEST || group.len() * 2 < points.len() {
        return None;
    }
    let n = group.len() as f64;
    let origin = group[0].0;
    let starts = || group.iter().map(|(end, duration)| (end - duration - origin) as f64);
    let mean_start = starts().sum::<f64>() / n;
    let mean = group.iter().map(|point| point.1 as f64).sum::<f64>() / n;
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (start, point) in starts().zip(group) {
        let (x, y) = (start - mean_start, point.1 as f64 - mean);
        xx += x * x;
        xy += x * y;
        yy += y * y;
    }
    let slope = xy / xx;
    let explained = xy * xy / (xx * yy);
    if !((slope + 1.0).abs() <= 0.1 && explained > 0.9) {
        return None;
    }
    let to_ns = group[group.len() / 2].0;
    let longest = group.iter().map(|point| point.1).max()?;
    // Who gives up does not see the end, and those who see it began within the patience of clients before it.
    let patience = ((1.0 - SPREAD) * longest as f64) as i64;
    let gave_up = points.iter().filter(|point| point.1 >= patience).map(|point| point.0).min();
    Some(Freeze { from_ns: gave_up.unwrap_or(i64::MAX).min(to_ns - longest), to_ns })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_end_together_show_the_freeze() {
        // Stopped from 5,000 to 6,000; strangers were slow for other reasons.
        let mut points: Vec<(i64, i64)> = (0..20).map(|i| (5_000 + 50 * i, 1_000 - 50 * i + i % 3)).collect();
        points.push((4_000, 300));
        points.push((5_500, 250));
        let found = freeze(&points).expect("a freeze");
        assert!((4_990..=5_010).contains(&found.from_ns), "{found:?}");
        assert!((5_990..=6_010).contains(&found.to_ns), "{found:?}");
    }

    #[test]
    fn who_gives_up_began_in_the_freeze_too() {
        // Stopped from 5,000 to 6,450; clients wait for 1,000.
        let gave_up = (0..9).map(|i| (5_000 + 50 * i, 1_000 + i % 2));
        let waited = (9..29).map(|i| (5_000 + 50 * i, 1_450 - 50 * i));
        let mut points: Vec<(i64, i64)> = gave_up.chain(waited).collect();
        points.push((4_700, 300));
        let found = freeze(&points).expect("a freeze");
        assert_eq!(found, Freeze { from_ns: 5_000, to_ns: 6_450 });
    }

    #[test]
    fn slowness_alone_is_no_freeze() {
        let slow: Vec<(i64, i64)> = (0..20).map(|i| (5_000 + 50 * i, 800 + 37 * (i % 7))).collect();
        assert_eq!(freeze(&slow), None);
        assert_eq!(freeze(&[]), None);
        assert_eq!(freeze(&[(1, 5), (2, 4)]), None);
        assert_eq!(freeze(&[(1, 0), (1, 0), (1, 0)]), None);
    }
}
