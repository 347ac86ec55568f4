//! The rows of `tcp`, `flows`, `sched`, `wakes`, `counters` and `execs` that wait for a full batch or the end of their part.

use std::rc::Rc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use retrospan_formats::rows::{Writer, batch};
use retrospan_formats::table::Table;
use retrospan_formats::tables::{self, CounterRow, ExecRow, FlowRow, SchedRow, TcpRow, WakeRow};

/// A row of `execs` with its own texts.
#[derive(Clone, Debug)]
pub struct Exec {
    /// The row without its texts.
    pub row: ExecRow<'static>,
    /// Column `exe`.
    pub exe: Option<Rc<str>>,
    /// Column `argv`.
    pub argv: Option<Rc<str>>,
    /// Column `comm`.
    pub comm: Rc<str>,
}

impl Exec {
    fn row(&self) -> ExecRow<'_> {
        ExecRow { exe: self.exe.as_deref(), argv: self.argv.as_deref(), comm: &self.comm, ..self.row }
    }
}

/// Rows that wait to be written.
#[derive(Default)]
pub struct EvidenceRows {
    tcp: Writer<TcpRow<'static>>,
    flows: Writer<FlowRow<'static>>,
    sched: Writer<SchedRow<'static>>,
    wakes: Writer<WakeRow>,
    counters: Writer<CounterRow<'static>>,
    execs: Vec<Exec>,
}

impl EvidenceRows {
    /// Adds a row of `tcp`; rows come in order.
    pub fn tcp(&mut self, row: &TcpRow<'_>) {
        self.tcp.push(row);
    }

    /// Adds a row of `flows`; rows come in order.
    pub fn flow(&mut self, row: &FlowRow<'_>) {
        self.flows.push(row);
    }

    /// Adds a row of `sched`; rows come in order.
    pub fn sched(&mut self, row: &SchedRow<'_>) {
        self.sched.push(row);
    }

    /// Adds a row of `wakes`; rows come in order.
    pub fn wake(&mut self, row: &WakeRow) {
        self.wakes.push(row);
    }

    /// Adds a row of `counters`; rows come in order.
    pub fn counter(&mut self, row: &CounterRow<'_>) {
        self.counters.push(row);
    }

    /// Adds a row of `execs`. They come as processes do, which late is as good as never, so that they are sorted
    /// when the part ends.
    pub fn exec(&mut self, row: Exec) {
        self.execs.push(row);
    }

    /// Batches that are full.
    pub fn take_full(&mut self) -> Result<Vec<(&'static Table, RecordBatch)>, ArrowError> {
        let network = self.tcp.is_full() || self.flows.is_full();
        let is_full = network || self.sched.is_full() || self.wakes.is_full() || self.counters.is_full();
        if is_full { self.take_sorted() } else { Ok(Vec::new()) }
    }

    fn take_sorted(&mut self) -> Result<Vec<(&'static Table, RecordBatch)>, ArrowError> {
        Ok(vec![
            (&tables::TCP, self.tcp.take()?),
            (&tables::FLOWS, self.flows.take()?),
            (&tables::SCHED, self.sched.take()?),
            (&tables::WAKES, self.wakes.take()?),
            (&tables::COUNTERS, self.counters.take()?),
        ])
    }

    /// Everything, at the end of a part.
    pub fn take_all(&mut self) -> Result<Vec<(&'static Table, RecordBatch)>, ArrowError> {
        let mut execs = std::mem::take(&mut self.execs);
        execs.sort_by_key(|exec| (exec.row.boot_ns, exec.row.cpu, exec.row.seq));
        let mut batches = self.take_sorted()?;
        batches.push((&tables::EXECS, batch::<ExecRow>(execs.iter().map(Exec::row))?));
        Ok(batches)
    }
}
