//! Files put one behind the other as they are: nothing is decoded.

use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
use parquet::file::writer::SerializedFileWriter;

use super::part::{Finished, PartWriter, parquet_error};
use crate::error::{CaptureError, io};
use crate::manifest;
use crate::reader::{Capture, PartBytes};

impl PartWriter {
    /// Finishes with the row groups of other files of the table. None were appended before.
    pub(super) fn splice(
        self,
        capture: &Capture,
        files: &[manifest::File],
    ) -> Result<Finished, CaptureError> {
        let (place, mut writer) = self.into_serialized()?;
        for file in files {
            let path = capture.directory.join(&file.path);
            let bytes = PartBytes::new(capture.open_file(file).map_err(io(&path))?, file.bytes);
            append(&mut writer, &bytes).map_err(parquet_error(&path))?;
        }
        let rows = files.iter().map(|file| file.rows).sum();
        let times = files.iter().filter_map(|file| file.first_boot_ns.zip(file.last_boot_ns));
        let times = times.reduce(|all, file| (all.0.min(file.0), all.1.max(file.1)));
        let file = writer.into_inner().map_err(parquet_error(&place.path()))?;
        place.finish(file, rows, times)
    }
}

fn append<W: std::io::Write + Send>(
    writer: &mut SerializedFileWriter<W>,
    bytes: &PartBytes,
) -> Result<(), ParquetError> {
    let metadata = ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Optional)
        .parse_and_finish(bytes)?;
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let column_indexes = metadata.column_index().and_then(|groups| groups.get(index));
        let offset_indexes = metadata.offset_index().and_then(|groups| groups.get(index));
        let mut copy = writer.next_row_group()?;
        for (index, column) in group.columns().iter().enumerate() {
            let close = ColumnCloseResult {
                bytes_written: column.compressed_size().unsigned_abs(),
                rows_written: group.num_rows().unsigned_abs(),
                metadata: column.clone(),
                bloom_filter: None,
                column_index: column_indexes.and_then(|columns| columns.get(index)).cloned(),
                offset_index: offset_indexes.and_then(|columns| columns.get(index)).cloned(),
            };
            copy.append_column(bytes, close)?;
        }
        copy.close()?;
    }
    Ok(())
}
