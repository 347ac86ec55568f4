//! Every command over captures that mean harm: exit code 2 and one line with the name of the file, within bounds of time and memory.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli_support::*;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use retrospan_formats::manifest::{MANIFEST, Manifest};
use retrospan_formats::tables;
use xxhash_rust::xxh3::xxh3_64;

const COUNT: &str = "SELECT count(*) AS n FROM spans";

/// Makes the manifest fit the files again.
fn reseal(capture: &Path) {
    let path = capture.join(MANIFEST);
    let mut manifest: Manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for file in &mut manifest.files {
        let bytes = fs::read(capture.join(&file.path)).unwrap();
        file.bytes = bytes.len() as u64;
        file.xxh3 = format!("{:016x}", xxh3_64(&bytes));
    }
    fs::write(path, manifest.to_bytes().unwrap()).unwrap();
}

/// Runs the program with 4 GiB of addresses and half a minute.
fn bounded(directory: &Path, arguments: &[&OsStr]) -> (Option<i32>, String, String) {
    let program = command(directory).get_program().to_owned();
    let mut bounded = Command::new("sh");
    bounded.args(["-c", "ulimit -v 4194304; exec timeout 30 \"$0\" \"$@\""]).arg(program).args(arguments);
    bounded.current_dir(directory).stdin(Stdio::null());
    for (name, value) in command(directory).get_envs() {
        bounded.env(name, value.unwrap_or_default());
    }
    let output = bounded.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Every command refuses it with one line in which `named` stands.
fn is_refused(directory: &Path, capture: &Path, named: &str) {
    let (capture, page) = (capture.as_os_str(), directory.join("page.html"));
    let commands: [&[&OsStr]; 5] = [
        &["info".as_ref(), capture],
        &["spans".as_ref(), capture],
        &["sql".as_ref(), capture, "SELECT * FROM events".as_ref()],
        &["spikes".as_ref(), capture],
        &["report".as_ref(), capture, "-o".as_ref(), page.as_os_str()],
    ];
    for arguments in commands {
        let (code, _, told) = bounded(directory, arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {told}");
        assert!(told.contains(named) && told.trim_end().lines().count() == 1, "{arguments:?}: {told}");
    }
}

#[test]
fn pipes_and_devices_in_place_of_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    for name in [MANIFEST, "events/000000.parquet"] {
        let file = path.join(name);
        let good = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
        is_refused(directory.path(), &path, name);
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
        is_refused(directory.path(), &path, name);
        fs::remove_file(&file).unwrap();
        fs::write(&file, good).unwrap();
    }
    // Derived tables that are pipes are none.
    let (code, rows, _) = bounded(directory.path(), &["sql".as_ref(), path.as_os_str(), COUNT.as_ref()]);
    assert_eq!(code, Some(0), "{rows}");
    let set = fs::read_dir(path.join("derived")).unwrap().next().unwrap().unwrap().path();
    for name in ["derived.json", "spans.parquet", "lock"] {
        fs::remove_file(set.join(name)).unwrap();
        assert!(Command::new("mkfifo").arg(set.join(name)).status().unwrap().success());
        let (code, again, told) =
            bounded(directory.path(), &["sql".as_ref(), path.as_os_str(), COUNT.as_ref()]);
        assert_eq!((code, &again), (Some(0), &rows), "{name}: {told}");
    }
}

#[test]
fn a_capture_of_any_name_can_be_asked() {
    let directory = tempfile::tempdir().unwrap();
    let made = capture(directory.path());
    let rows = stdout(directory.path(), &["sql", made.to_str().unwrap(), COUNT]);
    for name in [&b"line\nend.cap"[..], b"esc\x1b[31m.cap", b"no\xffutf8.cap", b"per%20cent?#.cap"] {
        let named = directory.path().join(OsStr::from_bytes(name));
        fs::rename(&made, &named).unwrap();
        for query in [COUNT, "SELECT count(*) FROM events"] {
            let (code, again, told) =
                bounded(directory.path(), &["sql".as_ref(), named.as_os_str(), query.as_ref()]);
            assert_eq!(code, Some(0), "{name:?}: {told}");
            assert!(query != COUNT || again == rows, "{name:?}: {again}");
        }
        fs::rename(&named, &made).unwrap();
    }
}

#[test]
fn content_that_cannot_be_decoded_has_its_files_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let file = path.join("processes/000000.parquet");
    let mut bytes = fs::read(&file).unwrap();
    // Behind the headers of the first pages: how many values a block of differences has.
    let block = bytes.windows(3).position(|w| w == [0x80, 0x02, 0x04]).unwrap();
    bytes[block..block + 3].fill(0xff);
    fs::write(&file, bytes).unwrap();
    reseal(&path);
    let arguments: [&OsStr; 3] = ["sql".as_ref(), path.as_os_str(), "SELECT * FROM processes".as_ref()];
    let (code, _, told) = bounded(directory.path(), &arguments);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("processes/000000.parquet") && told.lines().count() == 1, "{told}");
}

#[test]
fn times_that_cannot_be_are_refused_by_all() {
    for (table, time) in [(&tables::TCP, i64::MAX), (&tables::USAGE, i64::MIN), (&tables::SCHED, 1 << 62)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("times.cap");
        let mut writer = writer(&path);
        let rows = Rows { processes: processes(), ..Rows::default() };
        let schema = table.schema();
        let columns = schema.fields().iter().enumerate().map(|(index, field)| -> ArrayRef {
            let value = if index == 0 { time } else { 0 };
            let numbers: ArrayRef = std::sync::Arc::new(Int64Array::from(vec![value]));
            let text = arrow::compute::cast(&numbers, &arrow::datatypes::DataType::Utf8).unwrap();
            let cast = |from: &ArrayRef| arrow::compute::cast(from, field.data_type());
            cast(&numbers).or_else(|_| cast(&text)).unwrap()
        });
        let row = RecordBatch::try_new(schema.clone(), columns.collect()).unwrap();
        writer.append(table, &row).unwrap();
        part(&mut writer, &rows, 100, Vec::new());
        writer.complete(cost()).unwrap();
        let query = format!("SELECT * FROM {}", table.name);
        let (code, _, told) =
            bounded(directory.path(), &["sql".as_ref(), path.as_os_str(), OsStr::new(&query)]);
        assert_eq!(code, Some(2), "{told}");
        assert!(
            told.contains(table.name) && told.contains("cannot be") && told.lines().count() == 1,
            "{told}"
        );
        for command in ["spikes", "spans"] {
            let (code, _, told) = bounded(directory.path(), &[command.as_ref(), path.as_os_str()]);
            assert!(matches!(code, Some(0 | 2)) && !told.contains("should not have happened"), "{told}");
        }
    }
}
