//! What is ordinary in a series: its local share of bad requests, its rate, and how much both vary.

use crate::periodicity::Series;

/// A slowly varying value, by blocks of bins.
pub(super) struct Local {
    block: usize,
    values: Vec<f64>,
}

impl Local {
    pub(super) fn at(&self, bin: usize) -> f64 {
        self.values[(bin / self.block).min(self.values.len() - 1)]
    }

    /// A value for every tenth of a span, from what lies within a span of its middle.
    fn new(bins: usize, span: usize, value: impl Fn(usize, usize) -> f64) -> Self {
        let block = (span / 10).max(1);
        let values = (0..bins.div_ceil(block)).map(|index| {
            let middle = index * block + block / 2;
            // At an end of the recording as much is averaged as elsewhere.
            let from = middle.saturating_sub(span).min(bins.saturating_sub(2 * span));
            value(from, (from + 2 * span).min(bins))
        });
        Self { block, values: values.collect() }
    }
}

/// Sums up to each bin.
pub(super) struct Counts {
    pub(super) bins: usize,
    total: Vec<u64>,
    bad: Vec<u64>,
}

impl Counts {
    pub(super) fn new(series: &Series) -> Self {
        let sums = |counts: &[u32]| {
            let mut sums = Vec::with_capacity(counts.len() + 1);
            let mut sum = 0u64;
            sums.push(0);
            sums.extend(counts.iter().map(|&count| {
                sum += u64::from(count);
                sum
            }));
            sums
        };
        let mut bad = sums(&series.bad);
        let total = sums(&series.total);
        bad.resize(total.len(), *bad.last().unwrap_or(&0));
        Self { bins: if series.bin_ns > 0 { series.total.len() } else { 0 }, total, bad }
    }

    pub(super) fn total(&self, from: usize, to: usize) -> f64 {
        (self.total[to] - self.total[from]) as f64
    }

    pub(super) fn bad(&self, from: usize, to: usize) -> f64 {
        (self.bad[to] - self.bad[from]) as f64
    }

    /// The ordinary share before anything was found: the median over short blocks, which spikes do not raise; the mean
    /// where most blocks have no bad request at all.
    pub(super) fn first_share(&self, span: usize, longest_block: usize) -> Local {
        let block = self.block(longest_block, |from, to| self.bad(from, to));
        Local::new(self.bins, span, |from, to| {
            let mean = smoothed(self.bad(from, to), self.total(from, to));
            let shares = (from..to)
                .step_by(block)
                .map(|at| (at, (at + block).min(to)))
                .filter(|&(at, end)| self.total(at, end) > 0.0)
                .map(|(at, end)| self.bad(at, end) / self.total(at, end));
            let middle = median(shares.collect());
            if middle > 0.0 { middle.min(mean) } else { mean }
        })
    }

    /// The shortest block in which more often than not something is counted, at most `longest`.
    fn block(&self, longest: usize, count: impl Fn(usize, usize) -> f64) -> usize {
        let mut block = 1;
        while block < longest {
            let blocks = (0..self.bins).step_by(block).map(|at| count(at, (at + block).min(self.bins)));
            if median(blocks.collect()) >= 2.0 {
                break;
            }
            block = (block * 2).min(longest);
        }
        block
    }

    /// The same counts, with nothing in the windows.
    pub(super) fn without(&self, windows: &[(usize, usize)]) -> Self {
        let mut outside = Self { bins: self.bins, total: self.total.clone(), bad: self.bad.clone() };
        let (mut total, mut bad, mut next) = (0, 0, 0);
        for bin in 0..self.bins {
            while next < windows.len() && windows[next].1 <= bin {
                next += 1;
            }
            let within = next < windows.len() && windows[next].0 <= bin;
            if !within {
                total += self.total[bin + 1] - self.total[bin];
                bad += self.bad[bin + 1] - self.bad[bin];
            }
            outside.total[bin + 1] = total;
            outside.bad[bin + 1] = bad;
        }
        outside
    }

    /// The mean share outside of what was found; where little is left of a span, that of the whole series.
    pub(super) fn share_of(&self, outside: &Self, span: usize) -> Local {
        let whole = smoothed(outside.bad(0, self.bins), outside.total(0, self.bins));
        Local::new(self.bins, span, |from, to| {
            let left = outside.total(from, to);
            if left < 0.1 * self.total(from, to) { whole } else { smoothed(outside.bad(from, to), left) }
        })
    }

    /// Variance of blocks over that of the binomial, at least 1.
    pub(super) fn overdispersion(&self, ordinary: &Local, block: usize) -> f64 {
        let mut block = block;
        let mean = self.bad(0, self.bins) / self.bins as f64;
        while mean * (block as f64) < 2.0 && block * 20 < self.bins {
            block *= 2;
        }
        let mut squares = Vec::new();
        for from in (0..self.bins.saturating_sub(block - 1)).step_by(block) {
            let expected = self.total(from, from + block) * ordinary.at(from);
            if expected >= 1.0 {
                let variance = expected * (1.0 - ordinary.at(from));
                squares.push((self.bad(from, from + block) - expected).powi(2) / variance);
            }
        }
        trimmed_mean(squares).max(1.0)
    }

    /// Completions a bin: the median over short blocks.
    pub(super) fn rate(&self, span: usize, longest_block: usize) -> Local {
        let block = self.block(longest_block, |from, to| self.total(from, to));
        Local::new(self.bins, span, |from, to| {
            let counts =
                (from..to).step_by(block).map(|at| self.total(at, (at + block).min(to)) / block as f64);
            let mean = self.total(from, to) / (to - from).max(1) as f64;
            let middle = median(counts.collect());
            if middle > 0.0 { middle } else { mean }
        })
    }

    pub(super) fn dispersion_of_rate(&self, rate: &Local, longest_block: usize) -> f64 {
        let block = self.block(longest_block, |from, to| self.total(from, to));
        let squares = (0..self.bins.saturating_sub(block - 1)).step_by(block).filter_map(|from| {
            let expected = rate.at(from) * block as f64;
            (expected >= 1.0).then(|| (self.total(from, from + block) - expected).powi(2) / expected)
        });
        trimmed_mean(squares.collect()).max(1.0)
    }
}

/// A share that is never 0 nor 1 (Jeffreys' prior).
fn smoothed(bad: f64, total: f64) -> f64 {
    (bad + 0.5) / (total + 1.0)
}

fn median(mut values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// Mean of the lower nine tenths of squared deviations, scaled so that it is 1 for normal ones; 1 where there are few.
fn trimmed_mean(mut squares: Vec<f64>) -> f64 {
    if squares.len() < 10 {
        return 1.0;
    }
    squares.sort_unstable_by(f64::total_cmp);
    let kept = squares.len() * 9 / 10;
    squares[..kept].iter().sum::<f64>() / kept as f64 / 0.624
}
