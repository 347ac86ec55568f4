//! How many cycles it takes to tell.

/// Jitter as a share of the period, and the fewest cycles with which at least four of five such combs are found at a
/// false-alarm probability of 1 % and of 0.1 % (`cargo bench --bench spikes` prints the power behind it).
const NEEDED: [(f64, usize, usize); 4] = [(0.01, 4, 4), (0.03, 5, 6), (0.05, 6, 7), (0.10, 9, 11)];

/// Cycles needed at this jitter and false-alarm probability.
///
/// Every factor of ten below 0.1 % takes one cycle more.
pub fn cycles_needed(jitter_share: f64, fap: f64) -> usize {
    let row = NEEDED.iter().find(|row| jitter_share <= row.0 * 1.2).unwrap_or(&NEEDED[NEEDED.len() - 1]);
    let beyond = (1e-3 / fap.clamp(1e-9, 1e-3)).log10().round() as usize;
    if fap >= 5e-3 { row.1 } else { row.2 + beyond }
}

/// Length of a recording that shows so many cycles, whatever the phase.
pub fn recording_needed_ns(period_ns: f64, jitter_share: f64, fap: f64) -> i64 {
    (period_ns * (cycles_needed(jitter_share, fap) as f64)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_jitter_and_less_doubt_take_more_cycles() {
        for fap in [0.01, 0.001, 1e-5] {
            let needed: Vec<usize> = [0.0, 0.03, 0.05, 0.1].map(|jitter| cycles_needed(jitter, fap)).to_vec();
            assert!(needed.is_sorted() && needed[0] >= 3, "{needed:?}");
        }
        assert!(cycles_needed(0.03, 1e-6) > cycles_needed(0.03, 0.01));
        assert_eq!(recording_needed_ns(600e9, 0.0, 0.01), 600_000_000_000 * cycles_needed(0.0, 0.01) as i64);
    }
}
