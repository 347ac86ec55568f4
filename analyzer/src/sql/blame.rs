//! Which file it was, where DataFusion says only that something cannot be decoded.

use datafusion::error::DataFusionError;
use retrospan_formats::fault;
use retrospan_formats::reader::Capture;
use retrospan_formats::tables;

use crate::error::Error;

/// Reads the capture once more, all of it, where a query failed over what it read; what is wrong with a file has its name.
pub fn with_file(error: Error) -> Error {
    let Error::Query(query) = &error else { return error };
    if !is_of_reading(query) {
        return error;
    }
    let Some(path) = fault::last_read() else { return error };
    match Capture::open(&path).and_then(|capture| read(&capture)) {
        Err(found) => found.into(),
        Ok(()) => Error::Usage(format!("{}: {error}", path.display())),
    }
}

fn read(capture: &Capture) -> Result<(), retrospan_formats::error::CaptureError> {
    tables::ALL.iter().flat_map(|table| capture.read(table)).try_for_each(|batch| batch.map(|_| ()))
}

fn is_of_reading(error: &DataFusionError) -> bool {
    match error {
        DataFusionError::ParquetError(_) | DataFusionError::ObjectStore(_) => true,
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => is_of_reading(inner),
        DataFusionError::Shared(inner) => is_of_reading(inner),
        DataFusionError::ArrowError(inner, _) => {
            let text = inner.to_string();
            text.starts_with("Parquet") || text.starts_with("External error: Parquet")
        }
        _ => false,
    }
}
