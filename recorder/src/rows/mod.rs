//! Rows of the small tables to batches, column by column in the order of their definitions.

pub mod compact;
pub mod events;
pub mod evidence;
pub mod files;
pub mod pending;
pub mod self_activity;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray, UInt16Array,
    UInt32Array,
};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use retrospan_formats::tables;

use crate::pipeline::losses::LossRow;
use crate::pipeline::processes;
use crate::pipeline::sockets;

/// Rows of `sockets`.
pub fn sockets(rows: &[sockets::Row]) -> Result<RecordBatch, ArrowError> {
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
pub fn processes(rows: &[processes::Row]) -> Result<RecordBatch, ArrowError> {
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
