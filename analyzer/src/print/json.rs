//! One JSON object a line; nulls are written out, bytes as text (`\xNN` for what is not printable ASCII), numbers that JSON
//! does not have (NaN, infinities) as null.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::writer::{
    Encoder, EncoderFactory, EncoderOptions, LineDelimited, NullableEncoder, WriterBuilder, make_encoder,
};

use super::table::texts;
use super::{RowWriter, arrow};
use crate::error::{Error, Result};
use crate::text::is_control_like;

pub struct JsonWriter<W: Write> {
    out: W,
}

impl<W: Write> JsonWriter<W> {
    pub fn new(out: W) -> JsonWriter<W> {
        JsonWriter { out }
    }
}

impl<W: Write> RowWriter for JsonWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut lines = Vec::new();
        let builder = WriterBuilder::new().with_explicit_nulls(true).with_encoder_factory(Arc::new(AsText));
        let mut writer = builder.build::<_, LineDelimited>(&mut lines);
        writer.write(batch).and_then(|()| writer.finish()).map_err(arrow)?;
        drop(writer);
        self.out.write_all(escaped(&lines).as_bytes()).map_err(Error::Output)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.out.flush().map_err(Error::Output)
    }
}

/// A column's cells as JSON values, none where there is no value.
pub fn values(column: &ArrayRef) -> Result<Vec<Option<String>>> {
    let field: FieldRef = Arc::new(Field::new("value", column.data_type().clone(), true));
    let options = EncoderOptions::default().with_explicit_nulls(true).with_encoder_factory(Arc::new(AsText));
    let mut encoder = make_encoder(&field, column.as_ref(), &options).map_err(arrow)?;
    let mut bytes = Vec::new();
    let cell = |row| {
        bytes.clear();
        (!encoder.is_null(row)).then(|| {
            encoder.encode(row, &mut bytes);
            escaped(&bytes)
        })
    };
    Ok((0..column.len()).map(cell).collect())
}

/// Writes as text what JSON has no other way for: bytes, unions, maps whose keys are no texts. Also within lists and structs.
#[derive(Debug)]
struct AsText;

impl EncoderFactory for AsText {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> std::result::Result<Option<NullableEncoder<'a>>, ArrowError> {
        if !needs_text(array.data_type()) {
            return Ok(None);
        }
        let cells = texts(&array.slice(0, array.len())).map_err(|e| ArrowError::JsonError(e.to_string()))?;
        Ok(Some(NullableEncoder::new(Box::new(Cells(cells)), array.logical_nulls())))
    }
}

fn needs_text(ty: &DataType) -> bool {
    match ty {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            true
        }
        DataType::Union(..) => true,
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => !fields.first().is_some_and(|key| key.data_type().is_string()),
            _ => true,
        },
        _ => false,
    }
}

struct Cells(Vec<Option<String>>);

impl Encoder for Cells {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let text = self.0.get(row).and_then(Option::as_deref);
        out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    }
}

/// JSON lets DEL, C1 controls and direction marks stand as they are; a terminal acts on them. Outside of
/// strings there are none, so each may become its `\u` escape.
fn escaped(lines: &[u8]) -> String {
    let text = String::from_utf8_lossy(lines);
    if !text.chars().any(|c| c != '\n' && is_control_like(c)) {
        return text.into_owned();
    }
    let mut safe = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if c == '\n' || !is_control_like(c) {
            safe.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(safe, "\\u{unit:04x}");
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{BinaryArray, Float64Array, ListArray, NullArray, StringArray};
    use datafusion::arrow::buffer::OffsetBuffer;

    use super::*;

    #[test]
    fn what_acts_is_escaped_and_reads_back() {
        let hostile = "a\u{7f}\u{9b}\u{202e}\u{e0001}\n\"\\\x1b";
        let texts = Arc::new(StringArray::from(vec![Some(hostile), None])) as ArrayRef;
        let batch = RecordBatch::try_from_iter_with_nullable([("path", texts, true)]).unwrap();
        let mut out = Vec::new();
        JsonWriter::new(&mut out).write(&batch).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.chars().any(|c| c != '\n' && is_control_like(c)), "{text:?}");
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines[0]["path"], hostile);
        assert!(lines[1]["path"].is_null());
    }

    #[test]
    fn whatever_the_type_a_line_is_json() {
        let numbers = Float64Array::from(vec![f64::NAN, f64::NEG_INFINITY, 1e300]);
        let bytes = BinaryArray::from(vec![&b"\xff\\"[..]; 3]);
        let list = ListArray::new(
            Arc::new(Field::new_list_field(DataType::Binary, true)),
            OffsetBuffer::from_lengths([1, 0, 2]),
            Arc::new(bytes.clone()),
            Some(vec![true, false, true].into()),
        );
        let columns: [(&str, ArrayRef); 4] = [
            ("nothing", Arc::new(NullArray::new(3))),
            ("number", Arc::new(numbers)),
            ("bytes", Arc::new(bytes)),
            ("list", Arc::new(list)),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).unwrap();
        let mut out = Vec::new();
        JsonWriter::new(&mut out).write(&batch).unwrap();
        let expected = r#"{"nothing":null,"number":null,"bytes":"\\xff\\x5c","list":["\\xff\\x5c"]}
{"nothing":null,"number":null,"bytes":"\\xff\\x5c","list":null}
{"nothing":null,"number":1.0e300,"bytes":"\\xff\\x5c","list":["\\xff\\x5c","\\xff\\x5c"]}
"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
