//! Typed values in, record batches of a derived table out.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
    StringDictionaryBuilder, TimestampNanosecondBuilder,
};
use arrow::datatypes::Int32Type;
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
    Name(StringDictionaryBuilder<Int32Type>),
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

impl Builder {
    fn new(ty: Type) -> Builder {
        match ty {
            Type::Bool => Builder::Bool(BooleanBuilder::new()),
            Type::U8 | Type::U16 | Type::U32 | Type::I32 => Builder::I32(Int32Builder::new()),
            Type::I64 => Builder::I64(Int64Builder::new()),
            Type::F64 => Builder::F64(Float64Builder::new()),
            Type::Text | Type::Bytes => Builder::Text(StringBuilder::new()),
            Type::Name => Builder::Name(StringDictionaryBuilder::new()),
            Type::Time => Builder::Time(TimestampNanosecondBuilder::new().with_timezone("UTC")),
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
            (Builder::Name(column), Cell::Text(value)) => column.append_value(value),
            (Builder::Bool(column), _) => column.append_null(),
            (Builder::I32(column), _) => column.append_null(),
            (Builder::I64(column), _) => column.append_null(),
            (Builder::Time(column), _) => column.append_null(),
            (Builder::F64(column), _) => column.append_null(),
            (Builder::Text(column), _) => column.append_null(),
            (Builder::Name(column), _) => column.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Builder::Bool(column) => Arc::new(column.finish()),
            Builder::I32(column) => Arc::new(column.finish()),
            Builder::I64(column) => Arc::new(column.finish()),
            Builder::F64(column) => Arc::new(column.finish()),
            Builder::Text(column) => Arc::new(column.finish()),
            Builder::Name(column) => Arc::new(column.finish()),
            Builder::Time(column) => Arc::new(column.finish()),
        }
    }
}
