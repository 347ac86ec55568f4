//! Rows of the small tables to batches, column by column in the order of their definitions.

pub mod compact;
pub mod events;
pub mod evidence;
pub mod files;
pub mod pending;
pub mod self_activity;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray, UInt16Array,
    UInt32Array,
};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use retrospan_formats::table::Table;
use retrospan_formats::tables;

/// A row of `sockets`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the column of that name")]
pub struct SocketRow {
    pub socket_id: i64,
    pub process_id: Option<i64>,
    pub netns: i64,
    pub family: &'static str,
    pub protocol: &'static str,
    pub role: &'static str,
    pub local: (IpAddr, u16),
    pub remote: Option<(IpAddr, u16)>,
    pub inode: Option<i64>,
    pub discovered: bool,
    pub opened_boot_ns: Option<i64>,
    pub closed_boot_ns: Option<i64>,
    pub first_send_seq: Option<u32>,
    pub first_receive_seq: Option<u32>,
}

/// A row of `processes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessRow {
    /// Start in ms since boot, times 2^22, plus pid.
    pub process_id: i64,
    /// Thread group id.
    pub pid: u32,
    /// The parent when it was born.
    pub parent_process_id: Option<i64>,
    /// Path of the executable.
    pub exe: Option<Rc<str>>,
    /// Name of the thread-group leader.
    pub comm: Rc<str>,
    /// Arguments as they may be kept, shell-quoted.
    pub argv: Option<Rc<str>>,
    /// Path of the cgroup.
    pub cgroup: Option<Rc<str>>,
    /// CLOCK_BOOTTIME of the start, ns.
    pub start_boot_ns: u64,
    /// CLOCK_BOOTTIME of the end, ns.
    pub end_boot_ns: Option<u64>,
    /// Wait status.
    pub exit_code: Option<i32>,
}

/// A row of `loss`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the column of that name")]
pub struct LossRow {
    pub from_boot_ns: u64,
    pub to_boot_ns: u64,
    pub cpu: u16,
    pub kind: &'static str,
    pub cause: &'static str,
    pub count: u64,
}

/// Why rows do not get to the disk.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// A batch could not be built.
    #[error("rows do not fit their table: {0}")]
    Rows(#[from] ArrowError),
    /// The writer has ended; it has the reason.
    #[error("the writer has ended")]
    WriterGone,
}

/// Takes a finished batch.
pub type Sink<'a> = dyn FnMut(&'static Table, RecordBatch) -> Result<(), RowsError> + 'a;

/// Rows of `sockets`.
pub fn sockets(rows: &[SocketRow]) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| Some(r.socket_id)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.process_id).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| Some(r.netns)).collect::<Int64Array>()),
        names(rows.iter().map(|r| r.family)),
        names(rows.iter().map(|r| r.protocol)),
        names(rows.iter().map(|r| r.role)),
        Arc::new(rows.iter().map(|r| Some(r.local.0.to_string())).collect::<StringArray>()),
        Arc::new(rows.iter().map(|r| Some(i32::from(r.local.1))).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|r| r.remote.map(|(ip, _)| ip.to_string())).collect::<StringArray>()),
        Arc::new(rows.iter().map(|r| r.remote.map(|(_, port)| i32::from(port))).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|r| r.inode).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| Some(r.discovered)).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|r| r.opened_boot_ns).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.closed_boot_ns).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.first_send_seq).collect::<UInt32Array>()),
        Arc::new(rows.iter().map(|r| r.first_receive_seq).collect::<UInt32Array>()),
    ];
    RecordBatch::try_new(tables::SOCKETS.schema(), columns)
}

/// Rows of `processes`.
pub fn processes(rows: &[ProcessRow]) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| Some(r.process_id)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| Some(r.pid as i32)).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|r| r.parent_process_id).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.exe.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|r| Some(&*r.comm)).collect::<StringArray>()),
        Arc::new(rows.iter().map(|r| r.argv.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|r| r.cgroup.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|r| Some(r.start_boot_ns as i64)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.end_boot_ns.map(|ns| ns as i64)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.exit_code).collect::<Int32Array>()),
    ];
    RecordBatch::try_new(tables::PROCESSES.schema(), columns)
}

/// Rows of `clock`: boot time and wall time, in ns.
pub fn clock(rows: &[(i64, i64)]) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| Some(r.0)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| Some(r.1)).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(tables::CLOCK.schema(), columns)
}

/// Rows of `loss`.
pub fn losses(rows: &[LossRow]) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| Some(r.from_boot_ns as i64)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| Some(r.to_boot_ns as i64)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| Some(r.cpu)).collect::<UInt16Array>()),
        names(rows.iter().map(|r| r.kind)),
        names(rows.iter().map(|r| r.cause)),
        Arc::new(rows.iter().map(|r| Some(r.count as i64)).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(tables::LOSS.schema(), columns)
}

/// A column of few different texts.
pub fn names<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(values.collect::<DictionaryArray<Int32Type>>())
}
