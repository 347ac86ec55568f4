//! What the recorder itself does, as rows of `recorder`: so that an analysis can tell it from its subject.
//!
//! Work that took noticeable time is a row. The rest, hundreds of drains a second, is summed up until the end
//! of the sampling interval, so that an hour is a few thousand rows.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::host;

/// Work that takes this long is a row of its own.
const NOTICEABLE: Duration = Duration::from_millis(2);

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkKind {
    /// Rings read, and what was read turned into rows.
    Drain,
    /// Rows encoded.
    Write,
    /// A part finished.
    Part,
}

impl WorkKind {
    const ALL: [WorkKind; 3] = [WorkKind::Drain, WorkKind::Write, WorkKind::Part];

    /// The name used in tables.
    pub const fn name(self) -> &'static str {
        match self {
            WorkKind::Drain => "drain",
            WorkKind::Write => "write",
            WorkKind::Part => "part",
        }
    }
}

/// A row of `recorder`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the column of that name")]
pub struct Work {
    pub boot_ns: u64,
    pub duration_ns: u64,
    pub kind: WorkKind,
    pub rows: u64,
    pub bytes: u64,
}

/// The log of all threads of the recorder.
#[derive(Clone, Debug, Default)]
pub struct OwnWork(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    rows: Vec<Work>,
    /// Sums of what was not noticeable, by kind.
    short: [Option<Work>; 3],
}

impl OwnWork {
    /// Notes work that began at `since` and is over now.
    pub fn note(&self, kind: WorkKind, since: Instant, rows: u64, bytes: u64) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that rows come in order.
        let (boot_ns, taken) = (host::boot_ns(), since.elapsed());
        log.add(Work { boot_ns, duration_ns: taken.as_nanos() as u64, kind, rows, bytes });
    }

    /// Ends a sampling interval: the short work in it becomes rows.
    pub fn end_interval(&self) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.end_interval(host::boot_ns());
    }

    /// The rows so far, in order.
    pub fn take(&self) -> Vec<Work> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).rows)
    }
}

impl Log {
    fn add(&mut self, work: Work) {
        if work.kind == WorkKind::Part || work.duration_ns >= NOTICEABLE.as_nanos() as u64 {
            return self.rows.push(work);
        }
        let short = &mut self.short[work.kind as usize];
        let sum = short.get_or_insert(Work { duration_ns: 0, rows: 0, bytes: 0, ..work });
        sum.duration_ns += work.duration_ns;
        sum.rows += work.rows;
        sum.bytes += work.bytes;
    }

    fn end_interval(&mut self, boot_ns: u64) {
        for kind in WorkKind::ALL {
            if let Some(sum) = self.short[kind as usize].take() {
                self.rows.push(Work { boot_ns, ..sum });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn work(boot_ns: u64, duration_ns: u64, kind: WorkKind) -> Work {
        Work { boot_ns, duration_ns, kind, rows: 1, bytes: 10 }
    }

    #[test]
    fn short_work_is_summed_up_and_long_work_stands_alone() {
        let mut log = Log::default();
        log.add(work(10, MS, WorkKind::Drain));
        log.add(work(20, 3 * MS, WorkKind::Drain));
        log.add(work(30, MS / 2, WorkKind::Drain));
        log.add(work(40, MS, WorkKind::Part));
        log.end_interval(50);
        log.end_interval(60);
        let sum = Work { boot_ns: 50, duration_ns: MS * 3 / 2, kind: WorkKind::Drain, rows: 2, bytes: 20 };
        assert_eq!(log.rows, [work(20, 3 * MS, WorkKind::Drain), work(40, MS, WorkKind::Part), sum]);
    }

    #[test]
    fn rows_of_two_threads_come_in_order() {
        let own = OwnWork::default();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..500).for_each(|_| own.note(WorkKind::Part, Instant::now(), 0, 0)));
            }
        });
        let rows = own.take();
        assert_eq!(rows.len(), 1000);
        assert!(rows.is_sorted_by_key(|row| row.boot_ns));
    }
}
