//! Rows as they leave: names without words of the query plan, times in UTC where programs read them.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::{Format, arrow};
use crate::error::Result;

/// Types whose name DataFusion writes before a literal: `Int64(1)`, `Utf8("hour")`.
const NUMBERS: [&str; 11] = [
    "UInt8", "UInt16", "UInt32", "UInt64", "Int8", "Int16", "Int32", "Int64", "Float32", "Float64", "Boolean",
];
const TEXTS: [&str; 6] =
    ["LargeUtf8", "Utf8View", "Utf8", "IntervalMonthDayNano", "IntervalDayTime", "IntervalYearMonth"];

/// The schema of rows as that format shows them.
pub fn schema(schema: &Schema, format: Format) -> SchemaRef {
    let is_for_people = matches!(format, Format::Table | Format::Vertical);
    let field = |field: &FieldRef| {
        let ty = if is_for_people { field.data_type().clone() } else { in_utc(field.data_type()) };
        Field::new(plain_name(field.name()), ty, field.is_nullable()).with_metadata(field.metadata().clone())
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

/// A batch in that schema.
pub fn batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| {
        if column.data_type() == field.data_type() {
            Ok(Arc::clone(column))
        } else {
            cast(column, field.data_type())
        }
    });
    let columns = columns.collect::<std::result::Result<_, _>>().map_err(arrow)?;
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(arrow)
}

/// The type with times of any zone in UTC, in lists and structures too.
fn in_utc(ty: &DataType) -> DataType {
    let field = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(in_utc(field.data_type())));
    match ty {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("UTC".into())),
        DataType::List(item) => DataType::List(field(item)),
        DataType::LargeList(item) => DataType::LargeList(field(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(field(item), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        other => other.clone(),
    }
}

/// A column's name as the user would write it: `count(*)` for `count(Int64(1))`, `date_trunc('hour', t)`.
pub fn plain_name(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut rest = name.replace("count(Int64(1))", "count(*)");
    while let Some(at) = rest.find('(') {
        let (before, after) = rest.split_at(at);
        let literal = literal(before, &after[1..]);
        match literal {
            Some((start, value, used)) => {
                plain.push_str(&before[..start]);
                plain.push_str(&value);
                rest = after[1 + used..].to_owned();
            }
            None => {
                plain.push_str(before);
                plain.push('(');
                rest = after[1..].to_owned();
            }
        }
    }
    plain + &rest
}

/// Where a type's name begins at the end of `before`, the value in the parenthesis that begins `after`, and
/// how many bytes of it that takes; None where it is no literal.
fn literal(before: &str, after: &str) -> Option<(usize, String, usize)> {
    let start = |names: &[&str]| {
        let name = names.iter().find(|name| before.ends_with(**name))?;
        let start = before.len() - name.len();
        let is_whole = !before[..start].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        is_whole.then_some(start)
    };
    if let Some(start) = start(&TEXTS) {
        if let Some(text) = after.strip_prefix('"') {
            let end = text.find("\")")?;
            return Some((start, format!("'{}'", &text[..end]), end + 3));
        }
    } else if start(&NUMBERS).is_none() {
        return None;
    }
    let start = start(&NUMBERS).or_else(|| start(&TEXTS))?;
    let end = after.find(')')?;
    let value = &after[..end];
    let is_value = value == "NULL"
        || value == "true"
        || value == "false"
        || (!value.is_empty() && value.chars().all(|c| c.is_ascii_digit() || "+-.eEinfNa".contains(c)));
    is_value.then(|| (start, value.to_owned(), end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_words_of_the_plan() {
        for (name, plain) in [
            ("count(Int64(1))", "count(*)"),
            ("count(*)", "count(*)"),
            (r#"date_trunc(Utf8("hour"),spans.start_time)"#, "date_trunc('hour',spans.start_time)"),
            ("spans.duration_ns / Float64(1000000)", "spans.duration_ns / 1000000"),
            ("count(Int64(1)) * Float64(100) / sum(x)", "count(*) * 100 / sum(x)"),
            ("approx_percentile_cont(duration_ns,Float64(0.99))", "approx_percentile_cont(duration_ns,0.99)"),
            ("Int64(-1) + NULL", "-1 + NULL"),
            (r#"Utf8("a (b)")"#, "'a (b)'"),
            ("Boolean(true)", "true"),
            (
                r#"date_bin(IntervalMonthDayNano("IntervalMonthDayNano { months: 0 }"),t)"#,
                "date_bin('IntervalMonthDayNano { months: 0 }',t)",
            ),
            ("MyInt64(1)", "MyInt64(1)"),
            ("Int64(x)", "Int64(x)"),
            ("f(é)(", "f(é)("),
            ("Utf8(\"never ends", "Utf8(\"never ends"),
        ] {
            assert_eq!(plain_name(name), plain);
        }
    }

    #[test]
    fn times_leave_in_utc_for_programs_only() {
        let zoned =
            DataType::Timestamp(datafusion::arrow::datatypes::TimeUnit::Nanosecond, Some("+01:00".into()));
        let list = DataType::List(Arc::new(Field::new("item", zoned.clone(), true)));
        let rows = Schema::new(vec![Field::new("t", zoned.clone(), true), Field::new("l", list, true)]);
        let csv = schema(&rows, Format::Csv);
        assert!(format!("{csv:?}").matches("UTC").count() == 2 && !format!("{csv:?}").contains("+01:00"));
        assert_eq!(schema(&rows, Format::Table).field(0).data_type(), &zoned);
    }
}
