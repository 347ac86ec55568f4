//! Rows of the tables of evidence to batches, column by column in the order of their definitions.

use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, UInt8Array, UInt16Array, UInt32Array,
};
use arrow::error::ArrowError;
use retrospan_formats::tables;

use crate::rows::names;
use crate::rows::self_activity::Work;

/// A row of `tcp`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the column of that name")]
pub struct TcpRow {
    pub boot_ns: u64,
    pub cpu: u16,
    pub seq: u64,
    pub kind: &'static str,
    pub socket_id: u64,
    pub process_id: Option<i64>,
    pub tcp_seq: Option<u32>,
    pub bytes: Option<i32>,
    pub rtt_us: Option<i32>,
    pub rttvar_us: Option<i32>,
    pub tcp_state: u8,
}

/// A row of `sched`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the column of that name")]
pub struct SchedRow {
    pub boot_ns: u64,
    pub duration_ns: u64,
    pub cpu: u16,
    pub seq: u64,
    pub kind: &'static str,
    pub pid: u32,
    pub tid: u32,
    pub process_id: Option<i64>,
    pub other_pid: Option<u32>,
    pub other_process_id: Option<i64>,
}

/// A row of `execs`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the column of that name")]
pub struct ExecRow {
    pub boot_ns: u64,
    pub cpu: u16,
    pub seq: u64,
    pub pid: u32,
    pub process_id: Option<i64>,
    pub parent_process_id: Option<i64>,
    pub exe: Option<Rc<str>>,
    pub argv: Option<Rc<str>>,
    pub comm: Rc<str>,
}

/// A row of `usage`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the column of that name")]
pub struct UsageRow {
    pub boot_ns: u64,
    pub interval_ns: u64,
    pub process_id: Option<i64>,
    pub pid: u32,
    pub cpu_ns: u64,
}

/// Rows of `tcp`.
pub fn tcp(rows: &[TcpRow]) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = vec![
        int64(rows.iter().map(|r| r.boot_ns)),
        Arc::new(rows.iter().map(|r| Some(r.cpu)).collect::<UInt16Array>()),
        int64(rows.iter().map(|r| r.seq)),
        names(rows.iter().map(|r| r.kind)),
        int64(rows.iter().map(|r| r.socket_id)),
        Arc::new(rows.iter().map(|r| r.process_id).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.tcp_seq).collect::<UInt32Array>()),
        Arc::new(rows.iter().map(|r| r.bytes).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|r| r.rtt_us).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|r| r.rttvar_us).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|r| Some(r.tcp_state)).collect::<UInt8Array>()),
    ];
    RecordBatch::try_new(tables::TCP.schema(), columns)
}

/// Rows of `sched`.
pub fn sched(rows: &[SchedRow]) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = vec![
        int64(rows.iter().map(|r| r.boot_ns)),
        int64(rows.iter().map(|r| r.duration_ns)),
        Arc::new(rows.iter().map(|r| Some(r.cpu)).collect::<UInt16Array>()),
        int64(rows.iter().map(|r| r.seq)),
        names(rows.iter().map(|r| r.kind)),
        int32(rows.iter().map(|r| Some(r.pid))),
        int32(rows.iter().map(|r| Some(r.tid))),
        Arc::new(rows.iter().map(|r| r.process_id).collect::<Int64Array>()),
        int32(rows.iter().map(|r| r.other_pid)),
        Arc::new(rows.iter().map(|r| r.other_process_id).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(tables::SCHED.schema(), columns)
}

/// Rows of `execs`.
pub fn execs(rows: &[ExecRow]) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = vec![
        int64(rows.iter().map(|r| r.boot_ns)),
        Arc::new(rows.iter().map(|r| Some(r.cpu)).collect::<UInt16Array>()),
        int64(rows.iter().map(|r| r.seq)),
        int32(rows.iter().map(|r| Some(r.pid))),
        Arc::new(rows.iter().map(|r| r.process_id).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.parent_process_id).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.exe.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|r| r.argv.as_deref()).collect::<StringArray>()),
        names(rows.iter().map(|r| &*r.comm)),
    ];
    RecordBatch::try_new(tables::EXECS.schema(), columns)
}

/// Rows of `usage`.
pub fn usage(rows: &[UsageRow]) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = vec![
        int64(rows.iter().map(|r| r.boot_ns)),
        int64(rows.iter().map(|r| r.interval_ns)),
        Arc::new(rows.iter().map(|r| r.process_id).collect::<Int64Array>()),
        int32(rows.iter().map(|r| Some(r.pid))),
        int64(rows.iter().map(|r| r.cpu_ns)),
    ];
    RecordBatch::try_new(tables::USAGE.schema(), columns)
}

/// Rows of `recorder`.
pub fn recorder(rows: &[Work]) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = vec![
        int64(rows.iter().map(|r| r.boot_ns)),
        int64(rows.iter().map(|r| r.duration_ns)),
        names(rows.iter().map(|r| r.kind.name())),
        int64(rows.iter().map(|r| r.rows)),
        int64(rows.iter().map(|r| r.bytes)),
    ];
    RecordBatch::try_new(tables::RECORDER.schema(), columns)
}

fn int64(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(values.map(|v| Some(v as i64)).collect::<Int64Array>())
}

fn int32(values: impl Iterator<Item = Option<u32>>) -> ArrayRef {
    Arc::new(values.map(|v| v.map(|v| v as i32)).collect::<Int32Array>())
}
