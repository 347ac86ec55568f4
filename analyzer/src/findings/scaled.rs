//! Numbers of requests for people, where one connection in so many was recorded. What is found, and how surely, is decided before, by
//! what was recorded.

use super::{Spike, Unexplained};

impl Spike {
    /// Counts and sums as they were, if those of `one_in` connections are like those of the one.
    pub(super) fn scale(&mut self, one_in: u64) {
        let share = one_in as f64;
        self.affected_requests *= share;
        for interval in [&mut self.affected_per_cycle, &mut self.excess_s_per_cycle] {
            interval.mean *= share;
            interval.low *= share;
            interval.high *= share;
        }
        self.bad_requests = self.bad_requests.saturating_mul(one_in);
        for cycle in &mut self.cycle_table {
            for number in [&mut cycle.requests, &mut cycle.errors, &mut cycle.client_closed] {
                *number = number.saturating_mul(one_in);
            }
            cycle.affected *= share;
            cycle.excess_s *= share;
        }
        for hop in &mut self.hops {
            hop.excess_s *= share;
            hop.failures = hop.failures.saturating_mul(one_in);
        }
    }
}

impl Unexplained {
    /// The same.
    pub(super) fn scale(&mut self, one_in: u64) {
        self.affected *= one_in as f64;
        self.worst.requests = self.worst.requests.saturating_mul(one_in);
        self.worst.affected *= one_in as f64;
        self.worst.excess_s *= one_in as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::{Cycle, HopShare, Interval};

    #[test]
    fn counts_are_scaled_and_what_is_no_count_is_not() {
        let cycle =
            Cycle { number: 3, requests: 10, affected: 2.5, errors: 1, worst_s: 0.5, ..Cycle::default() };
        let mut spike = Spike {
            fap: 0.001,
            hits: 9,
            affected_requests: 20.0,
            affected_per_cycle: Interval { mean: 2.0, low: 1.0, high: 3.0 },
            bad_requests: 40,
            share_of_bad: 0.5,
            cycle_table: vec![cycle],
            hops: vec![HopShare { share: 1.0, failures: 7, ..HopShare::default() }],
            ..Spike::default()
        };
        spike.scale(10);
        assert_eq!((spike.fap, spike.hits, spike.share_of_bad), (0.001, 9, 0.5));
        assert_eq!(
            (spike.affected_requests, spike.affected_per_cycle.high, spike.bad_requests),
            (200.0, 30.0, 400)
        );
        let cycle = &spike.cycle_table[0];
        assert_eq!((cycle.number, cycle.requests, cycle.errors), (3, 100, 10));
        assert_eq!((cycle.affected, cycle.worst_s), (25.0, 0.5));
        assert_eq!((spike.hops[0].share, spike.hops[0].failures), (1.0, 70));
    }
}
