//! Typed values in, record batches of a derived table out.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, DictionaryArray, Float64Builder, Int32Builder, Int64Builder, RecordBatch,
    StringArray, StringBuilder, TimestampNanosecondBuilder,
};
use arrow::error::ArrowError;
use retrospan_formats::table::{Table, Type};

/// The value of one column of a row.
#[derive(Clone, Copy, Debug)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// For [`Type::Text`] and [`Type::Name`].
    Text(&'a str),
    /// For [`Type::I64`], [`Type::I32`] and [`Type::Time`] (ns since 1970 UTC).
    Integer(i64),
    /// For [`Type::F64`].
    Float(f64),
    /// For [`Type::Bool`].
    Bool(bool),
}

impl<'a> Cell<'a> {
    /// Text, or null.
    pub fn text(value: Option<&'a str>) -> Cell<'a> {
        value.map_or(Cell::Null, Cell::Text)
    }

    /// An integer, or null.
    pub fn integer<T: TryInto<i64>>(value: Option<T>) -> Cell<'a> {
        value.and_then(|value| value.try_into().ok()).map_or(Cell::Null, Cell::Integer)
    }
}

/// Rows of one derived table that are not handed out yet.
pub struct Rows {
    /// The table.
    pub table: &'static Table,
    columns: Vec<Builder>,
    rows: usize,
}

enum Builder {
    Bool(BooleanBuilder),
    I32(Int32Builder),
    I64(Int64Builder),
    F64(Float64Builder),
    Text(StringBuilder),
    Name(Names),
    Time(TimestampNanosecondBuilder),
}

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

impl Rows {
    /// No row yet.
    pub fn new(table: &'static Table) -> Rows {
        Rows { table, columns: table.columns.iter().map(|c| Builder::new(c.ty)).collect(), rows: 0 }
    }

    /// Adds a row: one cell a column, in the table's order.
    pub fn push(&mut self, cells: &[Cell<'_>]) {
        assert_eq!(cells.len(), self.columns.len(), "cells of a row of {}", self.table.name);
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(*cell);
        }
        self.rows += 1;
    }

    /// Whether it is time to take the batch.
    pub fn full(&self) -> bool {
        self.rows >= BATCH_ROWS
    }

    /// Hands out the rows so far, if there are any.
    pub fn take(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        if self.rows == 0 {
            return Ok(None);
        }
        self.rows = 0;
        let columns = self.columns.iter_mut().map(Builder::finish).collect();
        RecordBatch::try_new(self.table.schema(), columns).map(Some)
    }
}

/// A dictionary column. Neighbouring rows mostly have one of a few values, so those used last are tried first.
#[derive(Default)]
struct Names {
    keys: Int32Builder,
    values: Vec<Box<str>>,
    by_value: HashMap<Box<str>, i32>,
    last: [i32; 4],
    turn: usize,
}

impl Names {
    fn push(&mut self, value: Option<&str>) {
        let key = value.map(|value| self.key(value));
        self.keys.append_option(key);
    }

    fn key(&mut self, value: &str) -> i32 {
        let same = |key: &i32| self.values.get(*key as usize).is_some_and(|known| **known == *value);
        if let Some(key) = self.last.iter().copied().find(same) {
            return key;
        }
        let key = match self.by_value.get(value) {
            Some(&key) => key,
            None => {
                let key = self.values.len() as i32;
                self.values.push(value.into());
                self.by_value.insert(value.into(), key);
                key
            }
        };
        self.last[self.turn] = key;
        self.turn = (self.turn + 1) % self.last.len();
        key
    }

    fn finish(&mut self) -> ArrayRef {
        let values = StringArray::from_iter_values(self.values.drain(..));
        self.by_value.clear();
        self.last = [0; 4];
        let keys = self.keys.finish();
        Arc::new(DictionaryArray::new(keys, Arc::new(values)))
    }
}

impl Builder {
    fn new(ty: Type) -> Builder {
        match ty {
            Type::Bool => Builder::Bool(BooleanBuilder::with_capacity(BATCH_ROWS)),
            Type::U8 | Type::U16 | Type::U32 | Type::I32 => {
                Builder::I32(Int32Builder::with_capacity(BATCH_ROWS))
            }
            Type::I64 => Builder::I64(Int64Builder::with_capacity(BATCH_ROWS)),
            Type::F64 => Builder::F64(Float64Builder::with_capacity(BATCH_ROWS)),
            Type::Text | Type::Bytes => {
                Builder::Text(StringBuilder::with_capacity(BATCH_ROWS, BATCH_ROWS * 32))
            }
            Type::Name => Builder::Name(Names::default()),
            Type::Time => {
                Builder::Time(TimestampNanosecondBuilder::with_capacity(BATCH_ROWS).with_timezone("UTC"))
            }
        }
    }

    /// A cell of another type is null; the batch then fails to build where the column must not be.
    fn push(&mut self, cell: Cell<'_>) {
        match (self, cell) {
            (Builder::Bool(column), Cell::Bool(value)) => column.append_value(value),
            (Builder::I32(column), Cell::Integer(value)) => column.append_option(i32::try_from(value).ok()),
            (Builder::I64(column), Cell::Integer(value)) => column.append_value(value),
            (Builder::Time(column), Cell::Integer(value)) => column.append_value(value),
            (Builder::F64(column), Cell::Float(value)) => column.append_value(value),
            (Builder::Text(column), Cell::Text(value)) => column.append_value(value),
            (Builder::Name(column), Cell::Text(value)) => column.push(Some(value)),
            (Builder::Bool(column), _) => column.append_null(),
            (Builder::I32(column), _) => column.append_null(),
            (Builder::I64(column), _) => column.append_null(),
            (Builder::Time(column), _) => column.append_null(),
            (Builder::F64(column), _) => column.append_null(),
            (Builder::Text(column), _) => column.append_null(),
            (Builder::Name(column), _) => column.push(None),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Builder::Bool(column) => Arc::new(column.finish()),
            Builder::I32(column) => Arc::new(column.finish()),
            Builder::I64(column) => Arc::new(column.finish()),
            Builder::F64(column) => Arc::new(column.finish()),
            Builder::Text(column) => Arc::new(column.finish()),
            Builder::Name(column) => column.finish(),
            Builder::Time(column) => Arc::new(column.finish()),
        }
    }
}
