//! Small captures, and what is done to them.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::Int64Type;
use parquet::file::metadata::ParquetMetaDataReader;
use retrospan_formats::error::CaptureError;
use retrospan_formats::manifest::{Cost, Host, MANIFEST, Manifest, State};
use retrospan_formats::reader::Capture;
use retrospan_formats::table::{FORMAT_VERSION, Table};
use retrospan_formats::tables;
use retrospan_formats::writer::CaptureWriter;
use xxhash_rust::xxh3::xxh3_64;

pub fn manifest() -> Manifest {
    Manifest {
        format_version: FORMAT_VERSION,
        capture_id: "0".repeat(32),
        state: State::Recording,
        host: Host::default(),
        options: serde_json::Map::new(),
        probe_set: "syscalls".into(),
        probe_set_reason: None,
        recorder_version: "0".into(),
        imported: None,
        rolled: None,
        frozen: None,
        ended_by: None,
        tls: None,
        started_boot_ns: 0,
        started_wall_ns: 0,
        whole_until_boot_ns: 0,
        files: Vec::new(),
        losses: Vec::new(),
        cost: None,
    }
}

/// Rows of a table whose first column holds these numbers, and whose others are as empty as they may be.
pub fn batch(table: &'static Table, numbers: &[i64]) -> RecordBatch {
    let schema = table.schema();
    let columns = schema.fields().iter().enumerate().map(|(index, field)| -> ArrayRef {
        if index == 0 {
            return Arc::new(Int64Array::from(numbers.to_vec()));
        }
        if field.is_nullable() {
            return new_null_array(field.data_type(), numbers.len());
        }
        let zeros = Int64Array::from(vec![0; numbers.len()]);
        let text = arrow::compute::cast(&zeros, &arrow::datatypes::DataType::Utf8).unwrap();
        arrow::compute::cast(&zeros, field.data_type())
            .or_else(|_| arrow::compute::cast(&text, field.data_type()))
            .unwrap()
    });
    let columns = columns.collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

pub fn numbers(batches: impl Iterator<Item = Result<RecordBatch, CaptureError>>) -> Vec<i64> {
    batches.flat_map(|b| b.unwrap().column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// A capture of two parts in a fresh directory.
pub struct Written {
    _folder: tempfile::TempDir,
    pub path: PathBuf,
}

impl Written {
    pub fn complete() -> Written {
        let written = Written::empty();
        let writer = written.write();
        writer.complete(Cost::default()).unwrap();
        written
    }

    pub fn empty() -> Written {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cap");
        Written { _folder: folder, path }
    }

    pub fn write(&self) -> CaptureWriter {
        let mut writer = CaptureWriter::create(&self.path, manifest()).unwrap();
        writer.append(&tables::EVENTS, &batch(&tables::EVENTS, &[1, 2, 5])).unwrap();
        writer.append(&tables::CLOCK, &batch(&tables::CLOCK, &[5])).unwrap();
        writer.rotate(5, Vec::new()).unwrap();
        writer.append(&tables::EVENTS, &batch(&tables::EVENTS, &[4, 6, 7])).unwrap();
        writer.append(&tables::SOCKETS, &batch(&tables::SOCKETS, &[1])).unwrap();
        writer.rotate(7, Vec::new()).unwrap();
        writer
    }

    pub fn open(&self) -> Result<Capture, CaptureError> {
        Capture::open(&self.path)
    }

    /// One line that names the file, and nothing changed.
    pub fn refuses(&self, file: &str) -> CaptureError {
        let before = tree(&self.path);
        let error = self.open().unwrap_err();
        let text = error.to_string();
        assert!(text.contains(file) && !text.contains('\n'), "{text}");
        assert!(tree(&self.path) == before, "{text}");
        error
    }
}

/// A manifest as the first versions wrote it, so that what it says is looked at.
pub fn without_checksum(manifest: &str) -> String {
    let at = manifest.rfind(",\n  \"xxh3\": \"").unwrap();
    format!("{}\n}}\n", &manifest[..at])
}

/// Every file below, with its content.
pub fn tree(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return all };
    for entry in entries {
        let path = entry.unwrap().path();
        let found = fs::symlink_metadata(&path).unwrap();
        if found.is_dir() {
            all.extend(tree(&path));
        } else if found.is_file() && found.len() < 1 << 20 {
            all.push((path.clone(), fs::read(path).unwrap()));
        } else {
            all.push((path, format!("{:?} {}", found.file_type(), found.len()).into_bytes()));
        }
    }
    all.sort();
    all
}

/// Makes the manifest fit the files again, as somebody would who means harm.
pub fn reseal(capture: &Path) {
    let path = capture.join(MANIFEST);
    let mut manifest: Manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for file in &mut manifest.files {
        let Ok(bytes) = fs::read(capture.join(&file.path)) else { continue };
        let footer = ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::copy_from_slice(&bytes));
        if let Ok(footer) = footer {
            file.rows = footer.file_metadata().num_rows() as u64;
        }
        file.bytes = bytes.len() as u64;
        file.xxh3 = format!("{:016x}", xxh3_64(&bytes));
    }
    fs::write(path, manifest.to_bytes().unwrap()).unwrap();
}
