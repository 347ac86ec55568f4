//! What the recorder itself does, as rows of `recorder`: so that an analysis can tell it from its subject.
//!
//! Work that took noticeable time is a row. The rest, hundreds of drains a second, is summed up until the end
//! of the sampling interval, so that an hour is a few thousand rows.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use retrospan_formats::tables::RecorderRow;

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
    /// Files of old parts put together.
    Merge,
}

impl WorkKind {
    const ALL: [WorkKind; 4] = [WorkKind::Drain, WorkKind::Write, WorkKind::Part, WorkKind::Merge];

    /// The name used in tables.
    pub const fn name(self) -> &'static str {
        match self {
            WorkKind::Drain => "drain",
            WorkKind::Write => "write",
            WorkKind::Part => "part",
            WorkKind::Merge => "merge",
        }
    }
}

/// The log of all threads of the recorder.
#[derive(Clone, Debug, Default)]
pub struct SelfActivity(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    rows: Vec<RecorderRow<'static>>,
    /// Sums of what was not noticeable, by kind.
    short: [Option<RecorderRow<'static>>; WorkKind::ALL.len()],
}

impl SelfActivity {
    /// Notes work that began at `since` and is over now.
    pub fn note(&self, kind: WorkKind, since: Instant, rows: u64, bytes: u64) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that rows come in order.
        let (boot_ns, taken) = (host::boot_ns(), since.elapsed());
        let row = RecorderRow {
            boot_ns: boot_ns as i64,
            duration_ns: taken.as_nanos() as i64,
            kind: kind.name(),
            rows: rows as i64,
            bytes: bytes as i64,
        };
        log.add(kind, row);
    }

    /// Ends a sampling interval: the short work in it becomes rows.
    pub fn end_interval(&self) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.end_interval(host::boot_ns());
    }

    /// The rows so far, in order.
    pub fn take(&self) -> Vec<RecorderRow<'static>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).rows)
    }
}

impl Log {
    fn add(&mut self, kind: WorkKind, row: RecorderRow<'static>) {
        if kind == WorkKind::Part || row.duration_ns >= NOTICEABLE.as_nanos() as i64 {
            return self.rows.push(row);
        }
        let short = &mut self.short[kind as usize];
        let sum = short.get_or_insert(RecorderRow { duration_ns: 0, rows: 0, bytes: 0, ..row });
        sum.duration_ns += row.duration_ns;
        sum.rows += row.rows;
        sum.bytes += row.bytes;
    }

    fn end_interval(&mut self, boot_ns: u64) {
        for kind in WorkKind::ALL {
            if let Some(sum) = self.short[kind as usize].take() {
                self.rows.push(RecorderRow { boot_ns: boot_ns as i64, ..sum });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn work(boot_ns: i64, duration_ns: i64, kind: WorkKind) -> (WorkKind, RecorderRow<'static>) {
        (kind, RecorderRow { boot_ns, duration_ns, kind: kind.name(), rows: 1, bytes: 10 })
    }

    #[test]
    fn short_work_is_summed_up_and_long_work_stands_alone() {
        let mut log = Log::default();
        let all = [
            work(10, MS, WorkKind::Drain),
            work(20, 3 * MS, WorkKind::Drain),
            work(30, MS / 2, WorkKind::Drain),
            work(40, MS, WorkKind::Part),
        ];
        all.into_iter().for_each(|(kind, row)| log.add(kind, row));
        log.end_interval(50);
        log.end_interval(60);
        let (_, short) = work(50, MS * 3 / 2, WorkKind::Drain);
        let sum = RecorderRow { rows: 2, bytes: 20, ..short };
        assert_eq!(log.rows, [all[1].1, all[3].1, sum]);
    }

    #[test]
    fn rows_of_two_threads_come_in_order() {
        let own = SelfActivity::default();
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
