//! Captures that mean harm, and folders of somebody who does.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use crate::support::*;
use arrow::array::{Array, ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::Field;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::WriterPropertiesBuilder;
use parquet::schema::types::ColumnPath;
use retrospan_formats::error::CaptureError;
use retrospan_formats::manifest::{Cost, LOCK, MANIFEST, State};
use retrospan_formats::reader::Capture;
use retrospan_formats::table::Table;
use retrospan_formats::tables;
use retrospan_formats::writer::CaptureWriter;
use rustix::fs::{CWD, FileType, Mode, mknodat};

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

/// Puts each kind of thing that is no file where a file was.
fn replaced(path: &Path, check: impl Fn(&str)) {
    let good = fs::read(path).unwrap();
    let remove = || fs::remove_file(path).or_else(|_| fs::remove_dir(path)).unwrap();
    remove();
    pipe(path);
    check("pipe");
    for target in ["/dev/zero", "/dev/tty", "/etc/hostname"] {
        remove();
        symlink(target, path).unwrap();
        check(target);
    }
    remove();
    fs::create_dir(path).unwrap();
    check("directory");
    remove();
    fs::write(path, good).unwrap();
}

#[test]
fn only_regular_files_are_opened() {
    let written = Written::complete();
    for name in [MANIFEST, "events/000001.parquet", "sockets/000001.parquet"] {
        replaced(&written.path.join(name), |what| {
            let error = written.refuses(name).to_string();
            assert!(error.contains("it is not a regular file"), "{name} {what}: {error}");
        });
    }
    assert_eq!(written.open().unwrap().state, State::Complete);
    // A lock that is none: the recorder is not alive.
    let interrupted = Written::empty();
    drop(interrupted.write());
    replaced(&interrupted.path.join(LOCK), |what| {
        assert_eq!(interrupted.open().unwrap().state, State::Interrupted, "{what}");
    });
}

#[test]
fn a_folder_of_a_table_that_is_a_link_is_not_followed() {
    let written = Written::complete();
    let events = written.path.join("events");
    fs::rename(&events, written.path.join("elsewhere")).unwrap();
    symlink("elsewhere", &events).unwrap();
    let error = written.open().unwrap_err().to_string();
    assert!(error.contains("events/00000") && error.contains("a link"), "{error}");
    // The capture itself may be reached through one: the user named it.
    let good = Written::complete();
    let link = good.path.with_extension("link");
    symlink(&good.path, &link).unwrap();
    assert_eq!(numbers(Capture::open(&link).unwrap().events()), [1, 2, 4, 5, 6, 7]);
}

#[test]
fn a_manifest_is_not_read_beyond_a_limit() {
    let written = Written::complete();
    File::options().write(true).open(written.path.join(MANIFEST)).unwrap().set_len(1 << 40).unwrap();
    assert!(written.refuses(MANIFEST).to_string().contains("more than"));
}

#[test]
fn a_capture_that_is_renamed_while_open_is_still_read() {
    let written = Written::complete();
    let capture = written.open().unwrap();
    fs::rename(&written.path, written.path.with_extension("moved")).unwrap();
    fs::create_dir(&written.path).unwrap();
    assert_eq!(numbers(capture.events()), [1, 2, 4, 5, 6, 7]);
}

#[test]
fn rows_out_of_order_are_refused() {
    let written = Written::empty();
    let mut writer = CaptureWriter::create(&written.path, manifest()).unwrap();
    writer.append(&tables::EVENTS, &batch(&tables::EVENTS, &[1, 5, 3])).unwrap();
    writer.append(&tables::CLOCK, &batch(&tables::CLOCK, &[2, 1])).unwrap();
    writer.rotate(5, Vec::new()).unwrap();
    let capture = written.open().unwrap();
    let first = |error: Option<Result<_, CaptureError>>| error.unwrap().unwrap_err().to_string();
    for (error, file) in [
        (first(capture.events().next()), "events/000000.parquet"),
        (first(capture.read(&tables::CLOCK).next()), "clock/000000.parquet"),
    ] {
        assert!(error.contains(file) && error.contains("order of time"), "{error}");
    }
}

#[test]
fn a_part_that_overlaps_others_than_its_neighbours_is_refused() {
    let written = Written::empty();
    let mut writer = CaptureWriter::create(&written.path, manifest()).unwrap();
    for part in [[1, 9], [10, 20], [5, 30]] {
        writer.append(&tables::EVENTS, &batch(&tables::EVENTS, &part)).unwrap();
        writer.rotate(30, Vec::new()).unwrap();
    }
    let rows: Result<Vec<_>, _> = written.open().unwrap().events().collect();
    let error = rows.unwrap_err().to_string();
    assert!(error.contains("events/000002.parquet") && error.contains("neighbour"), "{error}");
}

#[test]
fn times_that_cannot_be_are_refused() {
    for time in [i64::MIN, -1, i64::MAX, 1 << 60] {
        let written = Written::empty();
        let mut writer = CaptureWriter::create(&written.path, manifest()).unwrap();
        writer.append(&tables::EVENTS, &batch(&tables::EVENTS, &[time])).unwrap();
        writer.append(&tables::LOSS, &batch(&tables::LOSS, &[time])).unwrap();
        writer.rotate(5, Vec::new()).unwrap();
        let capture = written.open().unwrap();
        let rows: Result<Vec<_>, _> = capture.events().collect();
        let error = rows.unwrap_err().to_string();
        assert!(error.contains("events/000000.parquet") && error.contains("boot_ns is"), "{error}");
        let rows: Result<Vec<_>, _> = capture.read(&tables::LOSS).collect();
        assert!(rows.unwrap_err().to_string().contains("from_boot_ns is"));
    }
    let written = Written::complete();
    let good = fs::read_to_string(written.path.join(MANIFEST)).unwrap();
    for name in ["whole_until_boot_ns", "started_boot_ns", "started_wall_ns"] {
        for time in [i64::MIN, i64::MAX] {
            let at = good.find(&format!("\"{name}\": ")).unwrap();
            let end = at + good[at..].find(',').unwrap();
            let bad = format!("{}\"{name}\": {time}{}", &good[..at], &good[end..]);
            fs::write(written.path.join(MANIFEST), without_checksum(&bad)).unwrap();
            assert!(matches!(written.refuses(MANIFEST), CaptureError::BadManifest { .. }), "{name} {time}");
        }
    }
}

#[test]
fn links_in_the_way_of_a_recorder_lead_nowhere() {
    let written = Written::empty();
    let victim = written.path.with_extension("victim");
    fs::write(&victim, "kept").unwrap();
    let mut writer = written.write();
    // Whoever owns the folder that the capture lies in puts another one in its place.
    let moved = written.path.with_extension("moved");
    fs::rename(&written.path, &moved).unwrap();
    fs::create_dir_all(written.path.join("events")).unwrap();
    for name in ["manifest.json.tmp", "manifest.json", "events/000002.parquet.tmp", "recording.lock"] {
        symlink(&victim, written.path.join(name)).unwrap();
    }
    let before = tree(&written.path);
    writer.append(&tables::EVENTS, &batch(&tables::EVENTS, &[8])).unwrap();
    // One that has its way into the folder itself gets no further.
    symlink(&victim, moved.join("manifest.json.tmp")).unwrap();
    symlink(&victim, moved.join("clock/000002.parquet.tmp")).unwrap();
    writer.append(&tables::CLOCK, &batch(&tables::CLOCK, &[8])).unwrap();
    writer.rotate(8, Vec::new()).unwrap();
    writer.complete(Cost::default()).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
    assert_eq!(tree(&written.path), before);
    let capture = Capture::open(&moved).unwrap();
    assert_eq!((capture.state, numbers(capture.events())), (State::Complete, vec![1, 2, 4, 5, 6, 7, 8]));
}

#[test]
fn what_was_removed_while_recording_is_said_at_the_next_part() {
    let events = |writer: &mut CaptureWriter| {
        writer.append(&tables::EVENTS, &batch(&tables::EVENTS, &[8]))?;
        writer.rotate(8, Vec::new())
    };
    let clock = |writer: &mut CaptureWriter| {
        writer.append(&tables::CLOCK, &batch(&tables::CLOCK, &[8]))?;
        writer.rotate(8, Vec::new())
    };
    let removed = Written::empty();
    let mut writer = removed.write();
    fs::remove_dir_all(&removed.path).unwrap();
    assert!(events(&mut writer).is_err() && !removed.path.exists());
    for part in [events, clock] as [fn(&mut CaptureWriter) -> _; 2] {
        let without_folder = Written::empty();
        let mut writer = without_folder.write();
        fs::remove_dir_all(without_folder.path.join("events")).unwrap();
        assert!(part(&mut writer).unwrap_err().to_string().contains("events"));
    }
    let without_file = Written::empty();
    let mut writer = without_file.write();
    fs::remove_file(without_file.path.join("events/000000.parquet")).unwrap();
    clock(&mut writer).unwrap();
    assert!(writer.complete(Cost::default()).unwrap_err().to_string().contains("events/000000.parquet"));
}

#[test]
fn of_two_recorders_at_once_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..50 {
        let path = folder.path().join(round.to_string());
        fs::create_dir(&path).unwrap();
        let create = || CaptureWriter::create(&path, manifest());
        let (one, two) = std::thread::scope(|scope| {
            let two = scope.spawn(create);
            (create(), two.join().unwrap())
        });
        let (winner, loser) = if one.is_ok() { (one, two) } else { (two, one) };
        assert!(matches!(loser, Err(CaptureError::NotEmpty(_))), "round {round}");
        winner.unwrap().complete(Cost::default()).unwrap();
        Capture::open(&path).unwrap();
    }
}

