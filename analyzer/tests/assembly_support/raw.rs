//! Values to rows of raw tables, as a recorder writes them.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
    StringDictionaryBuilder, UInt8Builder, UInt16Builder, UInt32Builder,
};
use arrow::datatypes::Int32Type;
use retrospan_formats::manifest::{Host, Manifest, State};
use retrospan_formats::table::{Table, Type};
use retrospan_formats::writer::CaptureWriter;

/// One value of a raw table.
#[derive(Clone, Debug)]
pub enum Value {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A capture that is being recorded.
pub fn new_capture(directory: &Path) -> CaptureWriter {
    let manifest = Manifest {
        format_version: 1,
        capture_id: "0123456789abcdef0123456789abcdef".to_owned(),
        state: State::Recording,
        host: Host::default(),
        options: serde_json::Map::new(),
        probe_set: "syscalls".to_owned(),
        recorder_version: "0".to_owned(),
        started_boot_ns: 0,
        started_wall_ns: 0,
        whole_until_boot_ns: 0,
        files: Vec::new(),
        losses: Vec::new(),
        cost: None,
    };
    CaptureWriter::create(directory, manifest).expect("a new capture")
}

/// Rows of a table as a batch.
pub fn batch(table: &'static Table, rows: &[Vec<Value>]) -> RecordBatch {
    let columns = (0..table.columns.len()).map(|index| array(table.columns[index].ty, rows, index));
    RecordBatch::try_new(table.schema(), columns.collect()).expect("rows that fit")
}

fn array(ty: Type, rows: &[Vec<Value>], column: usize) -> ArrayRef {
    let int = |row: &Vec<Value>| match &row[column] {
        Value::Int(value) => Some(*value),
        _ => None,
    };
    let text = |row: &Vec<Value>| match &row[column] {
        Value::Text(value) => Some(value.clone()),
        _ => None,
    };
    macro_rules! ints {
        ($builder:ty, $native:ty) => {{
            let mut builder = <$builder>::new();
            rows.iter().for_each(|row| builder.append_option(int(row).map(|v| v as $native)));
            Arc::new(builder.finish()) as ArrayRef
        }};
    }
    match ty {
        Type::U8 => ints!(UInt8Builder, u8),
        Type::U16 => ints!(UInt16Builder, u16),
        Type::U32 => ints!(UInt32Builder, u32),
        Type::I32 => ints!(Int32Builder, i32),
        Type::I64 => ints!(Int64Builder, i64),
        Type::Bool => {
            let mut builder = BooleanBuilder::new();
            rows.iter().for_each(|row| builder.append_option(int(row).map(|v| v != 0)));
            Arc::new(builder.finish())
        }
        Type::Text => {
            let mut builder = StringBuilder::new();
            rows.iter().for_each(|row| builder.append_option(text(row)));
            Arc::new(builder.finish())
        }
        Type::Name => {
            let mut builder = StringDictionaryBuilder::<Int32Type>::new();
            rows.iter().for_each(|row| builder.append_option(text(row)));
            Arc::new(builder.finish())
        }
        Type::Bytes => {
            let mut builder = BinaryBuilder::new();
            for row in rows {
                match &row[column] {
                    Value::Bytes(bytes) => builder.append_value(bytes),
                    _ => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        }
        Type::F64 | Type::Time => panic!("no raw table has such a column"),
    }
}
