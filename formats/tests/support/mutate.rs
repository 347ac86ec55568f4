//! Captures that were changed by somebody who knows the format: parts stored without compression, so that a changed byte meets the decoders
//! and not zstd, and everything that checks is made to fit again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::metadata::ParquetMetaDataReader;
use retrospan_formats::error::CaptureError;
use retrospan_formats::fault::guarded;
use retrospan_formats::manifest::{MANIFEST, Manifest};
use retrospan_formats::reader::Capture;
use retrospan_formats::tables;
use xxhash_rust::xxh3::xxh3_64;

/// A whole capture in memory: its files by their paths.
#[derive(Clone)]
pub struct InMemory {
    pub manifest: Manifest,
    pub files: BTreeMap<String, Vec<u8>>,
}

impl InMemory {
    /// Reads a sound capture; every other part is stored without compression.
    pub fn read(directory: &Path) -> InMemory {
        let capture = Capture::open(directory).unwrap();
        let mut files = BTreeMap::new();
        for (index, file) in capture.manifest.files.iter().enumerate() {
            let bytes = fs::read(directory.join(&file.path)).unwrap();
            let bytes = if index % 2 == 0 { uncompressed(bytes, &file.table) } else { bytes };
            files.insert(file.path.clone(), bytes);
        }
        let mut read = InMemory { manifest: capture.manifest.clone(), files };
        read.reseal();
        read
    }

    /// Makes the manifest say what the files are.
    pub fn reseal(&mut self) {
        for file in &mut self.manifest.files {
            let Some(bytes) = self.files.get(&file.path) else { continue };
            file.bytes = bytes.len() as u64;
            file.xxh3 = format!("{:016x}", xxh3_64(bytes));
            let footer = guarded(|| {
                ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::copy_from_slice(bytes))
            });
            if let Ok(Ok(footer)) = footer {
                file.rows = footer.file_metadata().num_rows() as u64;
            }
        }
    }

    /// Writes it out; paths that lead elsewhere are left out.
    pub fn write(&self, directory: &Path) {
        for (path, bytes) in &self.files {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        fs::write(directory.join(MANIFEST), self.manifest.to_bytes().unwrap()).unwrap();
    }

    /// Changes it as the bytes tell: each change takes six of them.
    pub fn mutate(&mut self, data: &[u8]) {
        for &[what, which, a, b, c, value] in data.as_chunks().0 {
            let at = u32::from_le_bytes([a, b, c, 0]) as usize;
            if what % 16 == 15 {
                self.mutate_manifest(which, at, value);
                continue;
            }
            let count = self.files.len();
            let Some(bytes) = self.files.values_mut().nth(usize::from(which) % count.max(1)) else { return };
            if bytes.is_empty() {
                continue;
            }
            // Footers and page headers are few of the bytes and most of what may go wrong.
            let length = bytes.len();
            let at = if what & 16 == 0 { at % length } else { length - 1 - at % length.min(2_000) };
            match what % 4 {
                0 => bytes[at] ^= value.max(1),
                1 => bytes[at] = value,
                2 => {
                    let extremes = [i64::MIN, i64::MAX, -1, 0, 1 << 60, i64::from(i32::MAX), -(1 << 40), 255];
                    let extreme = extremes[usize::from(value) % extremes.len()].to_le_bytes();
                    let room = extreme.len().min(length - at);
                    bytes[at..at + room].copy_from_slice(&extreme[..room]);
                }
                _ => {
                    let other = (at * 7 + usize::from(value)) % length;
                    bytes.swap(at, other);
                }
            }
        }
        self.reseal();
    }

    fn mutate_manifest(&mut self, which: u8, at: usize, value: u8) {
        let extremes = [i64::MIN, i64::MAX, -1, 0, 1 << 61, 1 << 40, at as i64];
        let extreme = extremes[usize::from(value) % extremes.len()];
        let count = self.manifest.files.len().max(1);
        match which % 6 {
            0 => self.manifest.started_boot_ns = extreme,
            1 => self.manifest.whole_until_boot_ns = extreme,
            2 => self.manifest.started_wall_ns = extreme,
            3 => {
                let file = self.manifest.files.get_mut(at % count);
                file.into_iter().for_each(|file| file.first_boot_ns = Some(extreme));
            }
            4 => {
                let table = tables::ALL[usize::from(value) % tables::ALL.len()].name.to_owned();
                let file = self.manifest.files.get_mut(at % count);
                file.into_iter().for_each(|file| file.table.clone_from(&table));
            }
            _ => {
                let file = self.manifest.files.get_mut(at % count);
                file.into_iter().for_each(|file| file.part = u32::from(value));
            }
        }
    }
}

/// The same rows, stored as they are.
fn uncompressed(bytes: Vec<u8>, table: &str) -> Vec<u8> {
    let table = tables::by_name(table).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
    let schema = reader.schema().clone();
    let properties = table.writer_properties(Some(1), Vec::new()).into_builder();
    let properties = properties.set_compression(Compression::UNCOMPRESSED).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties)).unwrap();
    for batch in reader.build().unwrap() {
        writer.write(&batch.unwrap()).unwrap();
    }
    writer.into_inner().unwrap()
}

/// Opens a capture and reads everything in it. Rows, where nothing was refused; what is refused is refused with the name of
/// a file.
pub fn read_all(directory: &Path) -> Result<u64, CaptureError> {
    let capture = Capture::open(directory)?;
    let mut rows = 0;
    for table in tables::ALL {
        for batch in capture.read(table) {
            rows += batch?.num_rows() as u64;
        }
    }
    for batch in capture.events() {
        rows += batch?.num_rows() as u64;
    }
    Ok(rows)
}