#[test]
fn a_capture_whose_small_files_are_put_together_is_read_all_the_same() {
    for _ in 0..20 {
        let written = Written::empty();
        let mut writer = written.write();
        let reading = written.open().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for numbers in [[1, 2], [3, 4], [5, 6]] {
                    let rows = [Ok(batch(&tables::SOCKETS, &numbers))];
                    let old = writer
                        .view()
                        .unwrap()
                        .files(tables::SOCKETS.name)
                        .into_iter()
                        .cloned()
                        .collect::<Vec<_>>();
                    writer.replace(&tables::SOCKETS, &old, rows.into_iter()).unwrap();
                    writer.append(&tables::SOCKETS, &batch(&tables::SOCKETS, &numbers)).unwrap();
                    writer.rotate(1, Vec::new()).unwrap();
                }
            });
            for _ in 0..20 {
                written.open().unwrap();
            }
        });
        // What was opened before is still there for whoever opened it.
        assert_eq!(numbers(reading.read(&tables::SOCKETS)), [1]);
    }
}

/// A capture with one file of a table, whose rows and properties are made by hand.
fn made(
    table: &'static Table,
    rows: &RecordBatch,
    change: impl Fn(WriterPropertiesBuilder) -> WriterPropertiesBuilder,
) -> Written {
    let written = Written::empty();
    let mut writer = CaptureWriter::create(&written.path, manifest()).unwrap();
    writer.append(table, &batch(table, &[1])).unwrap();
    writer.rotate(5, Vec::new()).unwrap();
    writer.complete(Cost::default()).unwrap();
    let properties = change(table.writer_properties(Some(1), Vec::new()).into_builder()).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    let path = written.path.join(format!("{}/000000.parquet", table.name));
    fs::write(path, writer.into_inner().unwrap()).unwrap();
    reseal(&written.path);
    written
}

