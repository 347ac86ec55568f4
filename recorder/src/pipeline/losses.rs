//! What was lost: the counters of the kernel programs and our own, as rows per interval.

use std::collections::BTreeMap;

use retrospan_formats::event::{Kind, SchedKind, TcpKind, loss};
use retrospan_formats::manifest;
use retrospan_formats::tables::LossRow;

use crate::kernel::{LossCounters, NOTHING_LOST};

/// Counts losses and turns them into rows.
#[derive(Debug)]
pub struct Losses {
    from_boot_ns: u64,
    kernel: Vec<LossCounters>,
    /// Own losses of this interval by CPU, kind and cause.
    own: BTreeMap<(u16, &'static str, &'static str), u64>,
    sums: BTreeMap<(&'static str, &'static str), u64>,
    /// Why something is left out, if it is.
    shed_by: &'static str,
}

impl Losses {
    /// Nothing lost yet; the first interval starts here.
    pub fn new(boot_ns: u64) -> Losses {
        Losses {
            from_boot_ns: boot_ns,
            kernel: Vec::new(),
            own: BTreeMap::new(),
            sums: BTreeMap::new(),
            shed_by: "shed",
        }
    }

    /// What is left out from now on is so because of this limit, a cause in rows of `loss`.
    pub fn shed_by(&mut self, cause: &'static str) {
        self.shed_by = cause;
    }

    /// An event was lost by us.
    pub fn count(&mut self, cpu: u16, kind: &'static str, cause: &'static str, count: u64) {
        *self.own.entry((cpu, kind, cause)).or_default() += count;
    }

    /// Ends an interval: the rows of what was lost in it. `kernel`: the counters now, per CPU.
    pub fn interval(&mut self, boot_ns: u64, kernel: Vec<LossCounters>) -> Vec<LossRow<'static>> {
        for (cpu, now) in kernel.iter().enumerate() {
            let before = self.kernel.get(cpu).copied().unwrap_or(NOTHING_LOST);
            for (index, count) in now.iter().zip(before).map(|(now, before)| now - before).enumerate() {
                if count > 0 {
                    let (kind, cause) = match shed_kind(index as u32) {
                        Some(kind) => (kind, self.shed_by),
                        None => meaning(index as u32),
                    };
                    *self.own.entry((cpu as u16, kind, cause)).or_default() += count;
                }
            }
        }
        if !kernel.is_empty() {
            self.kernel = kernel;
        }
        let from_boot_ns = std::mem::replace(&mut self.from_boot_ns, boot_ns);
        let row = |((cpu, kind, cause), count)| {
            *self.sums.entry((kind, cause)).or_default() += count;
            LossRow {
                from_boot_ns: from_boot_ns as i64,
                to_boot_ns: boot_ns as i64,
                cpu,
                kind,
                cause,
                count: count as i64,
            }
        };
        std::mem::take(&mut self.own).into_iter().map(row).collect()
    }

    /// Sums over all intervals that ended.
    pub fn sums(&self) -> Vec<manifest::Loss> {
        let sums = self.sums.iter();
        let loss = |(&(kind, cause), &count): (&(&str, &str), &u64)| manifest::Loss {
            kind: kind.to_owned(),
            cause: cause.to_owned(),
            count,
        };
        sums.map(loss).collect()
    }

    /// Everything lost in all intervals that ended, without what was left out on purpose.
    pub fn total(&self) -> u64 {
        self.sums().iter().filter(|loss| !loss.is_left_out()).map(|loss| loss.count).sum()
    }
}

/// Records that found no room in a CPU's ring; each of them took a sequence number.
pub fn without_room(counters: &LossCounters) -> u64 {
    let kinds = 1..=Kind::ALL.len();
    let records =
        [loss::SOCKET, loss::PROCESS, loss::MORE, loss::FLOW, loss::WAKE].map(|counter| counter as usize);
    let tcp = TcpKind::ALL.map(|kind| kind as usize);
    let sched = SchedKind::RunQueue as usize..=SchedKind::Continued as usize;
    kinds.chain(records).chain(tcp).chain(sched).map(|index| counters[index]).sum()
}

