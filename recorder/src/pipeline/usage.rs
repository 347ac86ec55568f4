//! CPU time of processes, from sums that the kernel programs keep, as rows of `usage`.

use retrospan_formats::event::OnCpu;
use retrospan_formats::tables::UsageRow;

use crate::fast_map::FastMap;
use crate::kernel::CpuTimes;
use crate::pipeline::processes::Processes;

/// Less in one interval is no row.
const LEAST_NS: u64 = 1_000_000;

/// Turns sums into what was used in between.
#[derive(Debug)]
pub struct Usage {
    sampled_ns: u64,
    totals: FastMap<u32, u64>,
    /// Samples whose processes may not all be known yet.
    pending: Vec<UsageRow>,
}

impl Usage {
    /// The first interval starts here.
    pub fn new(boot_ns: u64) -> Usage {
        Usage { sampled_ns: boot_ns, totals: FastMap::default(), pending: Vec::new() }
    }

    /// Ends an interval. `times` must have been read after `boot_ns`. Returns the processes that did not run in
    /// it, which are to be forgotten if they have ended.
    pub fn sample(&mut self, boot_ns: u64, times: CpuTimes) -> Vec<u32> {
        let interval_ns = boot_ns - self.sampled_ns;
        self.sampled_ns = boot_ns;
        let mut totals: FastMap<u32, u64> = times.sums.into_iter().collect();
        for OnCpu { since_ns, pid, .. } in times.running {
            if since_ns != 0 && pid != 0 {
                *totals.entry(pid).or_default() += boot_ns.saturating_sub(since_ns);
            }
        }
        let mut idle = Vec::new();
        let first = self.pending.len();
        for (pid, total) in totals {
            let before = self.totals.entry(pid).or_default();
            // A switch between the two readings hides a slice until the next sample.
            let cpu_ns = total.saturating_sub(*before);
            *before += cpu_ns;
            if cpu_ns > LEAST_NS {
                self.pending.push(UsageRow {
                    boot_ns: boot_ns as i64,
                    interval_ns: interval_ns as i64,
                    process_id: None,
                    pid: pid as i32,
                    cpu_ns: cpu_ns as i64,
                });
            } else if cpu_ns == 0 {
                idle.push(pid);
            }
        }
        self.pending[first..].sort_by_key(|row| row.pid);
        idle
    }

    /// Its sum is gone from the kernel's map.
    pub fn forget(&mut self, pid: u32) {
        self.totals.remove(&pid);
    }

    /// The rows of samples taken up to `watermark_ns`: births and ends up to then are known.
    pub fn take_rows(&mut self, watermark_ns: u64, processes: &mut Processes) -> Vec<UsageRow> {
        let ready = self.pending.partition_point(|row| row.boot_ns as u64 <= watermark_ns);
        let mut rows: Vec<UsageRow> = self.pending.drain(..ready).collect();
        for row in &mut rows {
            row.process_id = processes.id_of(row.pid as u32);
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::cgroups::Cgroups;

    const S: u64 = 1_000_000_000;
    const MS: u64 = 1_000_000;

    fn times(sums: &[(u32, u64)], running: &[(u64, u32)]) -> CpuTimes {
        let running =
            running.iter().map(|&(since_ns, pid)| OnCpu { since_ns, pid, ..OnCpu::default() }).collect();
        CpuTimes { sums: sums.to_vec(), running }
    }

    fn rows(usage: &mut Usage) -> Vec<(u64, u32, u64)> {
        let mut processes = Processes::new(false, Cgroups::below(None));
        let rows = usage.take_rows(u64::MAX, &mut processes);
        rows.iter().map(|r| (r.interval_ns as u64, r.pid as u32, r.cpu_ns as u64)).collect()
    }

    #[test]
    fn what_runs_without_a_switch_counts_too() {
        let mut usage = Usage::new(S);
        usage.sample(2 * S, times(&[(7, 100 * MS)], &[(S + S / 2, 8), (0, 9), (2 * S - 5, 0)]));
        assert_eq!(rows(&mut usage), [(S, 7, 100 * MS), (S, 8, S / 2)]);
        // 8 has left its CPU, and 7 has run for less than a millisecond.
        let idle = usage.sample(3 * S, times(&[(7, 101 * MS), (8, 600 * MS)], &[]));
        assert_eq!(rows(&mut usage), [(S, 8, 100 * MS)]);
        assert!(idle.is_empty());
        assert_eq!(usage.sample(4 * S, times(&[(7, 101 * MS)], &[])), [7]);
    }

    #[test]
    fn a_slice_that_a_switch_hid_counts_later() {
        let mut usage = Usage::new(S);
        usage.sample(2 * S, times(&[(7, 0)], &[(S, 7)]));
        usage.sample(3 * S, times(&[(7, 500 * MS)], &[]));
        usage.sample(4 * S, times(&[(7, 2 * S)], &[]));
        let cpu: Vec<u64> = rows(&mut usage).iter().map(|row| row.2).collect();
        assert_eq!(cpu, [S, S]);
    }

    #[test]
    fn rows_wait_until_their_processes_are_known() {
        let mut usage = Usage::new(S);
        usage.sample(2 * S, times(&[(7, S)], &[]));
        let mut processes = Processes::new(false, Cgroups::below(None));
        assert!(usage.take_rows(2 * S - 1, &mut processes).is_empty());
        assert_eq!(usage.take_rows(2 * S, &mut processes).len(), 1);
    }
}