/// The rows with a column replaced or added.
fn with(rows: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let mut columns: Vec<(String, ArrayRef)> =
        rows.schema().fields().iter().map(|f| f.name().clone()).zip(rows.columns().to_vec()).collect();
    columns.retain(|(other, _)| other != name);
    columns.push((name.to_owned(), column));
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn values_that_are_longer_than_any_are_refused() {
    let rows = batch(&tables::PROCESSES, &(0..20).collect::<Vec<_>>());
    let long = "a".repeat(1 << 20);
    // A megabyte a row in memory, some bytes on the disk.
    let exe: ArrayRef = Arc::new(StringArray::from(vec![long.as_str(); 20]));
    let dictionary = made(&tables::PROCESSES, &with(&rows, "exe", exe), |properties| {
        properties
            .set_column_dictionary_enabled(ColumnPath::from("exe"), true)
            .set_dictionary_page_size_limit(1 << 30)
    });
    let size = fs::metadata(dictionary.path.join("processes/000000.parquet")).unwrap().len();
    assert!(size < 20_000, "{size}");
    let error = dictionary.refuses("processes/000000.parquet").to_string();
    assert!(error.contains("exe: ") && error.contains("bytes"), "{error}");
    let rows = batch(&tables::EVENTS, &[1]);
    let payload: ArrayRef = Arc::new(BinaryArray::from(vec![&vec![0; 8 << 20][..]]));
    let plain = made(&tables::EVENTS, &with(&rows, "payload", payload), |properties| properties);
    let error = plain.refuses("events/000000.parquet").to_string();
    assert!(error.contains("payload: a page of 1 values has"), "{error}");
}

#[test]
fn more_rows_than_a_file_of_its_size_can_have_are_refused() {
    let rows = batch(&tables::CLOCK, &vec![1; 10_000_000]);
    let written = made(&tables::CLOCK, &rows, |properties| properties.set_compression(zstd()));
    let error = written.refuses("clock/000000.parquet").to_string();
    assert!(error.contains("10000000 rows in "), "{error}");
}

fn zstd() -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(9).unwrap())
}

#[test]
fn columns_and_encodings_that_no_recorder_writes_are_refused() {
    let rows = batch(&tables::CLOCK, &[1]);
    let mut nested: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    for _ in 0..40 {
        let field = Arc::new(Field::new("f", nested.data_type().clone(), false));
        nested = Arc::new(StructArray::from(vec![(field, nested)]));
    }
    let deep = made(&tables::CLOCK, &with(&rows, "extra", nested), |properties| properties);
    assert!(deep.refuses("clock/000000.parquet").to_string().contains("a column of columns"));
    // Text that shares prefixes: a few bytes are any length.
    let rows = batch(&tables::PROCESSES, &[1, 2]);
    let prefixes = made(&tables::PROCESSES, &rows, |properties| {
        let comm = ColumnPath::from("comm");
        properties
            .set_column_dictionary_enabled(comm.clone(), false)
            .set_column_encoding(comm, Encoding::DELTA_BYTE_ARRAY)
    });
    assert!(prefixes.refuses("processes/000000.parquet").to_string().contains("comm: it has a page"));
    // A column more is none of our business, as long as it is flat.
    let rows = batch(&tables::CLOCK, &[1]);
    let more =
        made(&tables::CLOCK, &with(&rows, "extra", Arc::new(Int64Array::from(vec![1]))), |properties| {
            properties
        });
    assert_eq!(numbers(more.open().unwrap().read(&tables::CLOCK)), [1]);
}
