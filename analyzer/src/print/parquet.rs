//! A Parquet file with zstd.

use std::io::Write;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::WriterProperties;

use super::RowWriter;
use crate::error::{Error, Result};

pub struct ParquetWriter {
    writer: ArrowWriter<Box<dyn Write + Send>>,
}

impl ParquetWriter {
    pub fn new(schema: SchemaRef, out: Box<dyn Write + Send>) -> Result<ParquetWriter> {
        let level = ZstdLevel::try_new(3).unwrap_or_default();
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
        // Without the Arrow schema other readers choose their own types for text.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(out, schema, options).map_err(output)?;
        Ok(ParquetWriter { writer })
    }
}

impl RowWriter for ParquetWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(output)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let mut out = self.writer.into_inner().map_err(output)?;
        out.flush().map_err(Error::Output)
    }
}

fn output(error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) => Error::Output(*source),
            Err(other) => Error::Query(DataFusionError::from(ParquetError::External(other))),
        },
        other => Error::Query(DataFusionError::from(other)),
    }
}
