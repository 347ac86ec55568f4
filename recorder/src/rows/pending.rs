//! The rows of `tcp`, `sched` and `execs` that wait for a full batch or the end of their part.

use retrospan_formats::table::Table;
use retrospan_formats::tables;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use crate::rows::evidence::{self as rows, ExecRow, SchedRow, TcpRow};

/// Rows of a full batch.
const BATCH_ROWS: usize = 8192;

/// Rows that wait to be written.
#[derive(Debug, Default)]
pub struct EvidenceRows {
    tcp: Vec<TcpRow>,
    sched: Vec<SchedRow>,
    execs: Vec<ExecRow>,
}

impl EvidenceRows {
    /// Adds a row of `tcp`; rows come in order.
    pub fn tcp(&mut self, row: TcpRow) {
        self.tcp.push(row);
    }

    /// Adds a row of `sched`; rows come in order.
    pub fn sched(&mut self, row: SchedRow) {
        self.sched.push(row);
    }

    /// Adds a row of `execs`. They come as processes do, which late is as good as never, so that they are sorted
    /// when the part ends.
    pub fn exec(&mut self, row: ExecRow) {
        self.execs.push(row);
    }

    /// Batches that are full.
    pub fn take_full(&mut self) -> Result<Vec<(&'static Table, RecordBatch)>, ArrowError> {
        if self.tcp.len() < BATCH_ROWS && self.sched.len() < BATCH_ROWS {
            return Ok(Vec::new());
        }
        self.take_sorted()
    }

    fn take_sorted(&mut self) -> Result<Vec<(&'static Table, RecordBatch)>, ArrowError> {
        let (tcp, sched) = (std::mem::take(&mut self.tcp), std::mem::take(&mut self.sched));
        Ok(vec![(&tables::TCP, rows::tcp(&tcp)?), (&tables::SCHED, rows::sched(&sched)?)])
    }

    /// Everything, at the end of a part.
    pub fn take_all(&mut self) -> Result<Vec<(&'static Table, RecordBatch)>, ArrowError> {
        let mut execs = std::mem::take(&mut self.execs);
        execs.sort_by_key(|row| (row.boot_ns, row.cpu, row.seq));
        let mut batches = self.take_sorted()?;
        batches.push((&tables::EXECS, rows::execs(&execs)?));
        Ok(batches)
    }
}
