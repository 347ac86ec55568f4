//! Columns of a batch by name and type.

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::error::{DataFusionError, Result};

/// A column by name, as that type.
pub fn typed(batch: &RecordBatch, name: &str, ty: &DataType) -> Result<ArrayRef> {
    let column = batch
        .column_by_name(name)
        .ok_or_else(|| DataFusionError::Plan(format!("the rows have no column {name}")))?;
    Ok(cast(column, ty)?)
}

/// A column of numbers.
pub fn numbers(batch: &RecordBatch, name: &str) -> Result<Int64Array> {
    Ok(typed(batch, name, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// A column of texts.
pub fn texts(batch: &RecordBatch, name: &str) -> Result<StringViewArray> {
    Ok(typed(batch, name, &DataType::Utf8View)?.as_string_view().clone())
}