/// What was left out of data on purpose, by a counter of it.
fn shed_kind(index: u32) -> Option<&'static str> {
    match index {
        loss::SHED_CONTINUATION => Some("continuation"),
        loss::SHED_HEAD => Some("bytes"),
        loss::SHED_DATA => Some("data"),
        _ => None,
    }
}

/// Kind and cause that a counter of the kernel programs stands for.
fn meaning(index: u32) -> (&'static str, &'static str) {
    match index {
        loss::SOCKET => ("socket", "ring_full"),
        loss::PROCESS => ("process", "ring_full"),
        loss::SOCKET_MAP => ("socket", "socket_map_full"),
        loss::CALL_MAP => ("call", "call_map_full"),
        loss::COMPAT_CALL => ("call", "compat_call"),
        loss::STOP_MAP => ("continued", "stop_map_full"),
        loss::EARLY_CALL => ("call", "entered_before"),
        loss::MISSED_CALL => ("call", "program_skipped"),
        loss::MORE => ("head", "ring_full"),
        loss::FLOW => ("flow", "ring_full"),
        loss::WAKE => ("wake", "ring_full"),
        loss::TLS_CARRIER => ("tls session", "several_sockets"),
        loss::TLS_WITHIN => ("tls call", "tls_in_tls"),
        loss::TLS_MAP => ("tls call", "call_map_full"),
        loss::USAGE_MAP => ("usage", "usage_map_full"),
        _ => (kind_name(index as u8), "ring_full"),
    }
}

/// The name of a kind of any sort: their numbers are all different.
pub fn kind_name(number: u8) -> &'static str {
    let kind = Kind::from_number(number).map(Kind::name);
    let tcp = TcpKind::from_number(number).map(TcpKind::name);
    let sched = SchedKind::from_number(number).map(SchedKind::name);
    kind.or(tcp).or(sched).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(counts: &[(u32, u64)]) -> LossCounters {
        let mut counters = NOTHING_LOST;
        for &(index, count) in counts {
            counters[index as usize] = count;
        }
        counters
    }

    #[test]
    fn an_interval_holds_what_was_lost_in_it() {
        let mut losses = Losses::new(100);
        let send = Kind::Send as u32;
        let first = losses.interval(200, vec![counters(&[(send, 3)]), counters(&[(loss::SOCKET, 1)])]);
        let row = |from, to, cpu, kind, cause, count| LossRow {
            from_boot_ns: from,
            to_boot_ns: to,
            cpu,
            kind,
            cause,
            count,
        };
        assert_eq!(
            first,
            [row(100, 200, 0, "send", "ring_full", 3), row(100, 200, 1, "socket", "ring_full", 1)]
        );
        losses.count(1, "receive", "late", 2);
        let second = losses.interval(300, vec![counters(&[(send, 4)]), counters(&[(loss::SOCKET, 1)])]);
        assert_eq!(
            second,
            [row(200, 300, 0, "send", "ring_full", 1), row(200, 300, 1, "receive", "late", 2)]
        );
        assert_eq!(losses.interval(400, Vec::new()), []);
        assert_eq!(losses.total(), 7);
        assert_eq!(losses.sums().len(), 3);
    }

    #[test]
    fn what_is_left_out_has_the_limit_for_its_cause() {
        let mut losses = Losses::new(100);
        losses.shed_by("max_rate");
        let kernel = vec![counters(&[(loss::SHED_CONTINUATION, 5), (loss::SHED_DATA, 2)])];
        let rows = losses.interval(200, kernel);
        let rows: Vec<_> = rows.iter().map(|row| (row.kind, row.cause, row.count)).collect();
        assert_eq!(rows, [("continuation", "max_rate", 5), ("data", "max_rate", 2)]);
        assert_eq!(losses.total(), 0);
    }

    #[test]
    fn only_records_without_room_took_a_number() {
        let all = counters(&(1..loss::COUNTERS).map(|i| (i, 1)).collect::<Vec<_>>());
        assert_eq!(without_room(&all), 22);
    }

    #[test]
    fn every_counter_of_evidence_has_a_name() {
        let names: Vec<_> = (14..=24).map(meaning).collect();
        assert_eq!(names[0], ("retransmit", "ring_full"));
        assert_eq!(names[7], ("continued", "ring_full"));
        assert_eq!(names[8], ("continued", "stop_map_full"));
        assert!(names.iter().all(|(kind, _)| *kind != "unknown"));
    }
}
