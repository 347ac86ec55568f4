//! What is left of a capture whose files are damaged.

use std::fs;

use crate::support::*;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use retrospan_formats::error::CaptureError;
use retrospan_formats::manifest::{Cost, Loss, MANIFEST, State};
use retrospan_formats::reader::{Capture, DAMAGED_PART};
use retrospan_formats::table::Table;
use retrospan_formats::tables::{self, LossRow};

fn flip(written: &Written, file: &str) {
    let path = written.path.join(file);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Kind, interval and count of each row of `loss`.
fn losses(capture: &Capture) -> Vec<(String, i64, i64, i64)> {
    let rows = capture.rows::<LossRow>().map(Result::unwrap);
    let of = |row: LossRow<'_>| (row.kind.to_owned(), row.from_boot_ns, row.to_boot_ns, row.count);
    rows.flat_map(|rows| rows.iter().map(of).collect::<Vec<_>>()).collect()
}

#[test]
fn a_whole_capture_is_salvaged_as_it_is() {
    let written = Written::complete();
    let capture = Capture::salvage(&written.path).unwrap();
    assert!(capture.holes.is_empty() && losses(&capture).is_empty());
    assert_eq!(capture.manifest.files, written.open().unwrap().manifest.files);
}

#[test]
fn a_damaged_part_is_left_out_and_counted() {
    let written = Written::complete();
    flip(&written, "events/000000.parquet");
    written.refuses("events/000000.parquet");
    let before = tree(&written.path);
    let capture = Capture::salvage(&written.path).unwrap();
    assert_eq!(capture.state, State::Complete);
    assert_eq!(numbers(capture.events()), [4, 6, 7]);
    assert_eq!(numbers(capture.read(&tables::SOCKETS)), [1]);
    assert_eq!(losses(&capture), [("events".to_owned(), 1, 5, 3)]);
    let lost = Loss { kind: "events".to_owned(), cause: DAMAGED_PART.to_owned(), count: 3 };
    assert_eq!(capture.manifest.losses, [lost]);
    assert!(capture.manifest.files.iter().all(|file| file.path != "events/000000.parquet"));
    assert!(capture.holes[0].error.contains("xxh3 differs"), "{:?}", capture.holes);
    assert!(tree(&written.path) == before);
}

#[test]
fn every_file_may_be_gone() {
    let written = Written::complete();
    for table in ["events", "clock", "sockets"] {
        fs::remove_dir_all(written.path.join(table)).unwrap();
    }
    let capture = Capture::salvage(&written.path).unwrap();
    assert_eq!(capture.holes.len(), 4);
    assert!(capture.manifest.files.is_empty());
    assert_eq!(numbers(capture.events()), [0; 0]);
    let of_events = capture.manifest.losses.iter().find(|loss| loss.kind == "events").unwrap();
    assert_eq!(of_events.count, 6, "of both parts");
    assert!(capture.holes.iter().all(|hole| hole.error.contains("missing")), "{:?}", capture.holes);
}

#[test]
fn what_is_no_regular_file_is_a_hole_too() {
    let written = Written::complete();
    let path = written.path.join("events/000001.parquet");
    let elsewhere = written.path.join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    let capture = Capture::salvage(&written.path).unwrap();
    assert_eq!(numbers(capture.events()), [1, 2, 5]);
}

#[test]
fn without_its_manifest_nothing_is_salvaged() {
    let written = Written::complete();
    let path = written.path.join(MANIFEST);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"syscalls\"", "\"syscallz\"")).unwrap();
    assert!(matches!(Capture::salvage(&written.path), Err(CaptureError::BadManifest { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(Capture::salvage(&written.path), Err(CaptureError::NotACapture { .. })));
}

/// Sockets and processes live on after the part that tells of them; waits began before theirs.
#[test]
fn a_hole_is_as_long_as_what_was_in_it() {
    const S: i64 = 1_000_000_000;
    let holes = |table: &'static Table| {
        let written = Written::empty();
        let mut writer = written.write();
        for (part, end) in [(2, 100 * S), (3, 200 * S), (4, 300 * S)] {
            writer.append(&tables::EVENTS, &batch(&tables::EVENTS, &[end - 50 * S, end])).unwrap();
            if part == 3 {
                writer.append(table, &batch(table, &[end - 40 * S, end - S])).unwrap();
            }
            writer.rotate(end, Vec::new()).unwrap();
        }
        writer.complete(Cost::default()).unwrap();
        fs::remove_file(written.path.join(format!("{}/000003.parquet", table.name))).unwrap();
        let capture = Capture::salvage(&written.path).unwrap();
        let hole = &capture.holes[0];
        (hole.from_boot_ns / S, hole.to_boot_ns / S)
    };
    assert_eq!(holes(&tables::SOCKETS), (150, 300));
    assert_eq!(holes(&tables::PROCESSES), (150, 300));
    assert_eq!(holes(&tables::SCHED), (150, 199));
    let written = Written::empty();
    let mut writer = written.write();
    let late = batch(&tables::LOSS, &[40 * S]);
    let ended = late.column_by_name("to_boot_ns").unwrap().as_primitive::<Int64Type>().value(0);
    writer.append(&tables::LOSS, &late).unwrap();
    writer.rotate(60 * S, Vec::new()).unwrap();
    writer.complete(Cost::default()).unwrap();
    fs::remove_dir_all(written.path.join("loss")).unwrap();
    let capture = Capture::salvage(&written.path).unwrap();
    assert_eq!((capture.holes[0].from_boot_ns, capture.holes[0].to_boot_ns), (0, ended));
}
